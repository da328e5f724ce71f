import { limits } from '../../limits.ts';

const instancePattern = /^crn:v1:[\w-]+:[\w-]+:cloudcerts:[\w-]+:[\w/-]+:[\w-]+::$/;
const certificatePattern = /^(crn:[\w:/-]+:)certificate:([\w-]{1,64})$/;

/**
 * Whether a text is the CRN of an instance:
 * `crn:v1:<cloud>:<type>:cloudcerts:<region>:<scope>:<guid>::`.
 */
export function isInstanceCrn(text: string): boolean {
  return text.length <= limits.crnCharacters && instancePattern.test(text);
}

/** The CRN of an instance of our own in a region. */
export function instanceCrnOf(region: string, guid: string): string {
  return `crn:v1:bluemix:public:cloudcerts:${region}:a/${'0'.repeat(31)}1:${guid}::`;
}

/** The CRN of a certificate: the instance CRN without its last colon, then `certificate:<id>`. */
export function certificateCrn(instanceCrn: string, id: string): string {
  return `${instanceCrn.slice(0, -1)}certificate:${id}`;
}

/**
 * The instance CRN and the id in a certificate CRN, or `undefined` if the text is not exactly one.
 */
export function parseCertificateCrn(text: string): { readonly instanceCrn: string; readonly id: string } | undefined {
  const [, prefix, id] = certificatePattern.exec(text) ?? [];
  if (prefix === undefined || id === undefined) return undefined;
  const instanceCrn = `${prefix}:`;
  return isInstanceCrn(instanceCrn) ? { instanceCrn, id } : undefined;
}
