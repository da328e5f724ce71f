import { X509Certificate } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { fingerprintOf, metadataDigestOf } from '../../src/certificate/fingerprint.ts';
import { Secret } from '../../src/secret.ts';
import { vector } from './vector.ts';

const leaf = new X509Certificate(vector.leaf);
const issuer = new X509Certificate(vector.issuer);
const privateKey = {
  pem: new Secret(vector.privateKey),
  publicKeyDer: Uint8Array.from(Buffer.from(vector.publicKeyDer, 'hex')),
};

// Expected values were computed apart from this program, with struct.pack('>I', ...) and hashlib of
// Python.
describe('fingerprintOf', () => {
  it('covers leaf, chain and public key', () => {
    expect(fingerprintOf({ leaf, chain: [issuer], privateKey })).toBe(
      '2b49cb71dbd841d6e7ded59f584ffbcf6872ce4d0bcc48e5f10b85ce462a075c',
    );
  });

  it('of a leaf alone without a key ends with a length of zero', () => {
    expect(fingerprintOf({ leaf, chain: [] })).toBe('a2dcc0146310fb8ca586bd8d54cbbcf55d6f7c0240453400d19ebf374fce729a');
  });
});

describe('metadataDigestOf', () => {
  it('covers name, description and tags, in bytes of UTF-8', () => {
    const expected = '37dd728909ff26b3aeb849398daa46475874baf5f5d50775de9a692ebe40cad0';
    expect(metadataDigestOf({ name: 'shop', description: 'für alle', tags: ['b', 'a'] })).toBe(expected);
    expect(metadataDigestOf({ name: 'shop', description: 'für alle', tags: ['a', 'b'] })).toBe(expected);
  });

  it('of nothing is the digest of three zeros', () => {
    expect(metadataDigestOf({ name: '', description: '', tags: [] })).toBe(
      '15ec7bf0b50732b49f8228e07d24365338f9e3ab994b00af08e5a3bffe55fd8b',
    );
  });

  it('tells apart what joins to the same text', () => {
    const digests = [
      { name: 'ab', description: 'c', tags: [] },
      { name: 'a', description: 'bc', tags: [] },
      { name: 'a', description: 'b', tags: ['c'] },
      { name: 'a', description: 'b', tags: ['c', ''] },
      { name: 'a', description: '', tags: ['b', 'c'] },
      { name: 'a', description: '', tags: ['bc'] },
    ].map(metadataDigestOf);
    expect(new Set(digests).size).toBe(digests.length);
  });

  it('leaves the tags as they were', () => {
    const tags = ['b', 'a'];
    metadataDigestOf({ name: '', description: '', tags });
    expect(tags).toEqual(['b', 'a']);
  });
});
