import { limits } from '../limits.ts';

/** An instance as its CRN names it: `crn:v1:<cloud>:<type>:cloudcerts:<region>:<scope>:<guid>::`. */
export interface InstanceCrn {
  readonly crn: string;
  readonly region: string;
  readonly guid: string;
}

const instancePattern = /^crn:v1:[\w-]+:[\w-]+:cloudcerts:([\w-]+):[\w/-]+:([\w-]+)::$/;
const certificatePattern = /^(crn:[\w:/-]+:)certificate:([\w-]{1,64})$/;

/** The parts of an instance CRN, or `undefined` if the text is not exactly one. */
export function parseInstanceCrn(text: string): InstanceCrn | undefined {
  if (text.length > limits.crnCharacters) return undefined;
  const [, region, guid] = instancePattern.exec(text) ?? [];
  return region !== undefined && guid !== undefined ? { crn: text, region, guid } : undefined;
}

/** The CRN of a certificate: the instance CRN without its last colon, then `certificate:<id>`. */
export function certificateCrn(instanceCrn: string, id: string): string {
  return `${instanceCrn.slice(0, -1)}certificate:${id}`;
}

/** The instance CRN and the id in a certificate CRN, or `undefined` if the text is not exactly one. */
export function parseCertificateCrn(text: string): { readonly instanceCrn: string; readonly id: string } | undefined {
  if (text.length > limits.crnCharacters + 80) return undefined;
  const [, prefix, id] = certificatePattern.exec(text) ?? [];
  if (prefix === undefined || id === undefined) return undefined;
  const instance = parseInstanceCrn(`${prefix}:`);
  return instance && { instanceCrn: instance.crn, id };
}
