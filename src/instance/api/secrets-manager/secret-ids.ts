import type { CertificateRow } from '../../certificates/certificate-row.ts';

/** Ids of certificates here are 32 hex characters; Secrets Manager writes them as UUIDs. */
export function secretIdOf(id: string): string {
  return id.replace(/^([0-9a-f]{8})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{4})([0-9a-f]{12})$/, '$1-$2-$3-$4-$5');
}

/** The certificate of the id in a path. Undefined for what can be none. */
export function certificateIdIn(secretId: string): string | undefined {
  if (!/^[\w-]{1,64}$/.test(secretId)) return undefined;
  return /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(secretId) ? secretId.replaceAll('-', '') : secretId;
}

/** The CRN that Secrets Manager would have for an instance of this CRN. */
function secretsCrnOf(instanceCrn: string): string {
  return instanceCrn.replace(/^(crn:v1:[^:]*:[^:]*):cloudcerts:/, '$1:secrets-manager:');
}

export function secretCrnOf(instanceCrn: string, secretId: string): string {
  return `${secretsCrnOf(instanceCrn).slice(0, -1)}secret:${secretId}`;
}

/** What names a content among all versions of its secret: that of the row without its number. */
export const versionIdOf = (content: string): string => content.replace(/^\d{10}-/, '').toLowerCase();

/**
 * The content that `current`, `previous` or an id of a version means. Undefined if there is none
 * such.
 */
export function contentOfVersion({ content, previous }: CertificateRow, version: string): string | undefined {
  if (version === 'current') return content;
  if (version === 'previous') return previous;
  return [content, previous].find((one) => one !== undefined && versionIdOf(one) === version.toLowerCase());
}
