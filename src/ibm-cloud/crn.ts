import { CodedError } from '../errors.ts';

/** An instance of Certificate Manager, as its CRN names it. */
export interface InstanceCrn {
  /** `crn:v1:<cloud>:<type>:cloudcerts:<region>:<scope>:<guid>::` */
  readonly crn: string;
  readonly region: string;
  readonly guid: string;
}

const instancePattern = /^(crn:v1:[\w-]+:[\w-]+:cloudcerts:([\w.-]+):[\w./-]+:([\w-]+)):{0,2}$/;

/**
 * The instance CRN with its two empty segments, which people leave out. Throws
 * `configuration_invalid`.
 */
export function instanceCrn(text: string): InstanceCrn {
  const [, stem, region, guid] = instancePattern.exec(text) ?? [];
  if (stem === undefined || region === undefined || guid === undefined) {
    const expected = 'crn:v1:<cloud>:<type>:cloudcerts:<region>:<scope>:<guid>::';
    throw new CodedError(
      'configuration_invalid',
      `instance: not the CRN of a Certificate Manager instance: ${expected}`,
    );
  }
  return { crn: `${stem}::`, region, guid };
}

/** The CRN of a certificate: its instance's without the last colon, then `certificate:<id>`. */
export function certificateCrn(instance: InstanceCrn, id: string): string {
  return `${instance.crn.slice(0, -1)}certificate:${id}`;
}

/**
 * The id by which people and the service's API know a certificate: its CRN in Certificate Manager,
 * its id everywhere else.
 */
export function publicIdOf(store: string, certificate: string): string {
  if (!instancePattern.test(store) || certificate.startsWith('crn:')) return certificate;
  return certificateCrn(instanceCrn(store), certificate);
}

/**
 * The id in a certificate's CRN, or `undefined` if it is not the CRN of a certificate of this
 * instance.
 */
export function certificateIdOf(instance: InstanceCrn, crn: string): string | undefined {
  const stem = certificateCrn(instance, '');
  const id = crn.startsWith(stem) ? crn.slice(stem.length) : '';
  return id === '' || /[\s:/]/.test(id) ? undefined : id;
}
