import { X509Certificate } from 'node:crypto';
import type { PrivateKey } from '../certificate/certificate.ts';
import { isSignedBy } from '../certificate/chain.ts';
import { factsOf } from '../certificate/facts.ts';
import { domainsOf } from '../certificate/names.ts';
import { formatBlock } from '../certificate/pem-blocks.ts';
import { belongsTo, readPrivateKey } from '../certificate/private-key.ts';
import { alternativeNamesOf, structureOf } from '../certificate/structure.ts';
import { CodedError } from '../errors.ts';
import type { ArchiveEntry, ArchiveItem, RefusedEntry } from './archive.ts';
import { readEntry } from './layout.ts';
import type { CertificateBag, KeyBag, Pkcs12Bags } from './pkcs12-bags.ts';

/** A certificate of the file, and what the file says of it. */
interface Certificate {
  readonly x509: X509Certificate;
  readonly bag: CertificateBag;
}

/** A private key of the file, and what the file says of it. */
interface Key {
  readonly privateKey: PrivateKey;
  readonly bag: KeyBag;
}

/**
 * The certificates of one PKCS#12 file: one for each private key in it. Which certificate belongs
 * to a key says the key itself, and where it belongs to several, `localKeyId`; never the place
 * where one stands. The name is that of the bag with the key, else that of its certificate's bag,
 * else the first name of the certificate, else the file's. `file` is its name in messages. The key
 * bags are overwritten. Throws `certificate_key_missing` for a file without a key.
 */
export function* entriesOf(file: string, { certificates, keys, passedOver }: Pkcs12Bags): Generator<ArchiveItem> {
  if (keys.length === 0) {
    const what = certificates.length === 1 ? 'a certificate' : `${certificates.length} certificates`;
    throw new CodedError('certificate_key_missing', `it holds ${what} and no private key`);
  }
  try {
    const { readable, unreadable } = readCertificates(certificates);
    const only = keys.length === 1;
    const found = keys.map((key) => attempt(() => membersOf(key, readable, only)));
    const used = new Set(found.flatMap((members) => ('leaf' in members ? [...members.leaf, ...members.chain] : [])));
    const left = readable
      .filter((each) => !used.has(each))
      .map(({ bag }) => `a certificate without a key${named(bag)}`);
    for (const why of [...passedOver, ...unreadable, ...left]) yield { file, why };
    const entryName = entryNames(file, keys.length);
    for (const [at, key] of keys.entries()) {
      const members = found[at];
      if (members !== undefined) yield entryOf(file, key, members, entryName);
    }
  } finally {
    for (const { der } of keys) der.fill(0);
  }
}

/**
 * The certificates of one key: its own (several, where nothing tells them apart), and what they
 * lead to.
 */
interface Members {
  readonly leaf: readonly Certificate[];
  readonly chain: readonly Certificate[];
}

/**
 * The certificates that go with a key. Of those that it does not lead to the ones that stand alone
 * are another matter; the
 *  others come along where they can belong to no other key, to be judged. Throws `certificate_*`.
 */
function membersOf(bag: KeyBag, pool: readonly Certificate[], only: boolean): Members {
  const privateKey = readKey(bag);
  try {
    const leaf = leavesOf({ privateKey, bag }, pool);
    const { chain, others } = chainOf(leaf, pool);
    return { leaf, chain: only ? [...chain, ...others.filter((each) => !each.bag.trusted)] : chain };
  } finally {
    privateKey.pem.wipe();
  }
}

function entryOf(
  file: string,
  bag: KeyBag,
  members: Members | CodedError,
  entryName: (name: string) => string,
): ArchiveEntry | RefusedEntry {
  const nameless = file.replace(/\.(p12|pfx|pkcs12|jks|ks|keystore)$/i, '');
  const leaf = 'leaf' in members && members.leaf.length === 1 ? members.leaf[0] : undefined;
  const name = attempt(() => nameOf(bag, leaf) ?? nameless);
  const entry = entryName(typeof name === 'string' ? name : nameless);
  const content = attempt(() => {
    if (!('leaf' in members)) throw members;
    if (typeof name !== 'string') throw name;
    const privateKey = readKey(bag);
    try {
      return { name, content: readEntry(entry, { ...pemOf(members), privateKey: privateKey.pem }) };
    } finally {
      privateKey.pem.wipe();
    }
  });
  if (!(content instanceof CodedError)) return { entry, ...content, description: '', tags: [] };
  const { code, message, fields, cause } = content;
  const known = { entry, ...(typeof name === 'string' && { name }) };
  if (fields.entry !== undefined) return { ...known, error: content };
  const about = `${entry}: ${message}`;
  return { ...known, error: new CodedError(code, about, { cause, fields: { ...fields, entry } }) };
}

/** What `work` gives, or the coded error that it throws. */
function attempt<T>(work: () => T): T | CodedError {
  try {
    return work();
  } catch (thrown) {
    if (thrown instanceof CodedError) return thrown;
    throw thrown;
  }
}

/**
 * Names of entries that are all different: the file's, where it holds one key, else with the
 * certificate's own.
 */
function entryNames(file: string, keys: number): (name: string) => string {
  const seen = new Map<string, number>();
  return (name) => {
    if (keys === 1) return file;
    const times = (seen.get(name) ?? 0) + 1;
    seen.set(name, times);
    return times === 1 ? `${file} (${name})` : `${file} (${name}, ${times})`;
  };
}

function readKey({ der, problem }: KeyBag): PrivateKey {
  if (problem !== undefined) throw new CodedError(problem.code, problem.message, { fields: problem.fields });
  return readPrivateKey({ label: 'PRIVATE KEY', encrypted: false, base64: Buffer.from(der).toString('base64') });
}

/** Each different certificate once, and the names of those that are no certificates. */
function readCertificates(bags: readonly CertificateBag[]) {
  const readable = new Map<string, Certificate>();
  const unreadable: string[] = [];
  for (const bag of bags) {
    try {
      const x509 = new X509Certificate(bag.der);
      const key = x509.raw.toString('latin1');
      // It may stand there once as its key's and once as a trusted one.
      const before = readable.get(key);
      if (before === undefined || before.bag.keyId === undefined) readable.set(key, { x509, bag });
    } catch {
      unreadable.push(`a certificate that cannot be read${named(bag)}`);
    }
  }
  return { readable: [...readable.values()], unreadable };
}

/**
 * The certificate of a key: all that hold its public half, unless one of them has its `localKeyId`.
 * Where none holds it, the one with the same `localKeyId`, which will then be refused by its name.
 * Several are left where nothing tells them apart.
 */
function leavesOf({ privateKey, bag }: Key, pool: readonly Certificate[]): readonly Certificate[] {
  const sameId = (each: Certificate) => bag.keyId !== undefined && each.bag.keyId === bag.keyId;
  const owned = pool.filter(({ x509 }) => belongsTo(privateKey, x509));
  if (owned.length === 0) {
    const [said, ...others] = pool.filter(sameId);
    if (said !== undefined && others.length === 0) return [said];
    if (pool.length === 0) {
      throw new CodedError('certificate_malformed', 'there is a private key in the file, and no certificate', {
        fields: { reason: 'no_certificate' },
      });
    }
    throw new CodedError('certificate_key_mismatch', 'none of the certificates in the file is that of the private key');
  }
  const named = owned.filter(sameId);
  if (named.length > 0) return named;
  const own = owned.filter((each) => !each.bag.trusted);
  return own.length > 0 ? own : owned;
}

/**
 * The certificates that a leaf leads to, issuer by issuer, both variants of a cross-signed one
 * among them, and the others.
 */
function chainOf(leaves: readonly Certificate[], pool: readonly Certificate[]) {
  const bySubject = new Map<string, Certificate[]>();
  for (const each of pool) bySubject.set(each.x509.subject, [...(bySubject.get(each.x509.subject) ?? []), each]);
  const chain = new Set<Certificate>();
  const reach = (below: Certificate) => {
    for (const issuer of bySubject.get(below.x509.issuer) ?? []) {
      if (leaves.includes(issuer) || chain.has(issuer) || !isSignedBy(below.x509, issuer.x509)) continue;
      chain.add(issuer);
      reach(issuer);
    }
  };
  for (const leaf of leaves) reach(leaf);
  return { chain: [...chain], others: pool.filter((each) => !chain.has(each) && !leaves.includes(each)) };
}

/**
 * The name that a file gives a key and its certificate, else the first name that the certificate
 * serves.
 */
function nameOf(key: KeyBag, leaf: Certificate | undefined): string | undefined {
  if (key.name !== undefined || leaf === undefined) return key.name;
  if (leaf.bag.name !== undefined) return leaf.bag.name;
  return domainsOf(alternativeNamesOf(structureOf(leaf.x509)))[0] ?? factsOf(leaf.x509).commonName;
}

const named = ({ name }: CertificateBag): string => (name === undefined ? '' : ` (${name})`);

function pemOf({ leaf, chain }: Members) {
  const text = (those: readonly Certificate[]) =>
    those.map(({ x509 }) => formatBlock('CERTIFICATE', x509.raw)).join('');
  return { certificate: text(leaf), ...(chain.length > 0 && { intermediate: text(chain) }) };
}
