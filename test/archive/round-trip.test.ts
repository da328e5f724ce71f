import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { generateX25519Identity, identityToRecipient } from 'age-encryption';
import { describe, expect, it } from 'vitest';
import { archiveKinds } from '../../src/archive/archive.ts';
import { download } from '../../src/archive/download.ts';
import { planImport } from '../../src/archive/import.ts';
import { openArchive } from '../../src/archive/read-archive.ts';
import { createArchive } from '../../src/archive/write-archive.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { CodedError } from '../../src/errors.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import type { Store } from '../../src/store/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { entriesOf, estate, holdingsOf, memory, passphrase, testFolder, unlocked, wanted } from './archives.ts';

const all = () => true;

describe.each(archiveKinds)('an archive of kind %s', (kind) => {
  it('brings back every kind of key, whatever the certificate is called', async () => {
    const path = join(testFolder(), 'archive');
    const from = await estate();
    const listed: number[] = [];
    const result = await download(runtime, from, await createArchive(wanted(kind, path)), {
      wanted: all,
      listed: (total) => listed.push(total),
    });
    expect(result).toEqual({ downloaded: 6, missing: [], suspect: [] });
    expect(listed).toEqual([6]);

    const into = memory('paris');
    const { entries, kind: found } = await openArchive(path, unlocked);
    expect(found).toBe(kind);
    const plan = await planImport(runtime, into, entries, { wanted: all });
    expect(plan.lines.map(({ action }) => action)).toEqual(Array(6).fill('import'));
    expect(into.size()).toBe(0);
    await plan.apply();
    // PKCS#12 has no place for what people wrote beside the name.
    const bare = (each: Awaited<ReturnType<typeof holdingsOf>>[number]) =>
      kind === 'pkcs12' ? { ...each, description: '', tags: [] } : each;
    expect(await holdingsOf(into)).toEqual((await holdingsOf(from)).map(bare));

    const again = await planImport(runtime, into, entries, { wanted: all });
    expect(again.lines.map(({ action }) => action)).toEqual(Array(6).fill('present'));
    // Reading PKCS#12 again would only take long.
    if (kind !== 'pkcs12') await again.apply();
    expect(into.size()).toBe(6);
  });

  it('is for its owner alone, and leaves nothing beside it', async () => {
    const folder = testFolder();
    const path = join(folder, 'archive');
    await download(runtime, await estate(['p-256']), await createArchive(wanted(kind, path)), { wanted: all });
    expect(readdirSync(folder)).toEqual(['archive']);
    expect(statSync(path).mode & 0o077).toBe(0);
    for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
      if (/privkey|\.p12$/.test(name)) expect(statSync(join(folder, name)).mode & 0o777).toBe(0o600);
    }
  });

  it('never takes the place of what is there, and goes without a trace when it is stopped', async () => {
    const folder = testFolder();
    const path = join(folder, 'archive');
    const store = await estate(['p-256', 'p-384']);
    const stopping = new AbortController();
    const stopped = download(runtime, store, await createArchive(wanted(kind, path)), {
      wanted: all,
      signal: stopping.signal,
      downloaded: () => stopping.abort(),
    });
    await expect(stopped).rejects.toMatchObject({ code: 'interrupted' });
    expect(readdirSync(folder)).toEqual([]);

    await download(runtime, store, await createArchive(wanted(kind, path)), { wanted: all });
    const second = async () => download(runtime, store, await createArchive(wanted(kind, path)), { wanted: all });
    await expect(second()).rejects.toMatchObject({ code: 'archive_exists' });
    expect(readdirSync(folder)).toEqual(['archive']);
    expect(await entriesOf(path)).toHaveLength(2);
  });

  it('keeps certificates of one name apart', async () => {
    const path = join(testFolder(), 'archive');
    const from = memory();
    for (const name of ['shop', 'Shop', 'shop']) {
      const content = parseContent(await testCertificate());
      from.put({ content, metadata: { name, description: '', tags: [] } });
    }
    await download(runtime, from, await createArchive(wanted(kind, path)), { wanted: all });
    const into = memory('paris');
    const { entries } = await openArchive(path, unlocked);
    await (await planImport(runtime, into, entries, { wanted: all })).apply();
    expect(await holdingsOf(into)).toEqual(await holdingsOf(from));
  });

  it('tells which certificates it lacks, and which nobody could use', async () => {
    const path = join(testFolder(), 'archive');
    const store = await estate(['p-256', 'p-384', 'ed25519']);
    const { certificates } = await store.list({});
    store.corrupt(certificates.find(({ name }) => name === 'p-384')?.id ?? '');
    const other = await testCertificate();
    const content = parseContent({ ...(await testCertificate()), privateKey: other.privateKey });
    store.put({ content, metadata: { name: 'mixed', description: '', tags: [] } });
    expect(await download(runtime, store, await createArchive(wanted(kind, path)), { wanted: all })).toMatchObject({
      downloaded: 3,
      missing: [{ name: 'p-384', code: 'store_content_unreadable' }],
      suspect: [{ name: 'mixed', code: 'certificate_key_mismatch' }],
    });
    await expect(entriesOf(path)).rejects.toMatchObject({
      code: 'certificate_key_mismatch',
      message: expect.stringMatching(/^mixed(\.p12)? in the archive: /),
    });
  });
});

it.each(['age', 'pem', 'zip'] as const)(
  'a certificate that was kept without a key comes back without one (%s)',
  async (kind) => {
    const path = join(testFolder(), 'archive');
    const { privateKey: _, ...keyless } = await testCertificate();
    const from = memory();
    from.put({ content: parseContent(keyless), metadata: { name: 'ca', description: '', tags: [] } });
    await download(runtime, from, await createArchive(wanted(kind, path)), { wanted: all });
    const [entry] = await entriesOf(path);
    expect(entry?.content.privateKey).toBeUndefined();
  },
);

it('an old program gets PKCS#12 as it knows it, and it comes back in', async () => {
  const path = join(testFolder(), 'old');
  const from = await estate(['rsa-2048']);
  await download(runtime, from, await createArchive({ ...wanted('pkcs12', path), legacy: true }), { wanted: all });
  expect(await entriesOf(path)).toHaveLength(1);
});

it('age opens with a passphrase', async () => {
  const path = join(testFolder(), 'archive');
  const archive = await createArchive({ kind: 'age', path, passphrase: new Secret(passphrase.reveal()) });
  await download(runtime, await estate(['p-384']), archive, { wanted: all });
  expect(await entriesOf(path, { passphrase })).toHaveLength(1);
  const wrong = { passphrase: new Secret('incorrect horse') };
  await expect(entriesOf(path, wrong)).rejects.toMatchObject({ code: 'archive_passphrase_wrong' });
});

it('age opens with the identity of a recipient, and with no other', async () => {
  const path = join(testFolder(), 'archive');
  const [mine, theirs] = [await generateX25519Identity(), await generateX25519Identity()];
  const recipients = [await identityToRecipient(mine)];
  await download(runtime, await estate(['ed25519']), await createArchive({ kind: 'age', path, recipients }), {
    wanted: all,
  });
  expect(await entriesOf(path, { identities: [new Secret(mine)] })).toHaveLength(1);
  for (const unlock of [{ identities: [new Secret(theirs)] }, {}])
    await expect(entriesOf(path, unlock)).rejects.toMatchObject({
      code: 'archive_passphrase_wrong',
    });
});

describe('an import', () => {
  const archived = async () => {
    const path = join(testFolder(), 'archive');
    const from = await estate(['p-256', 'p-384', 'ed25519']);
    await download(runtime, from, await createArchive(wanted('pem', path)), { wanted: all });
    return { from, entries: (await openArchive(path, {})).entries };
  };
  const anotherOf = async (name: string) => {
    const into = memory('paris');
    const content = parseContent(await testCertificate());
    return { into, id: into.put({ content, metadata: { name, description: 'mine', tags: [] } }) };
  };

  it('leaves what the store holds of the same name, unless it may replace, and imports the others', async () => {
    const { entries } = await archived();
    const { into, id } = await anotherOf('ed25519');
    const plan = await planImport(runtime, into, entries, { wanted: all });
    expect(plan.lines.filter(({ action }) => action === 'conflict').map(({ name }) => name)).toEqual(['ed25519']);
    await plan.apply();
    expect(into.size()).toBe(3);
    expect(await into.read(id)).not.toMatchObject({ value: { metadata: { domains: ['ed25519.example.test'] } } });
    // It serves other domains, so that a person says it twice.
    const others = { wanted: all, replace: true, replaceOthers: true };
    await (await planImport(runtime, into, entries, others)).apply();
    expect(into.size()).toBe(3);
    const reading = await into.read(id);
    expect(reading).toMatchObject({ value: { metadata: { domains: ['ed25519.example.test'], description: 'mine' } } });
  });

  it('does not guess which of several to replace', async () => {
    const { entries } = await archived();
    const { into } = await anotherOf('ed25519');
    into.put({
      content: parseContent(await testCertificate()),
      metadata: { name: 'ed25519', description: '', tags: [] },
    });
    const plan = await planImport(runtime, into, entries, { wanted: all, replace: true });
    expect(plan.lines.filter(({ action }) => action === 'conflict').map(({ name }) => name)).toEqual(['ed25519']);
  });

  it('that was stopped goes on, and doubles nothing', async () => {
    const { from, entries } = await archived();
    const into = memory('paris');
    const stopping = new AbortController();
    const plan = await planImport(runtime, into, entries, {
      wanted: all,
      signal: stopping.signal,
      done: () => stopping.abort(),
    });
    await expect(plan.apply()).rejects.toMatchObject({ name: 'AbortError' });
    expect(into.size()).toBe(1);
    const rest = await planImport(runtime, into, entries, { wanted: all });
    expect(rest.lines.map(({ action }) => action).sort()).toEqual(['import', 'import', 'present']);
    await rest.apply();
    expect(await holdingsOf(into)).toEqual(await holdingsOf(from));
  });

  it('takes only what is wanted, and says nothing of the rest', async () => {
    const { entries } = await archived();
    const plan = await planImport(runtime, memory('paris'), entries, { wanted: (name) => name.startsWith('p-') });
    expect(plan.lines.map(({ name }) => name)).toEqual(['p-384']);
  });

  it('goes on past a certificate that the store refuses, and past one that it cannot show', async () => {
    const { entries } = await archived();
    const { into } = await anotherOf('p-384');
    const refusing: Store = {
      ...into,
      read: async () => ({ state: 'unreadable', error: new CodedError('store_content_unreadable', 'not PEM') }),
      async import(certificate, options) {
        if (certificate.metadata.name === 'ed25519') throw new CodedError('store_refused', 'no Ed25519 here');
        return into.import(certificate, options);
      },
    };
    const failed: [string, string][] = [];
    const plan = await planImport(runtime, refusing, entries, {
      wanted: all,
      failed: ({ name }, { code }) => void failed.push([name, code]),
    });
    expect(plan.refused).toMatchObject([{ name: 'p-384', error: { code: 'store_content_unreadable' } }]);
    await plan.apply();
    expect(failed).toEqual([['ed25519', 'store_refused']]);
    expect(into.size()).toBe(2);
  });

  it('does not try every certificate on a store that does not answer', async () => {
    const { entries } = await archived();
    let tried = 0;
    const away: Store = {
      ...memory('paris'),
      import: () => {
        tried += 1;
        return Promise.reject(new CodedError('store_unavailable', 'nobody is there'));
      },
    };
    const many = async function* () {
      for (const copy of ['a', 'b'])
        for await (const each of entries())
          yield 'content' in each ? { ...each, entry: copy + each.entry, name: copy + each.name } : each;
    };
    const plan = await planImport(runtime, away, many, { wanted: all });
    expect(plan.lines).toHaveLength(6);
    await expect(plan.apply()).rejects.toMatchObject({ code: 'store_unavailable' });
    expect(tried).toBe(3);
  });
});
