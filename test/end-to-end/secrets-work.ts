import { type KeyObject, randomBytes } from 'node:crypto';
import { appendFileSync, closeSync, mkdirSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { inspect } from 'node:util';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { jsonLog } from '../../src/log.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { badKeys, passphrase } from '../support/bad-keys.ts';
import { type Canary, keyCanary, textCanary } from '../support/canaries.ts';
import { testCertificate } from '../support/certificates.ts';
import type { Behaviour, FaultyProxy } from '../support/faulty-proxy.ts';
import { exchangeToken } from '../support/instance.ts';
import { certificateCrn, makeSigner, payloadV5 } from '../support/notifications.ts';
import { type RoleProcess, startRole } from '../support/roles.ts';
import { primaryCrn } from './program.ts';
import type { secretsHandlers } from './secrets-child.ts';
import { type Sides, startSides } from './sides.ts';

const keyKinds = ['rsa-2048', 'rsa-pss-2048', 'p-256', 'p-384', 'p-521', 'ed25519'] as const;

type Proxied = Parameters<FaultyProxy['behave']>[0];

export type Work = Awaited<ReturnType<typeof startWork>>;

/**
 * The program in a process of its own, between two services in this one. What anybody prints, logs,
 * records or answers is left in files of the folder.
 */
export async function startWork({ script, folder }: { readonly script: string; readonly folder: string }) {
  const write = (file: string) => (text: string) => appendFileSync(join(folder, file), `${text}\n`);
  const apiKey = randomBytes(33).toString('base64url');
  const signer = makeSigner();
  const log = jsonLog({ least: 'debug', now: runtime.now, write: write('services.log') });
  const sides = await startSides({ signingKey: signer.privateKey, apiKey, log });
  mkdirSync(join(folder, 'tmp'));
  const output = openSync(join(folder, 'output.txt'), 'w');
  const child: RoleProcess<ReturnType<typeof secretsHandlers>> = startRole({
    program: script,
    role: 'program',
    nodeOptions: ['--heap-snapshot-string-limit=1000000'],
    env: { TMPDIR: join(folder, 'tmp') },
    output,
  });
  closeSync(output);
  const callbackUrl = await child.call('start', {
    primaryUrl: sides.primary.proxy.url,
    backupUrl: sides.backup.proxy.url,
    apiKey,
    path: join(folder, 'records'),
    logFile: join(folder, 'program.log'),
    messagesFile: join(folder, 'messages.txt'),
  });
  const work = {
    sides,
    child,
    signer,
    apiKey,
    callbackUrl,
    tokens: new Set<string>(),
    /** Private keys that went through the program, or tried to. */
    keys: [keyCanary('the signing key', pemOf(signer.privateKey))],
    /** What else must not be told. */
    words: [textCanary('the API key', apiKey), textCanary('the passphrase', passphrase)],
    /** What the services answered, and what errors look like. */
    answers: write('answers.txt'),
    errors: write('errors.txt'),
    events: 0,
    async close() {
      await child.stop();
      await sides.close();
    },
  };
  behave(work, 'primary', () => 'pass');
  behave(work, 'backup', () => 'pass');
  await sides.addChannel(callbackUrl);
  await child.call('sweep');
  await child.call('reconcile');
  return work;
}

/**
 * Everything that may go right and wrong around a key. Answers the id of a certificate of the
 * primary, named `spilt`.
 */
export async function workWithSecrets(work: Work): Promise<string> {
  await goodDays(work);
  await refusedByThePrimary(work);
  await unfitInThePrimary(work);
  await badDaysOfTheBackup(work);
  const spilt = await importNew(work, 'spilt', await marked(work, 'spilt', 'rsa-2048'));
  await settle(work);
  return spilt;
}

/** Everything that must not be found in any file. */
export function canariesOf({ keys, words, tokens }: Work): readonly Canary[] {
  return [...keys, ...words, ...[...tokens].map((token, index) => textCanary(`access token ${index}`, token))];
}

const pemOf = (key: KeyObject) => key.export({ type: 'pkcs8', format: 'pem' }).toString();

type SideName = keyof Pick<Sides, 'primary' | 'backup'>;

/** Sets what a side does with the program's requests; the tokens in them are kept. */
function behave(
  { sides, tokens }: Pick<Work, 'sides' | 'tokens'>,
  side: SideName,
  of: (request: Proxied) => Behaviour,
) {
  sides[side].proxy.behave = (request) => {
    const [, token] = request.authorization.split(' ');
    if (token !== undefined) tokens.add(token);
    return of(request);
  };
}

/**
 * Lets a side do something bad to some requests until the program, which is made to look, has met
 * it.
 */
async function meets(
  work: Work,
  id: string,
  side: SideName,
  bad: {
    readonly to: (request: Proxied) => boolean;
    readonly is: (request: Proxied) => Behaviour;
  },
): Promise<void> {
  let met = 0;
  behave(work, side, (request) => {
    if (!bad.to(request)) return 'pass';
    met += 1;
    return bad.is(request);
  });
  for (let attempt = 0; met === 0; attempt += 1) {
    if (attempt === 500) throw new Error('the program did not come by');
    await lookAt(work, id);
    await wait(20);
  }
  await work.child.call('idle');
  behave(work, side, () => 'pass');
}

/** A new certificate whose key must not be seen. */
async function marked(work: Work, name: string, keyKind: (typeof keyKinds)[number] = 'p-256') {
  const pem = await testCertificate({ keyKind });
  work.keys.push(keyCanary(`the key of ${name}`, pem.privateKey.reveal()));
  return pem;
}

async function importNew(work: Work, name: string, pem: CertificatePem): Promise<string> {
  const metadata = { name, description: '', tags: [] };
  return (await work.sides.primary.store.import({ content: parseContent(pem), metadata })).id;
}

/** Every kind of key is imported, and one is renewed. */
async function goodDays(work: Work): Promise<void> {
  for (const kind of keyKinds) await importNew(work, kind, await marked(work, kind, kind));
  const shop = await importNew(work, 'shop', await marked(work, 'shop', 'rsa-2048'));
  await settle(work);
  await work.sides.primary.store.reimport(shop, parseContent(await marked(work, 'shop, renewed', 'rsa-2048')));
  await settle(work);
}

async function refusedByThePrimary(work: Work): Promise<void> {
  const { good, keys, canaries } = await badKeys();
  work.keys.push(...canaries);
  const url = `${work.sides.primary.url}/api/v3/${encodeURIComponent(primaryCrn)}/certificates/import`;
  const token = await exchangeToken(work.sides.primary.url, work.apiKey);
  work.tokens.add(token);
  const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
  for (const [name, priv_key] of Object.entries(keys)) {
    const { certificate: content, intermediate } = good;
    const body = JSON.stringify({ name, data: { content, intermediate, priv_key } });
    for (const sent of [body, body.slice(0, -2), body.replace('"priv_key"', 'priv_key')]) {
      const answer = await fetch(url, { method: 'POST', headers, body: sent });
      work.answers(`${answer.status} ${await answer.text()}`);
    }
    // A key where something else belongs.
    for (const wrong of [
      { name: priv_key, data: { content } },
      { name, description: priv_key, data: { content, priv_key: 'none' } },
      { name, data: { content: priv_key } },
      { name, data: { content, intermediate: priv_key } },
      { name, data: priv_key },
      { [priv_key]: name },
      priv_key,
    ]) {
      const answer = await fetch(url, { method: 'POST', headers, body: JSON.stringify(wrong) });
      work.answers(`${answer.status} ${await answer.text()}`);
    }
    try {
      parseContent({ certificate: content, privateKey: new Secret(priv_key) });
    } catch (thrown) {
      work.errors(inspect(thrown, { depth: 12, showHidden: true }));
    }
  }
  for (const apikey of [`${work.apiKey}x`, work.apiKey.toUpperCase()]) {
    await exchangeToken(work.sides.primary.url, apikey).catch((thrown: unknown) => work.answers(inspect(thrown)));
  }
}

/** The primary gives the program what cannot be copied. */
async function unfitInThePrimary(work: Work): Promise<void> {
  const { good, keys, canaries } = await badKeys();
  work.keys.push(...canaries);
  const id = await importNew(work, 'unfit', await marked(work, 'unfit'));
  await settle(work);
  const _id = certificateCrn(id, primaryCrn);
  const said = (priv_key: string) =>
    JSON.stringify({
      _id,
      name: 'unfit',
      data: { content: good.certificate, intermediate: good.intermediate, priv_key },
    });
  const texts = Object.values(keys).map(said);
  const whole = said(good.privateKey.reveal());
  for (const body of [...texts, whole.slice(0, -1), `<html>${whole}</html>`, JSON.stringify(whole), `[${whole}]`]) {
    await meets(work, id, 'primary', {
      to: ({ path }) => path.startsWith('/api/v2/'),
      is: () => ({ status: 200, headers: { 'content-type': 'application/json' }, body }),
    });
  }
}

/** The backup refuses what it is given, and says so in words that hold it. */
async function badDaysOfTheBackup(work: Work): Promise<void> {
  const id = await importNew(work, 'refused', await marked(work, 'refused', 'rsa-2048'));
  await settle(work);
  const keyOf = ({ body }: Proxied) => /"priv_key":"(.*?)"/.exec(body)?.[1]?.replaceAll('\\n', '\n') ?? '';
  const lines = (request: Proxied) => keyOf(request).split('\n').slice(1, -2);
  const json = (status: number, message: string, code: string | number = 'bad'): Behaviour => ({
    status,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ code, message }),
  });
  const text = (status: number, body: string): Behaviour => ({
    status,
    headers: { 'content-type': 'text/html' },
    body,
  });
  const ways: readonly ((request: Proxied) => Behaviour)[] = [
    ({ body }) => json(400, `cannot take ${body}`),
    (request) => json(400, `cannot take ${lines(request).join('\n')}`),
    (request) => json(400, `bad character in ${lines(request).at(-2)}`),
    (request) => json(400, `cannot take ${lines(request).slice(-2).join('\\n')}`),
    (request) => json(400, `cannot take ${Buffer.from(lines(request).join(''), 'base64').toString('hex')}`),
    (request) => json(400, 'its code has it', lines(request).at(-2)),
    ({ body }) => text(400, body),
    ({ body }) => text(500, `<html>${body}</html>`),
    ({ body }) => text(200, body),
    ({ body }) => json(429, body),
    ({ body }) => json(200, body),
    ({ authorization }) => json(403, `${authorization} has no role`),
    ({ authorization }) => json(401, `the token ${authorization.slice(7)} is not known`),
    () => 'drop',
    () => 'drop-after',
  ];
  const versions = [await marked(work, 'refused, even', 'rsa-2048'), await marked(work, 'refused, odd', 'rsa-2048')];
  for (const [index, way] of ways.entries()) {
    const version = versions[index % 2];
    if (version) await work.sides.primary.store.reimport(id, parseContent(version));
    await meets(work, id, 'backup', { to: ({ body }) => body.includes('PRIVATE KEY'), is: way });
  }
  await meets(work, id, 'backup', {
    to: () => true,
    is: ({ path, body }) => (path === '/identity/token' ? json(400, body) : { status: 401 }),
  });
}

/** Has the program look at a certificate once. */
async function lookAt(work: Work, id: string): Promise<void> {
  work.events += 1;
  const event = { instance: primaryCrn, ids: [id], type: 'cert_reimported', eventId: `look ${work.events}` };
  const body = work.signer.body(payloadV5(event));
  const headers = { 'content-type': 'application/json' };
  const answer = await fetch(work.callbackUrl, { method: 'POST', headers, body });
  if (answer.status !== 202) throw new Error(`the notification was answered ${answer.status}`);
  await work.child.call('idle');
}

/** Until every certificate of the primary has its equal copy, and nothing is left to do. */
async function settle(work: Work): Promise<void> {
  const { primary, backup } = work.sides;
  for (let attempt = 0; attempt < 300; attempt += 1) {
    await work.child.call('sweep');
    await work.child.call('idle');
    const [ours, copies] = await Promise.all([contents(primary.store), contents(backup.store)]);
    if ((await work.child.call('quiet')) && ours.join() === copies.join()) return;
    await wait(100);
  }
  throw new Error('the backup did not become equal to the primary');
}

async function contents(store: Sides['primary']['store']): Promise<readonly string[]> {
  const { certificates } = await store.list({});
  const readings = await Promise.all(certificates.map(({ id }) => store.read(id)));
  return readings.map((reading) => (reading.state === 'present' ? fingerprintOf(reading.value.content) : '')).sort();
}
