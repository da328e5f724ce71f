import { createHash } from 'node:crypto';
import { CodedError } from '../errors.ts';
import { Secret } from '../secret.ts';

/**
 * Crockford's Base32: no I, L, O, U, so that what is read from paper is not mistaken
 * (https://www.crockford.com/base32.html).
 */
const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
const prefix = 'CS';
const version = '1';
const keyBytes = 32;
const checksumBytes = 3;
const groupCharacters = 4;
/** 35 bytes are 56 digits of 5 bits, with none left over. */
const textDigits = ((keyBytes + checksumBytes) * 8) / 5;

/**
 * A root key as text for paper: `CS1`, then 14 groups of four digits, the last five of which check
 * the others.
 */
export function recoveryTextOf(key: Uint8Array): Secret {
  let bits = 0;
  let value = 0;
  let text = '';
  for (const byte of [...key, ...checksumOf(key)]) {
    value = ((value << 8) | byte) & 0xfff;
    bits += 8;
    for (; bits >= 5; bits -= 5) text += digits[(value >>> (bits - 5)) & 31];
  }
  const groups = text.match(new RegExp(`.{${groupCharacters}}`, 'g')) ?? [];
  return new Secret([prefix + version, ...groups].join('-'));
}

/**
 * The root key of a recovery text as somebody typed it: small letters, spaces instead of hyphens, O
 * for 0, I and L for 1 are fine. Throws `keys_recovery_text_wrong`, which says what is wrong
 * without saying what was typed. The caller wipes the key.
 */
export function keyOfRecoveryText(typed: Secret): Uint8Array {
  const text = typed.reveal().toUpperCase().replace(/[\s-]/g, '').replace(/O/g, '0').replace(/[IL]/g, '1');
  const [, given] = /^CS(\d)/.exec(text) ?? [];
  if (given === undefined) throw wrong(`it does not begin with ${prefix}${version}`);
  if (given !== version) throw wrong(`it is of version ${given}, and this program knows ${version}`);
  const body = text.slice(prefix.length + version.length);
  if (body.length !== textDigits)
    throw wrong(`it has ${body.length} characters after ${prefix}${version}, not ${textDigits}`);
  const bytes = new Uint8Array(keyBytes + checksumBytes);
  let bits = 0;
  let value = 0;
  let at = 0;
  for (const [position, character] of [...body].entries()) {
    const digit = digits.indexOf(character);
    if (digit < 0) throw wrong(`group ${Math.floor(position / groupCharacters) + 1} holds what no recovery text holds`);
    value = ((value << 5) | digit) & 0xfff;
    bits += 5;
    if (bits < 8) continue;
    bits -= 8;
    bytes[at] = (value >>> bits) & 0xff;
    at += 1;
  }
  const key = bytes.slice(0, keyBytes);
  const sound = checksumOf(key).equals(bytes.subarray(keyBytes));
  bytes.fill(0);
  if (sound) return key;
  key.fill(0);
  throw wrong('its last characters do not fit the others: one of them was mistyped');
}

function checksumOf(key: Uint8Array): Buffer {
  return createHash('sha256').update('certstandby-recovery-text.1\0').update(key).digest().subarray(0, checksumBytes);
}

function wrong(found: string): CodedError {
  return new CodedError('keys_recovery_text_wrong', `reading the recovery text: ${found}`);
}
