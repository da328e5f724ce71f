import type { X509Certificate } from 'node:crypto';
import { factsOf } from './facts.ts';

/** As many characters of a foreign name are enough to know it by. */
const nameCharacters = 200;

/** The subject of a certificate for messages: one RFC 4514 line, cut where it is very long. */
export function subjectOf(certificate: X509Certificate): string {
  return cut(() => factsOf(certificate).subject, 'a certificate without a subject');
}

/** The issuer of a certificate for messages: its common name, else all of its name. */
export function issuerOf(certificate: X509Certificate): string {
  return cut(() => factsOf(certificate).issuer, 'an issuer without a name');
}

function cut(read: () => string, none: string): string {
  let name = '';
  try {
    name = read();
  } catch {
    return 'a certificate that cannot be read';
  }
  if (name === '') return none;
  return name.length > nameCharacters ? `${name.slice(0, nameCharacters)}…` : name;
}
