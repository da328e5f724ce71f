import { X509Certificate } from 'node:crypto';

/** The DER in the first PEM block of a text, read without the code under test. */
export function firstDer(pem: string): Buffer {
  return Buffer.from(new X509Certificate(pem).raw);
}

/**
 * The same certificate with these bytes in place of those, which must be as long. Its signature no
 * longer holds.
 */
export function tampered(pem: string, find: Uint8Array | string, put: Uint8Array | string): string {
  const der = firstDer(pem);
  const [from, to] = [Buffer.from(find), Buffer.from(put)];
  const at = der.indexOf(from);
  if (at < 0 || from.length !== to.length) throw new Error('the bytes to tamper with are not there, or not as long');
  to.copy(der, at);
  return certificatePem(der);
}

export function certificatePem(der: Uint8Array): string {
  return `-----BEGIN CERTIFICATE-----\n${Buffer.from(der).toString('base64')}\n-----END CERTIFICATE-----\n`;
}

/** The blocks of a PEM text, each with its line end. */
export function blocksIn(...texts: readonly (string | undefined)[]): readonly string[] {
  return texts.flatMap((text) => text?.match(/-----BEGIN .*-----\n(?:[^-].*\n)*-----END .*-----\n/g) ?? []);
}
