import { createHash, createHmac, randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { ArchiveItem } from '../../src/archive/archive.ts';
import { openBags } from '../../src/archive/pkcs12-bags.ts';
import { entriesOf as pkcs12Entries } from '../../src/archive/pkcs12-entries.ts';
import { openArchive } from '../../src/archive/read-archive.ts';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { factsOf } from '../../src/certificate/facts.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { contentProblem } from '../../src/certificate/judgement.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { chainRemarks } from '../../src/certificate/remarks.ts';
import { proveByHandshake } from '../../src/drill/handshake.ts';
import { checkReport } from '../../src/drill/report.ts';
import { CodedError } from '../../src/errors.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { pinVerificationKey } from '../../src/sender/jws.ts';
import { certificateManagerStore } from '../../src/services/certificate-manager/store.ts';
import { directoryStore } from '../../src/services/directory/store.ts';
import type { Store } from '../../src/store/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { int, octets, oids, pemOf, raw, seq, tagged } from '../support/der.ts';
import { foreignCertificate } from '../support/foreign-certificates.ts';
import { startTestInstance } from '../support/instance.ts';
import { instanceCrn } from '../support/notifications.ts';
import { type CorpusKey, labels } from './keys.ts';

/**
 * What became of one key at one entry: `taken`, or the code with which it was refused. Anything
 * else is thrown.
 */
type Outcome = string;

/**
 * Where bytes of somebody else come in. Each is given the PEM texts in which a key of the corpus
 * stands.
 */
export interface Entries {
  readonly names: readonly string[];
  /** Feeds one key to one entry; `undefined` where it has no place there. */
  feed(entry: string, key: CorpusKey): Promise<Outcome | undefined>;
  close(): Promise<void>;
}

/** The texts in which a key comes in. */
interface Texts {
  readonly certificate: string;
  readonly intermediate?: string;
  readonly privateKey?: string;
}

const passphrase = 'correct horse battery staple';
const nowMs = Date.UTC(2026, 10, 30);

export async function openEntries(): Promise<Entries> {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-corpus-'));
  const instance = await startTestInstance();
  const token = await instance.token();
  const { certificate: goodLeaf, privateKey: goodKey } = await testCertificate();
  const canary = { certificate: goodLeaf, privateKey: goodKey.reveal() };
  /** Certificates for the keys of the corpus before they were changed. */
  const certificates = new WeakMap<object, string>();

  /**
   * The texts of a key: a private one beside its certificate; a public one in a certificate, alone,
   * and in a chain.
   */
  function textsOf({ form, der, good }: CorpusKey): readonly Texts[] {
    if (form === 'pkcs1-public') return [];
    if (form === 'spki') {
      const foreign = foreignCertificate({ publicKey: der });
      const privateKey = good.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
      return [{ certificate: foreign }, { certificate: foreign, privateKey }, { ...canary, intermediate: foreign }];
    }
    let certificate = certificates.get(good);
    if (certificate === undefined) {
      certificate = foreignCertificate({ publicKey: good.publicKey.export({ type: 'spki', format: 'der' }) });
      certificates.set(good, certificate);
    }
    return [{ certificate, privateKey: pemOf(labels[form], der) }];
  }

  const entries: Readonly<Record<string, (texts: Texts) => Promise<Outcome>>> = {
    instance: async ({ certificate, intermediate, privateKey }) => {
      const data = { content: certificate, intermediate, priv_key: privateKey };
      const path = `/api/v3/${encodeURIComponent(instance.crn)}/certificates/import`;
      const answer = await post(`${instance.url}${path}`, token, { name: 'foreign', data });
      if (answer.status >= 500) throw new Error(`HTTP ${answer.status}: ${answer.text}`);
      return answer.status === 200 ? 'taken' : (JSON.parse(answer.text) as { code: string }).code;
    },

    directory: async ({ certificate, intermediate = '', privateKey }) => {
      const path = mkdtempSync(join(folder, 'directory-'));
      writeLineage(join(path, 'one'), { certificate: certificate + intermediate, privateKey });
      const store = directoryStore({
        id: 'corpus',
        path,
        region: 'here',
        runtime: { ...systemRuntime, now: () => Date.now() + 60_000 },
      });
      await store.list({});
      return judged(await readFrom(store, 'one'));
    },

    'archive of PEM': async ({ certificate, intermediate = '', privateKey }) => {
      const path = mkdtempSync(join(folder, 'archive-'));
      writeLineage(join(path, 'one'), { certificate: certificate + intermediate, privateKey });
      return judged(await contentOfArchive(path));
    },

    'archive of PKCS#12': async (texts) => {
      // In this thread, where one that ends is seen; the program opens such files in a thread of
      // its own.
      const pkcs12 = pkcs12Of(texts);
      if (pkcs12 === undefined) return 'has no place there';
      const bags = openBags(pkcs12, { passphrase, acceptNoMac: false });
      return judged(firstOf([...pkcs12Entries('one.p12', bags)]));
    },

    'answers of Certificate Manager': async ({ certificate, intermediate, privateKey }) => {
      const data = { content: certificate, intermediate, priv_key: privateKey };
      const store = certificateManager({ ...shown, data });
      return judged(await readFrom(store, shownId));
    },

    drill: async ({ certificate, intermediate, privateKey }) => {
      const content = parseContent({
        certificate,
        ...(intermediate !== undefined && { intermediate }),
        ...(privateKey !== undefined && { privateKey: new Secret(privateKey) }),
      });
      const { served } = await proveByHandshake(content, { trust: [certificate], timeoutMs: 10_000 });
      return served ? 'taken' : 'not served';
    },
  };

  const publicEntries: Readonly<Record<string, (pem: string) => Promise<Outcome> | Outcome>> = {
    'verification key': (pem) => {
      pinVerificationKey(pem);
      return 'taken';
    },
    'verification key of Certificate Manager': async (pem) => {
      await certificateManager({ publicKey: pem }).notificationKey?.();
      return 'taken';
    },
    'key of a report': (pem) => {
      const signature = { algorithm: 'Ed25519', publicKey: pem, value: '' };
      checkReport(JSON.stringify({ report: '{}', signature }), pem);
      return 'taken';
    },
  };

  return {
    names: [...Object.keys(entries), ...Object.keys(publicEntries)],
    async feed(entry, key) {
      const ofPublic = publicEntries[entry];
      if (ofPublic !== undefined) {
        if (key.form !== 'spki' && key.form !== 'pkcs1-public') return undefined;
        return refusalOf(async () => ofPublic(pemOf(labels[key.form], key.der)));
      }
      const feedTexts = entries[entry];
      if (feedTexts === undefined) throw new Error(`there is no entry ${entry}`);
      const outcomes: Outcome[] = [];
      for (const texts of textsOf(key)) outcomes.push(await refusalOf(() => feedTexts(texts)));
      // What one key leaves behind must not be found in the way of the next one.
      const content = parseContent({ certificate: canary.certificate, privateKey: new Secret(canary.privateKey) });
      const problem = contentProblem(content, { nowMs, requireChain: false });
      if (problem !== undefined) throw new Error(`a good key was refused after it: ${problem.message}`);
      return outcomes.length === 0 ? undefined : outcomes.join(', ');
    },
    async close() {
      await instance.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/**
 * One request on a connection of its own: one that is kept may be closed just as it is used, on a
 * machine that has much to do.
 */
function post(url: string, token: string, body: unknown): Promise<{ readonly status: number; readonly text: string }> {
  return new Promise((resolve, reject) => {
    const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
    const sent = request(url, { method: 'POST', agent: false, headers }, async (answer) => {
      const chunks: Buffer[] = [];
      for await (const chunk of answer) chunks.push(chunk as Buffer);
      resolve({ status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString() });
    });
    sent.on('error', reject);
    sent.end(JSON.stringify(body));
  });
}

/**
 * The code of what a call throws. What has none, and what says that the fault is ours, is thrown
 * on.
 */
async function refusalOf(call: () => Promise<Outcome>): Promise<Outcome> {
  try {
    return await call();
  } catch (thrown) {
    if (thrown instanceof CodedError && thrown.code !== 'internal') return thrown.code;
    throw thrown;
  }
}

/** What the program does with a content that it has read. */
function judged(content: CertificateContent): Outcome {
  for (const certificate of [content.leaf, ...content.chain]) factsOf(certificate);
  fingerprintOf(content);
  chainRemarks(content, nowMs);
  return contentProblem(content, { nowMs, requireChain: false })?.code ?? 'taken';
}

async function readFrom(store: Store, id: string): Promise<CertificateContent> {
  const reading = await store.read(id);
  if (reading.state === 'present') return reading.value.content;
  throw reading.state === 'unreadable' ? reading.error : new Error('it is absent');
}

function writeLineage(
  path: string,
  { certificate, privateKey }: Pick<Texts, 'certificate'> & { privateKey?: string | undefined },
) {
  mkdirSync(path);
  writeFileSync(join(path, 'fullchain.pem'), certificate);
  if (privateKey !== undefined) writeFileSync(join(path, 'privkey.pem'), privateKey);
}

async function contentOfArchive(path: string): Promise<CertificateContent> {
  const archive = await openArchive(path, { passphrase: new Secret(passphrase) });
  const items: ArchiveItem[] = [];
  for await (const item of archive.entries()) items.push(item);
  return firstOf(items);
}

function firstOf(items: readonly ArchiveItem[]): CertificateContent {
  for (const item of items) {
    if ('content' in item) return item.content;
    if ('error' in item) throw item.error;
  }
  throw new Error('the archive is empty');
}

const shownId = 'a'.repeat(32);
const shown = {
  _id: `${instanceCrn.slice(0, -1)}certificate:${shownId}`,
  name: 'shop',
  description: '',
  domains: ['shop.example.test'],
  issuer: 'Example CA',
  begins_on: 1_700_000_000_000,
  expires_on: 1_707_776_000_000,
  algorithm: 'sha256WithRSAEncryption',
  key_algorithm: 'rsaEncryption 2048 bit',
  imported: true,
  status: 'valid',
  has_previous: false,
};

/** The store, at a service that gives this one answer. */
function certificateManager(answer: unknown): Store {
  return certificateManagerStore({
    instance: instanceCrn,
    apiKey: new Secret('the api key'),
    endpoint: 'http://127.0.0.1:1',
    iamUrl: 'http://127.0.0.1:1',
    runtime: systemRuntime,
    send: async ({ url }, { connected }) => {
      connected();
      const grant = { access_token: 'token', expires_in: 3600, expiration: 1, token_type: 'Bearer' };
      const body = Buffer.from(JSON.stringify(String(url).includes('/identity/token') ? grant : answer));
      return {
        status: 200,
        headers: { 'content-type': 'application/json' },
        body: (async function* () {
          yield body;
        })(),
      };
    },
  });
}

/** Identifiers of RFC 7292 and RFC 5652. */
const pkcs12Oids = {
  data: raw('06092a864886f70d010701'),
  keyBag: raw('060b2a864886f70d010c0a0101'),
  certificateBag: raw('060b2a864886f70d010c0a0103'),
  x509: raw('060a2a864886f70d01091601'),
};

/**
 * A PKCS#12 file (RFC 7292) of one certificate and its key, neither encrypted, sealed with one
 * round. PKCS#8 only.
 */
function pkcs12Of({ certificate, intermediate = '', privateKey }: Texts): Buffer | undefined {
  if (privateKey?.includes('BEGIN PRIVATE KEY') !== true) return undefined;
  const derOf = (pem: string) => Buffer.from(pem.replace(/-----.*?-----|\s/g, ''), 'base64');
  const blocks = (certificate + intermediate).match(/-----BEGIN [^-]+-----[^-]+-----END [^-]+-----/g) ?? [];
  const certificateBags = blocks.map((pem) =>
    seq(pkcs12Oids.certificateBag, tagged(0, seq(pkcs12Oids.x509, tagged(0, octets(derOf(pem)))))),
  );
  const bags = seq(...certificateBags, seq(pkcs12Oids.keyBag, tagged(0, derOf(privateKey))));
  const part = (content: Buffer) => seq(pkcs12Oids.data, tagged(0, octets(content)));
  const safe = seq(part(bags));
  const salt = randomBytes(8);
  const mac = createHmac('sha256', macKey(salt)).update(safe).digest();
  const sealed = seq(seq(seq(oids.sha256, raw('0500')), octets(mac)), octets(salt), int(1n));
  return seq(int(3n), part(safe), sealed);
}

/** The key of the seal (RFC 7292 appendix B.2): SHA-256, one round, for ID 3. */
function macKey(salt: Buffer): Buffer {
  const block = 64;
  const fill = (bytes: Buffer) => Buffer.alloc(Math.ceil(bytes.length / block) * block, bytes);
  const text = Buffer.from(`${passphrase}\0`, 'utf16le').swap16();
  return createHash('sha256')
    .update(Buffer.concat([Buffer.alloc(block, 3), fill(salt), fill(text)]))
    .digest();
}
