import { CodedError } from '../errors.ts';

/** A key in a token, and how it is reached, as a PKCS #11 URI says it (RFC 7512). */
export interface Pkcs11Uri {
  /** What names token and key, one way only: attributes in order, as few as possible escaped. */
  readonly name: string;
  readonly token?: string;
  readonly serial?: string;
  readonly object?: string;
  /** `CKA_ID`, in hexadecimal digits. */
  readonly keyId?: string;
  /** The library of the token's maker. */
  readonly modulePath: string;
  /** Where the PIN stands: `env:NAME` or `file:PATH`. */
  readonly pinSource: string;
}

const pathAttributes = ['token', 'serial', 'object', 'id', 'type'];
const queryAttributes = ['module-path', 'pin-source'];
const example =
  'pkcs11:token=hsm-one;object=certstandby-root?module-path=/usr/lib/softhsm/libsofthsm2.so&pin-source=env:HSM_PIN';

/**
 * Reads such a URI. The token is named by `token` (its label), `serial`, or both; the key by
 * `object` (its label), `id`, or both. Throws `configuration_invalid`, with nothing in it of a PIN
 * that somebody has written there.
 */
export function parsePkcs11Uri(uri: string): Pkcs11Uri {
  const [, path = '', query = ''] = /^pkcs11:([^?]*)(?:\?(.*))?$/s.exec(uri) ?? [];
  const named = attributes(path, ';', pathAttributes);
  const asked = attributes(query, '&', queryAttributes);
  const [token, serial, object] = ['token', 'serial', 'object'].map((name) => text(named.get(name)));
  const id = named.get('id');
  const keyId = id === undefined || id.length === 0 ? undefined : id.toString('hex');
  const type = text(named.get('type')) ?? 'secret-key';
  const modulePath = text(asked.get('module-path'));
  const pinSource = text(asked.get('pin-source'));
  if (type !== 'secret-key') throw wrong('type can only be secret-key: a root key is an AES key');
  if (token === undefined && serial === undefined) throw wrong('it names no token: token=<label> or serial=<number>');
  if (object === undefined && keyId === undefined) throw wrong('it names no key: object=<label> or id=<%01…>');
  if (!modulePath?.startsWith('/'))
    throw wrong("it needs module-path=<path>: the whole path of the library of the token's maker");
  if (!/^(env:\w+|file:.+)$/.test(pinSource ?? ''))
    throw wrong('it needs pin-source=env:<NAME> or pin-source=file:<path>');
  const parts = [
    ...(keyId === undefined ? [] : [`id=${keyId.replace(/../g, '%$&')}`]),
    ...Object.entries({ object, serial, token }).flatMap(([name, value]) =>
      value === undefined ? [] : [`${name}=${encodeURIComponent(value)}`],
    ),
  ];
  return {
    name: parts.join(';'),
    ...(token !== undefined && { token }),
    ...(serial !== undefined && { serial }),
    ...(object !== undefined && { object }),
    ...(keyId !== undefined && { keyId }),
    modulePath: modulePath ?? '',
    pinSource: pinSource ?? '',
  };
}

/** Attributes of one part of the URI, each once, decoded to bytes. */
function attributes(part: string, separator: string, known: readonly string[]): ReadonlyMap<string, Buffer> {
  const found = new Map<string, Buffer>();
  for (const attribute of part.split(separator).filter((each) => each !== '')) {
    const [, name = '', value = ''] = /^([\w-]+)=(.*)$/s.exec(attribute) ?? [];
    if (name === 'pin-value')
      throw wrong('a PIN does not stand here: use pin-source=env:<NAME> or pin-source=file:<path>');
    if (!known.includes(name)) throw wrong(`before or after its ? there can be ${known.join(', ')}, and no other`);
    if (found.has(name)) throw wrong(`${name} stands there twice`);
    if (/%(?![0-9A-Fa-f]{2})/.test(value)) throw wrong(`${name} has a % without two hexadecimal digits`);
    found.set(
      name,
      Buffer.from(
        value.replace(/%(..)|([^%]+)/gs, (_, hex, plain) => hex ?? Buffer.from(plain).toString('hex')),
        'hex',
      ),
    );
  }
  return found;
}

function text(bytes: Buffer | undefined): string | undefined {
  if (bytes === undefined || bytes.length === 0) return undefined;
  const decoded = bytes.toString('utf8');
  if (bytes.length > 200 || !Buffer.from(decoded).equals(bytes))
    throw wrong('a value is longer than 200 bytes, or no UTF-8');
  return decoded;
}

const wrong = (what: string): CodedError =>
  new CodedError(
    'configuration_invalid',
    `the root key is no PKCS #11 URI that can be used: ${what}. An example: ${example}`,
    {
      fields: { mistakes: [what] },
    },
  );
