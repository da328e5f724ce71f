import { type KeyObject, sign } from 'node:crypto';
import { promisify } from 'node:util';

const signInThreadPool = promisify(sign);
const header = Buffer.from('{"alg":"RS256"}').toString('base64url');

/**
 * Claims as a compact JWS whose header is exactly `{"alg":"RS256"}`, as Certificate Manager's is.
 * Nothing is added to the claims.
 */
export async function signToken(claims: object, key: KeyObject): Promise<string> {
  const input = `${header}.${Buffer.from(JSON.stringify(claims)).toString('base64url')}`;
  const signature = await signInThreadPool('sha256', Buffer.from(input), key);
  return `${input}.${signature.toString('base64url')}`;
}
