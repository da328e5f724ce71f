import { createPrivateKey, type KeyObject } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { readElement, readElements } from '../../src/certificate/der.ts';

/** A secret that must not be found anywhere, cut into the pieces that are searched for. */
export interface Canary {
  readonly name: string;
  readonly pieces: readonly Piece[];
}

interface Piece {
  /** What was found, and how it was written: `d as base64`. */
  readonly form: string;
  readonly bytes: Buffer;
}

/** A piece of a secret that was found. */
export interface Finding {
  readonly canary: string;
  readonly form: string;
  /** Where in what was searched. */
  readonly at: number;
}

/**
 * Bytes of a secret that make up one piece: no chance finds that many, and no line end of PEM cuts
 * all of them apart.
 */
const pieceBytes = 12;

/**
 * The secret numbers of a private key: RSA's d, p, q and what is derived from them, the scalar of
 * an elliptic curve, the seed of Ed25519. Raw, in either order of bytes (libraries hold numbers
 * with the smallest part first); hex; base64 and base64url at each of the three places at which a
 * number can begin in a group; and text as memory may hold it, two bytes a character.
 */
export function keyCanary(name: string, pem: string): Canary {
  const jwk = plainKey(pem).export({ format: 'jwk' });
  const numbers = (['d', 'p', 'q', 'dp', 'dq', 'qi'] as const).flatMap((member) => {
    const value = jwk[member];
    return value === undefined ? [] : [{ member, bytes: Buffer.from(value, 'base64url') }];
  });
  return { name, pieces: numbers.flatMap(({ member, bytes }) => piecesOfNumber(member, bytes)) };
}

/**
 * A key as JWK knows it: one that is bound to RSA-PSS has an ordinary RSA key inside (RFC 5208
 * section 5, RFC 4055).
 */
function plainKey(pem: string): KeyObject {
  const key = createPrivateKey(pem);
  if (key.asymmetricKeyType !== 'rsa-pss') return key;
  const { content } = readElement(key.export({ type: 'pkcs8', format: 'der' }));
  const [, , inner] = readElements(content);
  if (inner === undefined) throw new Error('not PKCS#8');
  return createPrivateKey({ key: Buffer.from(inner.content), format: 'der', type: 'pkcs1' });
}

/**
 * Lines of a PEM text that no platform reads: an encrypted key, or nonsense. Its content must be
 * chance, or the same piece is found elsewhere.
 */
export function pemCanary(name: string, pem: string): Canary {
  const lines = pem
    .split(/\r?\n/)
    .filter((line) => line.length > 0 && !line.startsWith('-----') && !line.includes(':'));
  return { name, pieces: lines.flatMap((line) => piecesOfText('PEM', line, 16, 8)) };
}

/**
 * An API key, a token, a passphrase: what comes last in it, since tokens of one maker begin alike.
 */
export function textCanary(name: string, text: string): Canary {
  const last = text.slice(text.lastIndexOf('.') + 1);
  return { name, pieces: piecesOfText('text', last, Math.min(16, last.length), 8) };
}

function piecesOfNumber(member: string, bytes: Buffer): readonly Piece[] {
  const raw = piecesOf(`${member} raw`, bytes, pieceBytes, pieceBytes);
  const reversed = piecesOf(`${member} raw, reversed`, Buffer.from(bytes).reverse(), pieceBytes, pieceBytes);
  const hex = bytes.toString('hex');
  const texts = new Map([
    [hex, 'hex'],
    [hex.toUpperCase(), 'hex'],
  ]);
  for (const alignment of [0, 1, 2]) {
    // The first group holds foreign bytes, and so may the last.
    const inner = bytes.subarray(alignment === 0 ? 0 : 3 - alignment);
    const whole = inner.subarray(0, inner.length - (inner.length % 3));
    // Without plus and slash the two are one text, and one is enough.
    for (const form of ['base64url', 'base64'] as const) texts.set(whole.toString(form), form);
  }
  return [
    ...raw,
    ...reversed,
    ...[...texts].flatMap(([text, form]) => piecesOfText(`${member} as ${form}`, text, 16, 8)),
  ];
}

function piecesOfText(form: string, text: string, length: number, step: number): readonly Piece[] {
  return [
    ...piecesOf(form, Buffer.from(text), length, step),
    ...piecesOf(`${form}, two bytes a character`, Buffer.from(text, 'utf16le'), length * 2, step * 2),
  ];
}

/** Pieces that begin every `step` bytes, and one at the very end. */
function piecesOf(form: string, bytes: Buffer, length: number, step: number): readonly Piece[] {
  const starts = [];
  for (let start = 0; start + length <= bytes.length; start += step) starts.push(start);
  if (bytes.length >= length) starts.push(bytes.length - length);
  return starts.map((start) => ({ form, bytes: bytes.subarray(start, start + length) }));
}

/**
 * Searches bytes for every piece of every canary, in one go. A secret that is found several times
 * is told several times.
 */
export type Search = (bytes: Uint8Array) => readonly Finding[];

const filterBits = 24;
/** Less than that, chance finds in a core dump. */
const shortestBytes = 8;

export function searchFor(canaries: readonly Canary[]): Search {
  const byBeginning = new Map<number, { readonly canary: string; readonly piece: Piece }[]>();
  const filter = new Uint8Array(2 ** (filterBits - 3));
  for (const { name, pieces } of canaries) {
    if (pieces.length === 0 || pieces.some(({ bytes }) => bytes.length < shortestBytes))
      throw new Error(`nothing to search for: ${name} is too short`);
    for (const piece of pieces) {
      const beginning = piece.bytes.readUInt32BE(0);
      const slot = slotOf(beginning);
      filter[slot >>> 3] = (filter[slot >>> 3] ?? 0) | (1 << (slot & 7));
      byBeginning.set(beginning, [...(byBeginning.get(beginning) ?? []), { canary: name, piece }]);
    }
  }
  return (bytes) => {
    const findings: Finding[] = [];
    const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    let window = 0;
    for (let end = 0; end < view.length; end += 1) {
      window = ((window << 8) | (view[end] as number)) >>> 0;
      const slot = slotOf(window);
      if (((filter[slot >>> 3] as number) & (1 << (slot & 7))) === 0) continue;
      const at = end - 3;
      for (const { canary, piece } of byBeginning.get(window) ?? [])
        if (at >= 0 && piece.bytes.equals(view.subarray(at, at + piece.bytes.length)))
          findings.push({ canary, form: piece.form, at });
    }
    return findings;
  };
}

/** Spreads the first four bytes of a piece over the filter. */
function slotOf(beginning: number): number {
  return Math.imul(beginning, 0x9e3779b1) >>> (32 - filterBits);
}

/** What is found in the files below a folder, by file. */
export function searchFiles(folder: string, search: Search): readonly string[] {
  const files = readdirSync(folder, { recursive: true, withFileTypes: true }).filter((entry) => entry.isFile());
  return files.flatMap((entry) => {
    const file = join(entry.parentPath, entry.name);
    return summaryOf(search(readFileSync(file))).map((found) => `${relative(folder, file)}: ${found}`);
  });
}

/**
 * Which secrets were found, and how often in each form: for messages of tests, which never show the
 * secret.
 */
export function summaryOf(findings: readonly Finding[]): readonly string[] {
  const counts = new Map<string, number>();
  for (const { canary, form } of findings) {
    const key = `${canary}: ${form}`;
    counts.set(key, (counts.get(key) ?? 0) + 1);
  }
  return [...counts].map(([what, count]) => `${what}, ${count} times`);
}
