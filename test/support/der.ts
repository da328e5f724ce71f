/** DER for tests (X.690), by other code than that under test. */

export function tlv(tag: number, ...contents: readonly Uint8Array[]): Buffer {
  const content = Buffer.concat(contents);
  if (content.length < 0x80) return Buffer.concat([Buffer.from([tag, content.length]), content]);
  const hex = content.length.toString(16);
  const length = Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex');
  return Buffer.concat([Buffer.from([tag, 0x80 + length.length]), length, content]);
}

export const seq = (...contents: readonly Uint8Array[]): Buffer => tlv(0x30, ...contents);
export const octets = (content: Uint8Array): Buffer => tlv(0x04, content);
export const bits = (content: Uint8Array): Buffer => tlv(0x03, Buffer.alloc(1), content);

/** An element that is written in hex. */
export const raw = (hex: string): Buffer => Buffer.from(hex.replaceAll(' ', ''), 'hex');

/** An INTEGER; of a negative number in the fewest bytes too. */
export function int(value: bigint): Buffer {
  let bytes = 1n;
  while (BigInt.asIntN(Number(bytes * 8n), value) !== value) bytes += 1n;
  const hex = BigInt.asUintN(Number(bytes * 8n), value).toString(16);
  return tlv(0x02, Buffer.from(hex.padStart(Number(bytes * 2n), '0'), 'hex'));
}

/** One PEM block. */
export const pemOf = (label: string, der: Uint8Array): string =>
  `-----BEGIN ${label}-----\n${Buffer.from(der).toString('base64')}\n-----END ${label}-----\n`;

/** Identifiers as elements of DER. */
export const oids = {
  rsa: raw('06092a864886f70d010101'),
  rsaPss: raw('06092a864886f70d01010a'),
  mgf1: raw('06092a864886f70d010108'),
  ec: raw('06072a8648ce3d0201'),
  ed25519: raw('06032b6570'),
  p256: raw('06082a8648ce3d030107'),
  p384: raw('06052b81040022'),
  p521: raw('06052b81040023'),
  md5: raw('06082a864886f70d0205'),
  sha256: raw('0609608648016503040201'),
} as const;

/** The element [n] around others. */
export const tagged = (n: number, ...contents: readonly Uint8Array[]): Buffer => tlv(0xa0 + n, ...contents);
