import { describe, expect, test } from 'vitest';
import { checkContentSize } from '../../../src/instance/certificates/certificate-row.ts';
import { certificateRows } from '../../../src/instance/certificates/certificate-rows.ts';
import { certificateUpkeep } from '../../../src/instance/upkeep/certificate-upkeep.ts';
import { silentLog as log } from '../../../src/log.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { certificateManagerStore } from '../../../src/services/certificate-manager/store.ts';
import { memoryTable } from '../../../src/table/memory.ts';
import type { Table } from '../../../src/table/table.ts';
import { testCertificate } from '../../support/certificates.ts';
import { startTestInstance } from '../../support/instance.ts';
import { testKeyring, testRootKey } from '../../support/keyring.ts';
import { instanceCrn, otherInstanceCrn } from '../../support/notifications.ts';
import { clientOf, dataOf, segment } from '../client.ts';

const hour = 3_600_000;
const facts = {
  domains: ['shop.example.test'],
  issuer: 'Test',
  serialNumber: '01',
  beginsOn: 0,
  expiresOn: Date.UTC(2040, 0, 1),
  algorithm: 'ecdsa-with-SHA256',
  keyAlgorithm: 'id-ecPublicKey 256 bit',
};
const partition = (what: string) => `instance.1/${instanceCrn}/${what}`;

/** The certificates of one instance, on a clock of the test. */
function room(table: Table = memoryTable(), crn = instanceCrn) {
  let time = Date.UTC(2030, 0, 1);
  const runtime = { ...systemRuntime, now: () => time };
  const rootKey = testRootKey();
  const sealer = testKeyring(crn, { table, rootKey, runtime });
  const its = { table, sealer, runtime, log, instanceCrn: crn };
  const rows = certificateRows(its);
  const upkeep = certificateUpkeep({ ...its, rows });
  const add = (name: string) =>
    rows.add({ name, description: '', ...facts }, { content: `leaf ${name}`, priv_key: `key ${name}` }, 100);
  const contents = async () => (await table.query({ partition: partition('content'), limit: 100 })).rows;
  return { table, rows, upkeep, sealer, rootKey, add, contents, pass: (ms: number) => (time += ms) };
}

describe('what lies on the table', () => {
  test('certificate, chain and key are sealed, and so is the signing key; API keys are nowhere', async () => {
    const table = memoryTable();
    const instance = await startTestInstance({ table });
    const api = await clientOf(instance);
    const issued = await testCertificate({ domains: ['shop.example.test'] });
    const imported = await api('POST', `/v3/${segment(instance.crn)}/certificates/import`, {
      name: 'shop',
      data: dataOf(issued),
    });
    expect(imported.status).toBe(200);
    const downloaded = await api('GET', `/v2/certificate/${segment(imported.body._id)}`);
    expect(downloaded.body.data).toEqual(dataOf(issued));
    await instance.close();

    const rows = (
      await Promise.all(
        ['certificate', 'content', 'expiry', 'counter', 'signing-key'].map((what) =>
          table.query({ partition: partition(what), limit: 100 }),
        ),
      )
    ).flatMap((page) => page.rows);
    const text = JSON.stringify(rows);
    expect(text).toContain('shop.example.test');
    expect(text).not.toContain('BEGIN');
    expect(text).not.toContain('PRIVATE');
    for (const line of issued.privateKey.reveal().trim().split('\n').slice(1, -1)) expect(text).not.toContain(line);
    expect(text).not.toContain(instance.apiKey);
    const [content] = rows.filter((row) => row.partition === partition('content'));
    const [header = ''] = String(content?.sealed).split('.');
    expect(JSON.parse(Buffer.from(header, 'base64url').toString())).toMatchObject({ alg: 'dir', enc: 'A256GCM' });
  });
});

describe('a sealed content that is not as it was sealed', () => {
  const damages: readonly [string, (own: string, other: string) => string][] = [
    ['cut', (own) => own.slice(0, -4)],
    ['changed in one bit', (own) => own.slice(0, -30) + (own.at(-30) === 'A' ? 'B' : 'A') + own.slice(-29)],
    ['that of another certificate', (_own, other) => other],
    ['clear text', () => JSON.stringify({ content: 'leaf', priv_key: 'key' })],
    ['empty', () => ''],
  ];
  test.each(damages)(
    '%s: unreadable, not absent; others and lists go on, and a reimport mends it',
    async (_, damage) => {
      const { table, rows, add, contents } = room();
      const [shop, other] = [await add('shop'), await add('other')];
      const sealed = new Map((await contents()).map((row) => [row.sort.split('/')[0], String(row.sealed)]));
      const damaged = damage(sealed.get(shop.id) ?? '', sealed.get(other.id) ?? '');
      const key = { partition: partition('content'), sort: `${shop.id}/${shop.content}` };
      await table.update(key, { set: { sealed: damaged } });
      await expect(rows.read(shop.id)).rejects.toMatchObject({ code: 'instance_content_unreadable' });
      expect((await rows.read(other.id))?.pem).toEqual({ content: 'leaf other', priv_key: 'key other' });
      expect(await rows.get(shop.id)).toMatchObject({ name: 'shop' });
      expect((await rows.entries({ limit: 10 })).entries).toHaveLength(2);
      await rows.replaceContent(shop.id, facts, { content: 'mended' }, () => {});
      expect((await rows.read(shop.id))?.pem).toEqual({ content: 'mended' });
    },
  );

  test('the row of another instance does not open, with the same data key neither', async () => {
    const table = memoryTable();
    const [ours, theirs] = [room(table), room(table, otherInstanceCrn)];
    const [shop] = [await ours.add('shop')];
    const foreign = await theirs.add('shop');
    const from = { partition: `instance.1/${otherInstanceCrn}/content`, sort: `${foreign.id}/${foreign.content}` };
    const moved = await table.get(from);
    const key = { partition: partition('content'), sort: `${shop.id}/${shop.content}` };
    await table.update(key, { set: { sealed: String(moved?.sealed) } });
    await expect(ours.rows.read(shop.id)).rejects.toMatchObject({ code: 'instance_content_unreadable' });
  });

  test('over HTTP it is a 500 of its own, and the list shows the certificate', async () => {
    const table = memoryTable();
    const instance = await startTestInstance({ table });
    const api = await clientOf(instance);
    const I = segment(instance.crn);
    const issued = await testCertificate({ domains: ['shop.example.test'] });
    const { body } = await api('POST', `/v3/${I}/certificates/import`, { name: 'shop', data: dataOf(issued) });
    const [row] = (await table.query({ partition: partition('content'), limit: 1 })).rows;
    await table.update({ partition: partition('content'), sort: row?.sort ?? '' }, { set: { sealed: 'x.y' } });
    const answer = await api('GET', `/v2/certificate/${segment(body._id)}`);
    expect([answer.status, answer.body.code]).toEqual([500, 'instance_content_unreadable']);
    expect((await api('GET', `/v3/${I}/certificates`)).body.certificates).toMatchObject([{ _id: body._id }]);
    // Whoever replicates takes it for a copy that is to be written anew, not for a service that is
    // down.
    const { url, crn, apiKey } = instance;
    const key = new Secret(apiKey);
    const store = certificateManagerStore({
      instance: crn,
      apiKey: key,
      endpoint: url,
      iamUrl: url,
      runtime: systemRuntime,
    });
    const reading = await store.read(body._id.split(':').at(-1) ?? '');
    expect(reading).toMatchObject({ state: 'unreadable', error: { code: 'store_content_unreadable' } });
    await instance.close();
  });
});

test('a row in a format of a later version is refused by its name', async () => {
  const { table, rows, add } = room();
  const shop = await add('shop');
  const content = { partition: partition('content'), sort: `${shop.id}/${shop.content}` };
  await table.update(content, { set: { format: 2 } });
  await expect(rows.read(shop.id)).rejects.toMatchObject({ code: 'table_row_unreadable', fields: { version: 2 } });
  await table.update({ partition: partition('certificate'), sort: shop.id }, { set: { format: 7 } });
  await expect(rows.get(shop.id)).rejects.toThrow('is in format 7; this program reads format 1');
  await table.update({ partition: partition('certificate'), sort: shop.id }, { remove: ['format'] });
  await expect(rows.get(shop.id)).rejects.toThrow('has no format');
});

describe('upkeep', () => {
  test('what a dead import has left behind is removed after an hour, and nothing else', async () => {
    const { table, rows, upkeep, add, contents, pass } = room();
    const shop = await add('shop');
    // As if the process had died before the row of the certificate was written.
    const dead = await add('dead');
    await table.delete({ partition: partition('certificate'), sort: dead.id });
    expect(await upkeep.tidy()).toBe(0);
    pass(hour + 1);
    expect(await upkeep.tidy()).toBe(1);
    expect((await contents()).map(({ sort }) => sort)).toEqual([`${shop.id}/${shop.content}`]);
    expect((await rows.entries({ limit: 10 })).entries).toHaveLength(1);
    expect((await rows.read(shop.id))?.pem.content).toBe('leaf shop');
    expect(await upkeep.tidy()).toBe(0);
  });

  test('a dead reimport leaves the content in force and the one before alone', async () => {
    const { table, rows, upkeep, sealer, add, contents, pass } = room();
    const { id } = await add('shop');
    await rows.replaceContent(id, facts, { content: 'second' }, () => {});
    const at = await rows.get(id);
    const dying: Table = { ...table, update: async () => Promise.reject(new Error('dead')) };
    const runtime = { ...systemRuntime, now: () => Date.UTC(2030, 0, 1) };
    const other = certificateRows({ table: dying, sealer, runtime, log, instanceCrn });
    await expect(other.replaceContent(id, facts, { content: 'third' }, () => {})).rejects.toThrow('dead');
    expect(await contents()).toHaveLength(3);
    pass(hour + 1);
    expect(await upkeep.tidy()).toBe(1);
    expect((await contents()).map(({ sort }) => sort)).toEqual([`${id}/${at?.previous}`, `${id}/${at?.content}`]);
    expect((await rows.read(id))?.pem.content).toBe('second');
  });

  test('check finds what does not open, and contents without a certificate; repair removes those', async () => {
    const { table, upkeep, add, contents, pass } = room();
    const [shop, dead] = [await add('shop'), await add('dead')];
    await table.delete({ partition: partition('certificate'), sort: dead.id });
    const broken = await add('broken');
    await table.update(
      { partition: partition('content'), sort: `${broken.id}/${broken.content}` },
      { set: { sealed: 'x' } },
    );
    pass(hour + 1);
    const report = await upkeep.check({ repair: false });
    expect(report).toMatchObject({ good: 1, orphans: 1 });
    expect(report.unreadable.map(({ id }) => id)).toEqual([broken.id]);
    expect(await contents()).toHaveLength(3);
    await upkeep.check({ repair: true });
    expect((await contents()).map(({ sort }) => sort.split('/')[0]).sort()).toEqual([shop.id, broken.id].sort());
  });

  test('after a rotation everything is sealed anew while it is read and written, and the old data key is needed no more', async () => {
    const { rows, upkeep, add, contents, sealer } = room();
    const names = Array.from({ length: 30 }, (_, index) => `c${index}`);
    const made = await Promise.all(names.map(add));
    const old = await sealer.currentDataKey();
    const fresh = await sealer.rotate();
    expect(fresh).not.toBe(old);
    let resealing = true;
    let reads = 0;
    const reader = (async () => {
      while (resealing) {
        for (const { id, name } of made.slice(0, 20)) {
          expect((await rows.read(id))?.pem.priv_key).toBe(`key ${name}`);
          reads += 1;
          await new Promise(setImmediate);
        }
      }
    })();
    const writer = Promise.all(
      made.slice(20).map(({ id }) => rows.replaceContent(id, facts, { content: 'renewed' }, () => {})),
    );
    const report = await upkeep.reseal();
    resealing = false;
    await Promise.all([reader, writer]);
    expect(reads).toBeGreaterThan(0);
    expect(report.unreadable).toEqual([]);
    expect((await upkeep.reseal()).resealed).toBeLessThanOrEqual(10);
    expect(new Set((await contents()).map(({ sealed }) => sealer.sealedWith(String(sealed))))).toEqual(
      new Set([fresh]),
    );
    for (const { id } of made.slice(20)) expect((await rows.read(id))?.pem).toEqual({ content: 'renewed' });
  });
});

test('what is taken as a content fits into a row when it is sealed, and one byte more is refused', async () => {
  const { rows, contents } = room();
  // As JSON: {"content":"…"}
  const most = ((400 * 1024 - 1000 - 4096) * 3) / 4 - '{"content":""}'.length;
  const largest = { content: 'x'.repeat(most) };
  expect(() => checkContentSize(largest)).not.toThrow();
  const { id } = await rows.add({ name: 'large', description: '', ...facts }, largest, 100);
  expect((await rows.read(id))?.pem).toEqual(largest);
  expect(JSON.stringify((await contents())[0]).length).toBeLessThan(400 * 1024);
  expect(() => checkContentSize({ content: 'x'.repeat(most + 1) })).toThrow('more than the 303378 that can be kept');
});
