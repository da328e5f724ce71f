import { CodedError } from '../errors.ts';
import { derTag, elementsIn, readWhole, unsignedIn } from './der.ts';
import { derOf, readBlocks } from './pem-blocks.ts';
import { type PublicKey, readingKey, readPublicKey, rsaPublicKeyDer } from './public-key.ts';

/**
 * The public key that the first PEM block of a text is: SubjectPublicKeyInfo (`PUBLIC KEY`), or
 * RSAPublicKey of RFC 8017 appendix A.1.1 (`RSA PUBLIC KEY`). Throws `certificate_malformed` and
 * `certificate_key_unsupported`, for other blocks too.
 */
export function readPublicKeyPem(pem: string): PublicKey {
  const [block] = readBlocks(pem);
  if (block?.label === 'PUBLIC KEY') return readPublicKey(derOf(block));
  if (block?.label !== 'RSA PUBLIC KEY') {
    const found = block === undefined ? 'no PEM' : `PEM of a ${block.label}`;
    throw new CodedError('certificate_malformed', `${found}, where a public key was expected`);
  }
  const der = derOf(block);
  return readingKey('the public key', () => {
    const [modulus, exponent, ...more] = elementsIn(readWhole(der), derTag.sequence);
    if (more.length > 0) throw new RangeError('RSA: more than a public key has');
    return readPublicKey(rsaPublicKeyDer(unsignedIn(modulus), unsignedIn(exponent)));
  });
}
