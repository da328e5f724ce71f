import {
  chmodSync,
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs';
import type { Server } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { parseContent } from '../../../src/certificate/pem.ts';
import { asCodedError } from '../../../src/errors.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { directoryStore } from '../../../src/services/directory/store.ts';
import { firstDer, tampered } from '../../certificate/tamper.ts';
import { asAnotherUser } from '../../support/another-user.ts';
import { testCertificate } from '../../support/certificates.ts';
import { badElements, putCertificate } from '../../support/folder-soup.ts';
import { liveFolder } from '../../support/live-folder.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-unreadable-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const make = (path = folder) =>
  directoryStore({ id: 'web-1', path, region: 'here', runtime: systemRuntime, quietMs: 0, pageSize: 3 });
const described = { name: 'shop', description: 'the shop', tags: ['eu'] };
const markOf = (certificate: string) => ({ store: 'directory:primary', certificate });

async function listed(store = make()) {
  const [ids, unreadable, passedOver]: string[][] = [[], [], []];
  let cursor: string | undefined;
  do {
    const page = await store.list(cursor === undefined ? {} : { cursor });
    ids?.push(...page.certificates.map(({ id }) => id));
    unreadable?.push(...(page.unreadable ?? []).map(({ error }) => error.message));
    passedOver?.push(...(page.passedOver ?? []).map(({ place }) => place));
    cursor = page.cursor;
  } while (cursor !== undefined);
  return { ids, unreadable, passedOver };
}

describe('an element that cannot be read', () => {
  it('keeps none of the others from being listed, and is named by its path, whatever its kind', async () => {
    const servers: Server[] = [];
    const good = await testCertificate();
    const places: string[] = [];
    for (const name of ['a', 'm', 'z']) putCertificate(join(folder, name), good);
    // What only its key shows is found by a read.
    for (const [kind, put] of await badElements()) {
      if (kind === 'an encrypted key') continue;
      places.push(await put(folder, `bad ${places.length}`, servers));
    }
    const { ids, unreadable } = await listed();
    for (const server of servers) server.close();
    expect(ids).toEqual(['a', 'm', 'z']);
    expect(unreadable).toHaveLength(places.length);
    expect(places.filter((place) => !unreadable?.some((message) => message.includes(place)))).toEqual([]);
  });

  it('is also a folder with a link of the name of a certificate that leads nowhere, whatever the layout', async () => {
    mkdirSync(join(folder, 'a'));
    symlinkSync('../../archive/site.der', join(folder, 'a', 'site.der'));
    mkdirSync(join(folder, 'b'));
    writeFileSync(join(folder, 'b', 'privkey.pem'), (await testCertificate()).privateKey?.reveal() ?? '');
    expect((await listed()).unreadable).toEqual([
      expect.stringContaining(join(folder, 'a', 'site.der')),
      expect.stringContaining('no certificate that belongs to it is found'),
    ]);
  });

  it('is also a certificate whose dates are none, and it ends no listing', async () => {
    const good = await testCertificate();
    putCertificate(join(folder, 'a'), good);
    // The first UTCTime, and with a month that is none.
    const date = /\d{12}Z/.exec(firstDer(good.certificate).toString('latin1'))?.[0] ?? '';
    const noDate = `${date.slice(0, 2)}99${date.slice(4)}`;
    putCertificate(join(folder, 'b'), { ...good, certificate: tampered(good.certificate, date, noDate) });
    putCertificate(join(folder, 'c'), good);
    expect(await listed()).toMatchObject({ ids: ['a', 'c'], unreadable: [expect.stringContaining(join(folder, 'b'))] });
    expect(await make().read('b')).toMatchObject({ state: 'unreadable', error: { code: 'store_content_unreadable' } });
  });

  it('is unreadable in a read too, and never absent', async () => {
    const servers: Server[] = [];
    for (const [kind, put] of await badElements()) {
      const place = await put(folder, 'bad', servers);
      const reading = await make().read('bad');
      if (kind === 'a name that is not UTF-8') expect(reading.state).toBe('absent');
      else {
        expect([kind, reading.state]).toEqual([kind, 'unreadable']);
        if (reading.state === 'unreadable') expect(reading.error.message).toContain(place);
      }
      for (const server of servers.splice(0)) server.close();
      rmSync(folder, { recursive: true });
      mkdirSync(folder);
    }
  });

  it('is told of by certbot’s links into an archive that is lost: no certificate is gone', async () => {
    const certbot = liveFolder(folder);
    for (const name of ['a', 'b']) certbot.renew(name, await testCertificate());
    const store = make(certbot.live);
    renameSync(join(folder, 'archive', 'a'), join(folder, 'archive', 'unmounted'));
    const reading = await store.read('a');
    expect(reading).toMatchObject({ state: 'unreadable', error: { code: 'file_link_dangling' }, name: 'a' });
    expect((await listed(store)).ids).toEqual(['b']);
    renameSync(join(folder, 'archive', 'unmounted'), join(folder, 'archive', 'a'));
    expect((await store.read('a')).state).toBe('present');
    // The folder itself is gone, and the one above it is there to say so.
    certbot.remove('a');
    expect(await store.read('a')).toEqual({ state: 'absent' });
  });

  it('of another user is named with what bars the way', async () => {
    const root = join(folder, 'root');
    for (const name of ['closed', 'good', 'secret']) putCertificate(join(root, name), await testCertificate());
    chmodSync(join(root, 'secret', 'fullchain.pem'), 0);
    chmodSync(join(root, 'closed'), 0);
    const { ids, unreadable } = await asAnotherUser(folder, () => listed(make(root)));
    expect(ids).toEqual(['good']);
    expect(unreadable?.[0]).toMatch(/closed.*: user \d+ may not/);
    expect(unreadable?.[1]).toMatch(/secret\/fullchain\.pem: user \d+ may not read it/);
    chmodSync(join(root, 'closed'), 0o700);
  });

  it('is told of as nothing where the folder of all is not there, or is no folder', async () => {
    putCertificate(join(folder, 'root', 'shop'), await testCertificate());
    const store = make(join(folder, 'root'));
    renameSync(join(folder, 'root'), join(folder, 'elsewhere'));
    const unreadable = { state: 'unreadable', error: { code: 'store_root_unusable' } };
    expect(await store.read('shop')).toMatchObject(unreadable);
    writeFileSync(join(folder, 'root'), '');
    expect(await store.read('shop')).toMatchObject(unreadable);
    await expect(store.list({})).rejects.toMatchObject({ code: 'store_root_unusable' });
    rmSync(join(folder, 'root'));
    symlinkSync('nowhere', join(folder, 'root'));
    expect(await store.read('shop')).toMatchObject(unreadable);
  });
});

it.each([
  'web shop',
  'münchen',
  'api+v2',
  '-rf',
  '50% "off"',
  'two\nlines',
  '東京',
  '*.example.test',
  'a'.repeat(255),
  'CON',
  '\u001b[31m',
])('every name that a file system takes is an id: %j', async (id) => {
  putCertificate(join(folder, id), await testCertificate());
  const store = make();
  expect((await listed(store)).ids).toEqual([id]);
  expect(await store.read(id)).toMatchObject({ state: 'present', value: { metadata: { id, name: id } } });
});

describe('a copy whose certstandby.json is damaged', () => {
  const damages = [
    ['empty', (file: string) => writeFileSync(file, '')],
    ['cut off', (file: string) => writeFileSync(file, '{"format": 1, "na')],
    ['something else', (file: string) => writeFileSync(file, '[]')],
    [
      'a folder',
      (file: string) => {
        rmSync(file);
        mkdirSync(join(file, 'x'), { recursive: true });
      },
    ],
    [
      'a link that leads nowhere',
      (file: string) => {
        rmSync(file);
        symlinkSync('nowhere', file);
      },
    ],
  ] as const;

  it.each(damages)('(%s) is unreadable alone, and is told of to who looks for a mark', async (_, damage) => {
    const store = make();
    const content = parseContent(await testCertificate());
    const { id } = await store.import({ content, metadata: described, mark: markOf('a') });
    const other = await store.import({ content, metadata: described, mark: markOf('b') });
    damage(join(folder, id, 'certstandby.json'));
    expect(await store.read(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_content_unreadable' } });
    const unclear: unknown[] = [];
    const found = await store.findByMark?.(markOf('b'), { unreadable: (copy) => unclear.push(copy) });
    expect(found?.map((copy) => copy.id)).toEqual([other.id]);
    expect(unclear).toMatchObject([{ id, ours: true, facts: { domains: ['shop.example.test'] } }]);
    expect((await listed(store)).ids).toEqual([other.id]);
  });

  it.each(damages)('(%s) is whole again when it is written anew and described', async (_, damage) => {
    const store = make();
    const content = parseContent(await testCertificate());
    const { id } = await store.import({ content, metadata: described, mark: markOf('a') });
    damage(join(folder, id, 'certstandby.json'));
    const { metadata } = await store.reimport(id, content);
    expect(metadata?.id).toBe(id);
    await store.updateMetadata(id, described, markOf('a'));
    const reading = await store.readMetadata(id);
    expect(reading).toMatchObject({ state: 'present', value: { ...described, mark: markOf('a') } });
  });

  it('and content that cannot be understood is a copy all the same, by its mark', async () => {
    const store = make();
    const { id } = await store.import({
      content: parseContent(await testCertificate()),
      metadata: described,
      mark: markOf('a'),
    });
    writeFileSync(join(folder, id, 'current', 'fullchain.pem'), 'no certificate');
    expect(await store.findByMark?.(markOf('a'))).toMatchObject([{ id, mark: markOf('a') }]);
    expect(await store.readMetadata(id)).toMatchObject({ state: 'present', value: { mark: markOf('a') } });
    expect((await store.list({})).unreadable).toMatchObject([{ id, mark: markOf('a'), ours: true }]);
    for (const name of readdirSync(join(folder, id, 'current'))) rmSync(join(folder, id, 'current', name));
    expect(await store.read(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_content_unreadable' } });
  });
});

describe('whether an import is possible', () => {
  it('is found out by doing what an import does, and nothing of that stays', async () => {
    const store = make();
    expect(await store.diagnosis?.mayImport()).toBe(true);
    expect(readdirSync(folder)).toEqual([]);
  });

  it('leaves what a killed trial left until it is old, and removes it then', async () => {
    for (const name of ['.new-old', '.gone-old', '.new-young']) mkdirSync(join(folder, name));
    const long = new Date(Date.now() - 3_600_000);
    for (const name of ['.new-old', '.gone-old']) utimesSync(join(folder, name), long, long);
    await make().diagnosis?.mayImport();
    expect(readdirSync(folder)).toEqual(['.new-young']);
  });

  it('is denied with the path where the folder may not be written to', async () => {
    chmodSync(folder, 0o555);
    const thrown = await asAnotherUser(folder, async () =>
      make()
        .diagnosis?.mayImport()
        .then(() => undefined, asCodedError),
    );
    expect(thrown?.code).toBe('store_not_writable');
    expect(thrown?.message).toContain(folder);
    chmodSync(folder, 0o700);
    if (process.geteuid?.() !== 0) return;
    // Root may do everything, except where there is nothing to be written to.
    const proc = await make('/proc/self')
      .diagnosis?.mayImport()
      .then(() => undefined, asCodedError);
    expect(proc?.message).toContain('/proc/self');
  });
});

describe('watched', () => {
  const replaced: readonly (readonly [string, (live: string) => void])[] = [
    [
      'another one moved into its place',
      (live) => {
        renameSync(live, `${live}.old`);
        cpSync(`${live}.old`, live, { recursive: true });
      },
    ],
    [
      'it was removed and made again',
      (live) => {
        cpSync(live, `${live}.kept`, { recursive: true });
        rmSync(live, { recursive: true });
        cpSync(`${live}.kept`, live, { recursive: true });
      },
    ],
  ];

  it.each(replaced)('a folder of all is watched on when %s', async (_, replace) => {
    const live = join(folder, 'live');
    putCertificate(join(live, 'shop'), await testCertificate());
    const changed: string[] = [];
    const watch = make(live).watch?.((id) => changed.push(id));
    try {
      replace(live);
      await expect.poll(() => changed).toContain('shop');
      changed.length = 0;
      putCertificate(join(live, 'shop'), await testCertificate());
      await expect.poll(() => changed).toContain('shop');
    } finally {
      watch?.close();
    }
  });

  it('a folder behind a link is watched on when the link is switched, and what it lost is told of', async () => {
    for (const name of ['one', 'two']) putCertificate(join(folder, name, 'shop'), await testCertificate());
    putCertificate(join(folder, 'one', 'lost'), await testCertificate());
    symlinkSync('one', join(folder, 'live'));
    const changed: string[] = [];
    const watch = make(join(folder, 'live')).watch?.((id) => changed.push(id));
    try {
      symlinkSync('two', join(folder, 'fresh'));
      renameSync(join(folder, 'fresh'), join(folder, 'live'));
      await expect.poll(() => changed.toSorted()).toEqual(['lost', 'shop']);
    } finally {
      watch?.close();
    }
  });

  it('a folder without a certificate is told of once it has one; files that are none never', async () => {
    const changed: string[] = [];
    const watch = make().watch?.((id) => changed.push(id));
    try {
      mkdirSync(join(folder, 'shop'));
      writeFileSync(join(folder, 'README'), 'what this is');
      putCertificate(join(folder, 'other'), await testCertificate());
      await expect.poll(() => changed).toContain('other');
      expect(new Set(changed)).toEqual(new Set(['other']));
      putCertificate(join(folder, 'shop'), await testCertificate());
      await expect.poll(() => changed).toContain('shop');
    } finally {
      watch?.close();
    }
  });
});

it('what stands in place of certstandby.json and is a folder is set aside, not removed', async () => {
  const store = make();
  const { id } = await store.import({ content: parseContent(await testCertificate()), metadata: described });
  const file = join(folder, id, 'certstandby.json');
  rmSync(file);
  mkdirSync(file);
  writeFileSync(join(file, 'mine'), '');
  await store.updateMetadata(id, described, undefined);
  expect(JSON.parse(readFileSync(file, 'utf8'))).toMatchObject({ name: 'shop' });
  const [aside = ''] = readdirSync(join(folder, id)).filter((name) => name.startsWith('certstandby.json.'));
  expect(existsSync(join(folder, id, aside, 'mine'))).toBe(true);
});
