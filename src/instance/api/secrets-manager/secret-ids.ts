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

/** The contents that are kept of a certificate, the one in force first. */
export const keptContents = ({ content, previous }: CertificateRow): readonly string[] =>
  previous === undefined ? [content] : [content, previous];

/**
 * The content that `current`, `previous` or an id of a version means. Undefined if there is none
 * such.
 */
export function contentOfVersion(row: CertificateRow, version: string): string | undefined {
  if (version === 'current') return row.content;
  if (version === 'previous') return row.previous;
  return keptContents(row).find((content) => versionIdOf(content) === version.toLowerCase());
}

/** What a kept content is called among the versions of its secret. */
export const aliasOf = (row: CertificateRow, content: string): 'current' | 'previous' =>
  content === row.content ? 'current' : 'previous';
