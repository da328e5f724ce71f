import { generateKeyPairSync, type KeyObject } from 'node:crypto';
import { tlv } from '../support/der.ts';

const pssOptions = { modulusLength: 2048, hashAlgorithm: 'sha256', mgf1HashAlgorithm: 'sha256' };

/** The kinds of keys that are taken, each as it is generated. */
const kinds = {
  rsa: () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  'rsa-pss': () => generateKeyPairSync('rsa-pss', pssOptions),
  'p-256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'p-384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'p-521': () => generateKeyPairSync('ec', { namedCurve: 'P-521' }),
  ed25519: () => generateKeyPairSync('ed25519'),
};
export type CorpusKind = keyof typeof kinds;
export const corpusKinds = Object.keys(kinds) as readonly CorpusKind[];

type PrivateForm = 'pkcs8' | 'pkcs1' | 'sec1';
type PublicForm = 'spki' | 'pkcs1-public';

/** What the PEM of each form is called. */
export const labels: Readonly<Record<PrivateForm | PublicForm, string>> = {
  pkcs8: 'PRIVATE KEY',
  pkcs1: 'RSA PRIVATE KEY',
  sec1: 'EC PRIVATE KEY',
  spki: 'PUBLIC KEY',
  'pkcs1-public': 'RSA PUBLIC KEY',
};

/** One key with one field of it changed. */
export interface CorpusKey {
  /** `p-256 sec1, field 3 (04, 32 bytes): order`. The same in every run. */
  readonly name: string;
  readonly form: PrivateForm | PublicForm;
  readonly der: Buffer;
  /** The key before the change. */
  readonly good: { readonly privateKey: KeyObject; readonly publicKey: KeyObject };
}

/** The order of the group in which a kind reckons; for RSA the modulus stands in for it. */
const orders: Readonly<Record<Exclude<CorpusKind, 'rsa' | 'rsa-pss'>, string>> = {
  'p-256': 'ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551',
  'p-384': 'ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973',
  'p-521':
    '01fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffa51868783bf2f966b7fcc0148f709a5d03bb5c9b8899c47aebb6fb71e91386409',
  ed25519: '1000000000000000000000000000000014def9dea2f79cd65812631a5cf5d3ed',
};

/** Every key of the corpus of these kinds, in an order that does not change. */
export function* corpusKeys(wanted: readonly CorpusKind[]): Generator<CorpusKey> {
  for (const kind of wanted) {
    const good = kinds[kind]();
    const forms: (readonly [CorpusKey['form'], Buffer])[] = [
      ['pkcs8', good.privateKey.export({ type: 'pkcs8', format: 'der' })],
      ['spki', good.publicKey.export({ type: 'spki', format: 'der' })],
    ];
    if (kind === 'rsa') {
      forms.push(['pkcs1', good.privateKey.export({ type: 'pkcs1', format: 'der' })]);
      forms.push(['pkcs1-public', good.publicKey.export({ type: 'pkcs1', format: 'der' })]);
    }
    if (kind.startsWith('p-')) {
      const sec1 = good.privateKey.export({ type: 'sec1', format: 'der' });
      forms.push(['sec1', sec1]);
    }
    const order = kind === 'rsa' || kind === 'rsa-pss' ? modulusOf(good.privateKey) : Buffer.from(orders[kind], 'hex');
    for (const [form, der] of forms) {
      for (const [change, changed] of changesOf(der, order))
        yield { name: `${kind} ${form}, ${change}`, form, der: changed, good };
    }
  }
}

/** The second number of the RSAPrivateKey in a PKCS#8. */
function modulusOf(key: KeyObject): Buffer {
  const [info] = parse(key.export({ type: 'pkcs8', format: 'der' }));
  return info?.children?.[2]?.children?.[0]?.children?.[1]?.content ?? Buffer.alloc(0);
}

/** An element of DER, taken apart as far as there is DER in it. */
interface Node {
  readonly tag: number;
  readonly content: Buffer;
  /** What stands in the content before the children: the unused bits of a BIT STRING. */
  readonly before: Buffer;
  readonly children?: readonly Node[];
}

function parse(der: Buffer): readonly Node[] {
  const nodes: Node[] = [];
  for (let at = 0; at < der.length; ) {
    const tag = der.readUInt8(at);
    const first = der.readUInt8(at + 1);
    const lengthBytes = first < 0x80 ? 0 : first - 0x80;
    const start = at + 2 + lengthBytes;
    const end = start + (lengthBytes === 0 ? first : der.readUIntBE(at + 2, lengthBytes));
    nodes.push(nodeOf(tag, der.subarray(start, end)));
    at = end;
  }
  return nodes;
}

function nodeOf(tag: number, content: Buffer): Node {
  const before = content.subarray(0, tag === 0x03 ? 1 : 0);
  const inside = content.subarray(before.length);
  const holdsDer = (tag & 0x20) !== 0 || ((tag === 0x03 || tag === 0x04) && isOneElement(inside));
  return { tag, content, before, ...(holdsDer && { children: parse(inside) }) };
}

/**
 * A SEQUENCE or an OCTET STRING that fills these bytes. Keys whose first byte is chance must not be
 * taken for one.
 */
function isOneElement(bytes: Buffer): boolean {
  const [tag, length = 0, high = 0, low = 0] = bytes;
  if (tag !== 0x30 && !(tag === 0x04 && bytes.length === 34)) return false;
  if (length < 0x80) return bytes.length === length + 2;
  return length === 0x81 ? bytes.length === high + 3 : bytes.length === high * 256 + low + 4;
}

const write = ({ tag, content, before, children }: Node): Buffer =>
  tlv(tag, ...(children ? [before, ...children.map(write)] : [content]));

/** What a field is set to, from what it was. Of an INTEGER, large numbers keep their sign. */
function valuesOf({ tag, content }: Node, order: Buffer): readonly (readonly [string, Buffer | undefined])[] {
  const positive = (bytes: Buffer) =>
    tag === 0x02 && (bytes[0] ?? 0) >= 0x80 ? Buffer.concat([Buffer.alloc(1), bytes]) : bytes;
  const above = Buffer.from(
    (BigInt(`0x${order.toString('hex')}`) + 1n).toString(16).padStart(order.length * 2, '0'),
    'hex',
  );
  const point = (coordinate: Buffer) => (tag === 0x03 ? Buffer.concat([Buffer.from([0, 4]), coordinate]) : coordinate);
  const unused = tag === 0x03 ? Buffer.alloc(1) : Buffer.alloc(0);
  return [
    ['empty', Buffer.alloc(0)],
    ['zero', Buffer.from([0])],
    ['zero bytes', Buffer.alloc(content.length)],
    ['infinity', Buffer.concat([unused, Buffer.alloc(1)])],
    ['one', Buffer.concat([unused, Buffer.from([1])])],
    ['order', positive(point(order))],
    ['order and one', positive(point(above))],
    ['maximal', positive(Buffer.concat([unused, Buffer.alloc(Math.max(1, content.length - unused.length), 0xff)]))],
    ['twice as long', Buffer.concat([content, content])],
    ['far too long', Buffer.concat([unused, Buffer.alloc(5001, 0x5b)])],
    ['negative', Buffer.concat([Buffer.from([0xff]), content])],
    ['with a zero before it', Buffer.concat([Buffer.alloc(1), content])],
    ['left out', undefined],
  ];
}

/** Every primitive field of a DER, set to each value in turn. */
function changesOf(der: Buffer, order: Buffer): readonly (readonly [string, Buffer])[] {
  let count = 0;
  const within = (node: Node): readonly (readonly [string, Node | undefined])[] => {
    if (node.children === undefined) {
      count += 1;
      const field = `field ${count} (${node.tag.toString(16).padStart(2, '0')}, ${node.content.length} bytes)`;
      return valuesOf(node, order).map(
        ([value, content]) => [`${field}: ${value}`, content && { ...node, content }] as const,
      );
    }
    const { children } = node;
    return children.flatMap((child, index) =>
      within(child).map(([name, changed]) => {
        const others = children.flatMap((one, at) => (at === index ? (changed ?? []) : [one]));
        return [name, { ...node, children: others }] as const;
      }),
    );
  };
  const [whole] = parse(der);
  if (whole === undefined) throw new Error('the key to change is empty');
  return within(whole).flatMap(([name, changed]) => (changed ? [[name, write(changed)] as const] : []));
}
