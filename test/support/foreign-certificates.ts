import { generateKeyPairSync, sign } from 'node:crypto';
import { bits, int, octets, oids, pemOf, raw, seq, tagged, tlv } from './der.ts';

/** What a certificate says that no authority would certify. */
export interface ForeignCertificate {
  /** SubjectPublicKeyInfo as DER, of any content. */
  readonly publicKey: Uint8Array;
  /** Name as DER. Default: `CN=foreign.example.test`. */
  readonly subject?: Uint8Array;
  /** INTEGER as DER. */
  readonly serial?: Uint8Array;
  /** Times as DER. Default: this century. */
  readonly notBefore?: Uint8Array;
  readonly notAfter?: Uint8Array;
}

const signer = generateKeyPairSync('ed25519').privateKey;

/** An attribute of a name: its type as an element, its value as an element. */
export const attribute = (type: Uint8Array, value: Uint8Array): Buffer => tlv(0x31, seq(type, value));
export const commonName = (text: string): Buffer => attribute(raw('0603550403'), tlv(0x0c, Buffer.from(text)));

/** DER of a certificate for `foreign.example.test`, issued by an Ed25519 key that nobody knows. */
export function foreignCertificateDer(wanted: ForeignCertificate): Buffer {
  const algorithm = seq(oids.ed25519);
  const name = seq(commonName('foreign.example.test'));
  const toBeSigned = seq(
    tagged(0, int(2n)),
    wanted.serial ?? int(0xf0e1n),
    algorithm,
    seq(commonName('Foreign')),
    seq(
      wanted.notBefore ?? tlv(0x17, Buffer.from('000101000000Z')),
      wanted.notAfter ?? tlv(0x18, Buffer.from('20990101000000Z')),
    ),
    wanted.subject ?? name,
    wanted.publicKey,
    tagged(
      3,
      seq(
        seq(raw('0603551d11'), octets(seq(tlv(0x82, Buffer.from('foreign.example.test')), tlv(0x87, raw('c0000201'))))),
      ),
    ),
  );
  return seq(toBeSigned, algorithm, bits(sign(null, toBeSigned, signer)));
}

export const foreignCertificate = (wanted: ForeignCertificate): string =>
  pemOf('CERTIFICATE', foreignCertificateDer(wanted));
