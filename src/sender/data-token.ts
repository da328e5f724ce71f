import { isUtf8 } from 'node:buffer';
import { CodedError } from '../errors.ts';
import { jsonMembers, parseJsonObject } from './json.ts';

/** Around the token in a body as senders make it. */
const usualStart = '{"data":"';
const usualEnd = '"}';

/**
 * The token in a body of the form `{"data": "<token>"}`. It must stand there literally and once:
 * JSON escapes or a second `data` would be other spellings of one notification. Throws
 * `notification_malformed`.
 */
export function tokenInData(body: Uint8Array): string {
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
  // The usual body, nothing but the token: what stands between is refused anyway if it is not
  // base64url, so it need not be decoded.
  const characters = bytes.toString('latin1');
  if (characters.startsWith(usualStart) && characters.endsWith(usualEnd)) {
    const end = characters.length - usualEnd.length;
    if (characters.indexOf('"', usualStart.length) === end) return characters.slice(usualStart.length, end);
  }

  if (!isUtf8(bytes)) throw malformed('the body is not UTF-8');
  const text = bytes.toString('utf8');
  if (parseJsonObject(text) === undefined) throw malformed('the body is no JSON object');
  const [data, ...more] = jsonMembers(text).filter(({ name }) => name === 'data');
  if (data === undefined) throw malformed('the body has no member data');
  if (more.length > 0) throw malformed(`the body has ${more.length + 1} members data, one is needed`);
  if (!data.value.startsWith('"')) throw malformed('the member data of the body is no string');
  return data.value.slice(1, -1);
}

function malformed(message: string): CodedError {
  return new CodedError('notification_malformed', message);
}
