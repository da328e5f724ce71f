import {
  cpSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  readlinkSync,
  realpathSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { CertificatePem } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { parseContent } from '../../../src/certificate/pem.ts';
import { limits } from '../../../src/limits.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { type DirectoryStoreOptions, directoryStore } from '../../../src/services/directory/store.ts';
import { markDigest } from '../../../src/store/mark.ts';
import { storeContract } from '../../store/contract.ts';
import { testCertificate } from '../../support/certificates.ts';
import { liveFolder } from '../../support/live-folder.ts';

storeContract(
  'directory',
  async () => {
    const path = mkdtempSync(join(tmpdir(), 'certstandby-directory-'));
    return {
      store: directoryStore({ id: 'contract', path, region: 'here', runtime: systemRuntime, pageSize: 3 }),
      unknownId: 'nowhere',
      damage: (id: string) => writeFileSync(join(path, id, 'certstandby.json'), ''),
      vacate: {
        // What a program leaves that carried half of the folder here.
        'half-made': (id: string) => {
          for (const name of ['current', 'versions']) rmSync(join(path, id, name), { recursive: true });
        },
        empty: (id: string) => rmSync(join(path, id, 'current')),
      },
      close: async () => rmSync(path, { recursive: true, force: true }),
    };
  },
  {
    lacks: {
      longWrites: 'what is written to a disk is there',
      uniqueNames: 'a folder has a name of its own',
      idsAreReferredTo: 'who reads a folder is told where, and may be told anew',
      refuses: 'it takes whatever certificate is given to it',
      same: 'files are as they were written',
      lag: 'a file is read as it was written',
      silentListings: 'a listing reads the files',
      deleted: 'a folder that is removed is gone',
      store_content_refused: 'a file holds anything',
      store_quota_used_up: 'a disk is full, and that is store_full',
      store_held: 'a file that may not be written is a matter of rights: store_not_writable, store_unauthorized',
      store_in_use: 'a file is removed whoever reads it',
    },
  },
);

let folder: string;
let now = 0;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-directory-'));
  now = Date.now() + 60_000;
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const make = (path: string, options: Partial<DirectoryStoreOptions> = {}) =>
  directoryStore({ id: 'web-1', path, region: 'here', runtime: { ...systemRuntime, now: () => now }, ...options });
const described = { name: 'Shop, the *.one', description: '', tags: [] };
const mark = { store: 'directory:web-1', certificate: 'shop' };
const prints = (pem: CertificatePem) => fingerprintOf(parseContent(pem));

describe('a folder that certbot keeps', () => {
  it('is read as it is, through its links; the README is no certificate', async () => {
    const certbot = liveFolder(folder);
    const pem = await testCertificate({ domains: ['shop.example.test'] });
    certbot.renew('shop.example.test', pem);
    const store = make(certbot.live);
    const { certificates } = await store.list({});
    expect(certificates).toMatchObject([
      { id: 'shop.example.test', name: 'shop.example.test', description: '', tags: [] },
    ]);
    expect(certificates[0]?.domains).toEqual(['shop.example.test']);
    const reading = await store.read('shop.example.test');
    expect(reading.state === 'present' && fingerprintOf(reading.value.content)).toBe(prints(pem));
  });

  it('has another revision after each renewal', async () => {
    const certbot = liveFolder(folder);
    const revision = async () => (await make(certbot.live).list({})).certificates[0]?.revision;
    certbot.renew('shop', await testCertificate());
    const before = await revision();
    expect(await revision()).toBe(before);
    certbot.renew('shop', await testCertificate());
    expect(await revision()).not.toBe(before);
  });

  it('is not read between two files of one change, nor for a while after the last', async () => {
    const certbot = liveFolder(folder);
    const [old, renewed] = [await testCertificate(), await testCertificate()];
    certbot.renew('shop', old);
    const store = make(certbot.live, { quietMs: 5_000 });
    expect((await store.read('shop')).state).toBe('present');
    const number = certbot.write('shop', renewed);
    for (const kind of ['cert', 'chain', 'fullchain', 'privkey'] as const) {
      certbot.link('shop', kind, number);
      now = Date.now() + 1_000;
      const between = await store.read('shop');
      expect(between).toMatchObject({ state: 'unreadable', error: { code: 'store_unavailable' } });
      if (between.state === 'unreadable') expect(between.error.fields.retryAfterMs).toBeLessThanOrEqual(5_000);
    }
    now = Date.now() + 6_000;
    const after = await store.read('shop');
    expect(after.state === 'present' && fingerprintOf(after.value.content)).toBe(prints(renewed));
  });

  it('is neither written to nor removed', async () => {
    const certbot = liveFolder(folder);
    certbot.renew('shop', await testCertificate());
    const store = make(certbot.live);
    const content = parseContent(await testCertificate());
    await expect(store.reimport('shop', content)).rejects.toMatchObject({ code: 'store_refused' });
    await expect(store.updateMetadata('shop', described, mark)).rejects.toMatchObject({ code: 'store_refused' });
    await expect(store.delete('shop')).rejects.toMatchObject({ code: 'store_refused' });
    expect(readdirSync(join(certbot.live, 'shop')).sort()).toEqual([
      'cert.pem',
      'chain.pem',
      'fullchain.pem',
      'privkey.pem',
    ]);
  });
});

describe('a folder of another layout', () => {
  it.each([
    ['tls.crt and tls.key, as Kubernetes mounts a secret', 'tls.crt', 'tls.key'],
    ['fullchain.pem and privkey.pem', 'fullchain.pem', 'privkey.pem'],
  ])('may have %s', async (_, certificate, key) => {
    const pem = await testCertificate();
    mkdirSync(join(folder, 'shop'));
    writeFileSync(join(folder, 'shop', certificate), pem.certificate + (pem.intermediate ?? ''));
    writeFileSync(join(folder, 'shop', key), pem.privateKey?.reveal() ?? '');
    const reading = await make(folder).read('shop');
    expect(reading.state === 'present' && fingerprintOf(reading.value.content)).toBe(prints(pem));
  });

  it('is listed even where it cannot be understood, and a read says what is wrong', async () => {
    mkdirSync(join(folder, 'broken'));
    writeFileSync(join(folder, 'broken', 'fullchain.pem'), 'no certificate\n');
    mkdirSync(join(folder, 'empty'));
    mkdirSync(join(folder, 'huge'));
    writeFileSync(join(folder, 'huge', 'fullchain.pem'), Buffer.alloc(limits.storeFileBytes + 1));
    const store = make(folder);
    const { certificates, unreadable, passedOver } = await store.list({});
    expect(certificates).toEqual([]);
    expect(unreadable?.map(({ id }) => id)).toEqual(['broken', 'huge']);
    expect(passedOver).toEqual([{ id: 'empty', place: join(folder, 'empty'), reason: 'an empty folder' }]);
    expect(await store.read('broken')).toMatchObject({
      state: 'unreadable',
      error: { code: 'store_content_unreadable' },
    });
    expect(await store.read('huge')).toMatchObject({ state: 'unreadable', error: { code: 'file_too_large' } });
    // Nobody said that what was there is gone: the place is occupied.
    expect(await store.read('empty')).toMatchObject({ state: 'unreadable', error: { code: 'store_layout_unknown' } });
  });
});

describe('a folder as a backup', () => {
  it.each([
    ['CON', /^con_-/],
    ['nul.txt', /^nul_\.txt-/],
    ['-rf', /^rf-/],
    ['..', /^certificate-/],
    ['a\u001b[31m\u202eb', /^a-31m-b-/],
  ])('gives a copy of %j a folder that every file system takes', async (name, near) => {
    const content = parseContent(await testCertificate());
    const { id } = await make(folder).import({
      content,
      metadata: { ...described, name },
      mark: { ...mark, certificate: name },
    });
    expect(id).toMatch(near);
    expect(await make(folder).readMetadata(id)).toMatchObject({ state: 'present', value: { name } });
  });

  it('holds a copy of each of two primaries with equal ids and names, whoever comes first', async () => {
    const store = make(folder);
    const contents = [parseContent(await testCertificate()), parseContent(await testCertificate())] as const;
    const marks = [mark, { ...mark, store: 'directory:web-2' }] as const;
    const ids: string[] = [];
    for (const [index, content] of contents.entries()) {
      const { id } = await store.import({
        content,
        metadata: described,
        mark: marks[index] ?? mark,
        token: `${index}`,
      });
      ids.push(id);
    }
    expect(new Set(ids).size).toBe(2);
    for (const [index, id] of ids.entries()) {
      const found = await store.read(id);
      expect(found).toMatchObject({ state: 'present', value: { metadata: { mark: marks[index] } } });
      if (found.state === 'present')
        expect(fingerprintOf(found.value.content)).toBe(fingerprintOf(contents[index] ?? contents[0]));
    }
  });

  it('imports anew beside a copy of its own place that a restore gave another mark', async () => {
    const store = make(folder);
    const content = parseContent(await testCertificate());
    const { id } = await store.import({ content, metadata: described, mark, token: 'one' });
    const other = { store: 'directory:home', certificate: 'shop' };
    await store.updateMetadata(id, described, other);
    const again = await store.import({ content, metadata: described, mark, token: 'one' });
    expect(again.id).not.toBe(id);
    expect(again.id.startsWith(`${id}-`)).toBe(true);
    expect(await store.findByMark?.(mark)).toMatchObject([{ id: again.id }]);
    expect(await store.findByMark?.(other)).toMatchObject([{ id }]);
  });

  it('gives two who import at the same moment one copy, or tells one of them to look again', async () => {
    // With a clock that is ahead, one would take what the other is writing for something that was
    // left behind.
    const stores = [make(folder, { runtime: systemRuntime }), make(folder, { runtime: systemRuntime })];
    const content = parseContent(await testCertificate());
    const entry = { content, metadata: described, mark, token: 'one' };
    const outcomes = await Promise.allSettled(stores.map((store) => store.import(entry)));
    for (const outcome of outcomes)
      if (outcome.status === 'rejected') expect(outcome.reason).toMatchObject({ code: 'store_conflict' });
    expect(await make(folder).findByMark?.(mark)).toHaveLength(1);
  });

  it('gives a copy whose readers look for its name that folder, and no other where it is taken', async () => {
    const store = make(folder);
    const content = parseContent(await testCertificate());
    const entry = { content, metadata: { ...described, name: 'Shop & Co' }, mark, token: 'one', exactName: true };
    expect((await store.import(entry)).id).toBe('Shop & Co');
    expect((await store.import(entry)).id).toBe('Shop & Co');
    const theirs = { ...entry, mark: { ...mark, certificate: 'other' } };
    await expect(store.import(theirs)).rejects.toMatchObject({
      code: 'store_conflict',
      fields: { certificate: 'Shop & Co' },
    });
    mkdirSync(join(folder, 'foreign'));
    const foreign = { ...entry, metadata: { ...described, name: 'foreign' } };
    await expect(store.import(foreign)).rejects.toMatchObject({ code: 'store_conflict' });
    expect(readdirSync(join(folder, 'foreign'))).toEqual([]);
    expect(readdirSync(folder).sort()).toEqual(['Shop & Co', 'foreign']);
  });

  it.each(['a/b', '.hidden', '..', '', 'x'.repeat(256)])(
    'has no folder of the exact name %j, and says so',
    async (name) => {
      const content = parseContent(await testCertificate());
      const entry = { content, metadata: { ...described, name }, mark, token: 'one', exactName: true };
      await expect(make(folder).import(entry)).rejects.toMatchObject({ code: 'store_name_unfit' });
      expect(readdirSync(folder)).toEqual([]);
    },
  );

  it('holds each copy as certbot lays it out, keys for their owner alone, behind one link', async () => {
    const pem = await testCertificate();
    const { id } = await make(folder).import({ content: parseContent(pem), metadata: described, mark });
    expect(id).toBe(`shop-${markDigest(mark).slice(0, 16)}`);
    const at = (name: string) => join(folder, id, 'current', name);
    expect(readlinkSync(join(folder, id, 'current'))).toBe('versions/1');
    expect(readFileSync(at('cert.pem'), 'utf8')).toBe(pem.certificate);
    expect(readFileSync(at('fullchain.pem'), 'utf8')).toBe(pem.certificate + (pem.intermediate ?? ''));
    expect(readFileSync(at('privkey.pem'), 'utf8')).toBe(pem.privateKey?.reveal());
    expect(statSync(at('privkey.pem')).mode & 0o777).toBe(0o600);
    expect(statSync(join(folder, id, 'versions', '1')).mode & 0o777).toBe(0o700);
    expect(JSON.parse(readFileSync(join(folder, id, 'certstandby.json'), 'utf8'))).toMatchObject({
      format: 1,
      name: 'Shop, the *.one',
      mark: 'certstandby:1 directory:web-1 shop',
    });
  });

  it('keeps the versions before the one in force, as many as asked', async () => {
    const store = make(folder, { keepVersions: 2 });
    const pems = [];
    for (let count = 0; count < 5; count += 1) pems.push(await testCertificate());
    const contents = pems.map((pem) => parseContent(pem));
    const { id } = await store.import({ content: contents[0] as never, metadata: described });
    for (const content of contents.slice(1)) await store.reimport(id, content);
    expect(readdirSync(join(folder, id, 'versions')).sort()).toEqual(['3', '4', '5']);
    expect(readFileSync(join(folder, id, 'versions', '4', 'cert.pem'), 'utf8')).toBe(pems[3]?.certificate);
    expect(readdirSync(join(folder, id)).sort()).toEqual(['certstandby.json', 'current', 'versions']);
  });

  it('is rid of what a killed process left, keys and all, once nobody can be writing it', async () => {
    const content = parseContent(await testCertificate());
    const { id } = await make(folder).import({ content, metadata: described });
    const left = ['.new-dead', '.gone-dead', '.new-alive', `${id}/versions/.new-dead`, `${id}/versions/.new-alive`];
    for (const name of left) {
      mkdirSync(join(folder, name));
      writeFileSync(join(folder, name, 'privkey.pem'), 'a key');
      const age = name.endsWith('dead') ? 31_000 : 29_000;
      utimesSync(join(folder, name), new Date(now - age), new Date(now - age));
    }
    const store = make(folder);
    await store.import({ content, metadata: described });
    await store.reimport(id, content);
    const names = readdirSync(folder, { recursive: true, encoding: 'utf8' });
    expect(names.filter((name) => /dead$|alive$/.test(name)).sort()).toEqual([
      '.new-alive',
      `${id}/versions/.new-alive`,
    ]);
  });

  it('is read whole at every moment of a change', async () => {
    const store = make(folder);
    const contents = [parseContent(await testCertificate()), parseContent(await testCertificate())] as const;
    const { id } = await store.import({ content: contents[0], metadata: described });
    const known = contents.map(fingerprintOf);
    let writing = true;
    const writes = (async () => {
      for (let count = 0; count < 20; count += 1) await store.reimport(id, contents[count % 2 === 0 ? 1 : 0]);
      writing = false;
    })();
    while (writing) {
      const reading = await store.read(id);
      if (reading.state === 'present') expect(known).toContain(fingerprintOf(reading.value.content));
      else expect(reading).toMatchObject({ state: 'unreadable', error: { code: 'store_unavailable' } });
    }
    await writes;
  });

  it('is not written to where somebody has put something else in the place of the link', async () => {
    const store = make(folder);
    const content = parseContent(await testCertificate());
    const { id } = await store.import({ content, metadata: described });
    rmSync(join(folder, id, 'current'));
    mkdirSync(join(folder, id, 'current'));
    writeFileSync(join(folder, id, 'current', 'in the way'), '');
    await expect(store.reimport(id, content)).rejects.toMatchObject({ code: 'store_refused' });
    expect(readdirSync(join(folder, id, 'versions'))).toEqual(['1']);
  });

  it('is read, written and removed where a program that follows links has carried it', async () => {
    const store = make(folder);
    const [first, second] = [parseContent(await testCertificate()), parseContent(await testCertificate())];
    const { id } = await store.import({ content: first, metadata: described, mark });
    const carried = join(folder, 'carried');
    // As `cp -rL` does.
    const inForce = realpathSync(join(folder, id, 'current'));
    cpSync(inForce, join(carried, id, 'current'), { recursive: true });
    cpSync(join(folder, id, 'versions'), join(carried, id, 'versions'), { recursive: true });
    cpSync(join(folder, id, 'certstandby.json'), join(carried, id, 'certstandby.json'));
    const there = make(carried);
    expect(lstatSync(join(carried, id, 'current')).isDirectory()).toBe(true);
    expect(await there.read(id)).toMatchObject({ state: 'present', value: { metadata: { mark } } });
    expect((await there.list({})).certificates.map((one) => one.id)).toEqual([id]);

    await there.reimport(id, second);
    expect(lstatSync(join(carried, id, 'current')).isSymbolicLink()).toBe(true);
    const reading = await there.read(id);
    expect(reading.state === 'present' && fingerprintOf(reading.value.content)).toBe(fingerprintOf(second));
    await there.delete(id);
    expect(await there.read(id)).toEqual({ state: 'absent' });
  });

  it('refuses what another version of this program has written, by name', async () => {
    const store = make(folder);
    const { id } = await store.import({ content: parseContent(await testCertificate()), metadata: described, mark });
    writeFileSync(join(folder, id, 'certstandby.json'), '{"format":2}');
    const reading = await store.readMetadata(id);
    expect(reading).toMatchObject({ state: 'unreadable', error: { code: 'store_version_unknown' } });
    if (reading.state === 'unreadable') expect(reading.error.message).toContain('certstandby.json is not of format 1');
    const unclear: unknown[] = [];
    expect(await store.findByMark?.(mark, { unreadable: (copy) => unclear.push(copy) })).toEqual([]);
    expect(unclear).toMatchObject([{ id, ours: true, facts: { domains: ['shop.example.test'] } }]);
    expect((await store.list({})).unreadable).toMatchObject([{ id, error: { code: 'store_version_unknown' } }]);
    // Nothing of it is written over by a version that does not know what it says.
    await store.reimport(id, parseContent(await testCertificate()));
    expect(readFileSync(join(folder, id, 'certstandby.json'), 'utf8')).toBe('{"format":2}');
  });
});

it.each(['../outside', '..', '.', '.hidden', 'a/b', '', 'a\0b', '/etc'])('knows no certificate %j', async (id) => {
  const inside = join(folder, 'store');
  mkdirSync(inside);
  mkdirSync(join(folder, 'outside'));
  writeFileSync(join(folder, 'outside', 'fullchain.pem'), (await testCertificate()).certificate);
  const store = make(inside);
  expect(await store.read(id)).toEqual({ state: 'absent' });
  await store.delete(id);
  await expect(store.reimport(id, parseContent(await testCertificate()))).rejects.toMatchObject({ code: 'store_gone' });
  expect(readdirSync(join(folder, 'outside'))).toEqual(['fullchain.pem']);
});

it('tells a folder that is not there from one that is empty', async () => {
  const gone = make(join(folder, 'not-mounted'));
  expect(await gone.read('shop')).toMatchObject({ state: 'unreadable', error: { code: 'store_root_unusable' } });
  await expect(gone.list({})).rejects.toThrow(
    /^the folder .+not-mounted is not there: mount it, or make it \(mkdir -m 700/,
  );
  const content = parseContent(await testCertificate());
  await expect(gone.import({ content, metadata: described })).rejects.toMatchObject({ code: 'store_root_unusable' });
  expect(readdirSync(folder)).toEqual([]);
  expect(await make(folder).list({})).toEqual({ certificates: [], unreadable: [], passedOver: [] });
});

describe('watched', () => {
  it('tells of a certificate once after all files of a change, of a new one, and of one that is gone', async () => {
    const certbot = liveFolder(folder);
    certbot.renew('shop', await testCertificate());
    const told: string[] = [];
    const watch = make(certbot.live, { quietMs: 1_000 }).watch?.((id) => told.push(id));
    try {
      certbot.renew('shop', await testCertificate());
      await expect.poll(() => told).toEqual(['shop']);
      certbot.renew('api', await testCertificate());
      await expect.poll(() => told).toEqual(['shop', 'api']);
      certbot.remove('shop');
      await expect.poll(() => told).toEqual(['shop', 'api', 'shop']);
      symlinkSync('nowhere', join(certbot.live, '.hidden'));
    } finally {
      watch?.close();
    }
  });
});
