import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../../src/certificate/fingerprint.ts';
import { parseContent } from '../../../src/certificate/pem.ts';
import { asCodedError } from '../../../src/errors.ts';
import type { HttpSend } from '../../../src/http/client.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { markDigest } from '../../../src/store/mark.ts';
import type { Store } from '../../../src/store/store.ts';
import { storeContract } from '../../store/contract.ts';
import { testCertificate, validTo } from '../../support/certificates.ts';
import { apiKeyOf, startTestInstance, type TestInstance } from '../../support/instance.ts';
import { startLaggingProxy } from '../../support/lagging-proxy.ts';
import { smallPages, storeOf } from './instance.ts';

/** More text than the service takes of one certificate. */
const refusedContent = async () => {
  const names = Array.from({ length: 1_480 }, (_, n) => `${'a'.repeat(30)}-${1_000 + n}.example.test`);
  return parseContent(await testCertificate({ domains: ['shop.example.test', ...names] }));
};

const lacks = {
  deleted: 'what is deleted is gone',
  'half-made': 'a secret is made with its certificate, or nobody can tell whose it is',
  empty: 'what has expired is emptied, and comes back under another id: see below',
  longWrites: 'its answers say that it is done',
  same: 'it gives back the chain that it was given',
  identity: 'the CRN of the instance is its id, and nobody chose that',
  silentListings: 'a listing has serial and dates',
  store_quota_used_up: 'it has no quota on certificates',
  store_in_use: 'it does not know who uses a certificate',
};

/** What a person does at the service meanwhile: the next request of the store waits for it. */
function meddling(instance: TestInstance) {
  let done: Promise<unknown> = Promise.resolve();
  const send: HttpSend = async (request, options) => {
    await done;
    return smallPages(request, options);
  };
  const ask = async (method: string, path: string, body?: object) => {
    const headers = {
      authorization: `Bearer ${await instance.token()}`,
      'content-type': method === 'PATCH' ? 'application/merge-patch+json' : 'application/json',
    };
    const url = `${instance.url}/api/v2/secrets/${path}`;
    const response = await fetch(url, { method, headers, ...(body && { body: JSON.stringify(body) }) });
    expect(response.ok, `${method} ${path}: ${response.status}`).toBe(true);
    return response.status === 204 ? {} : ((await response.json()) as Record<string, unknown>);
  };
  const meddle = (work: () => Promise<unknown>) => {
    done = work();
  };
  /** Locks the version in force, and the one before, so that no version can be made any more. */
  const lock = async (id: string) => {
    const locks = { locks: [{ name: 'ingress' }] };
    await ask('POST', `${id}/locks_bulk`, locks);
    const { certificate, intermediate, private_key } = await ask('GET', id);
    await ask('POST', `${id}/versions`, { certificate, intermediate, private_key });
    await ask('POST', `${id}/locks_bulk`, locks);
  };
  const unlock = async (id: string) => {
    await ask('DELETE', `${id}/versions/previous/locks_bulk`);
    await ask('DELETE', `${id}/locks_bulk`);
  };
  return { send, ask, meddle, lock, unlock };
}

storeContract(
  'secrets-manager, at our own instance',
  async () => {
    const instance = await startTestInstance();
    const { send, meddle, lock, unlock } = meddling(instance);
    return {
      store: storeOf(instance, { send, listingLagMs: 0, readSettlesMs: 0 }),
      unknownId: 'ffffffff-ffff-4fff-8fff-ffffffffffff',
      refusedContent,
      refusing: {
        store_held: (id) => {
          meddle(() => lock(id));
          return () => meddle(() => unlock(id));
        },
      },
      close: () => instance.close(),
    };
  },
  { lacks: { ...lacks, lag: 'an instance of our own reads the row itself' }, roomForMarks: 2_000 },
);

// What was written since the last `settle` shows nowhere, however long that takes.
storeContract(
  'secrets-manager, at our own instance, where reads and listings lag',
  async () => {
    const instance = await startTestInstance();
    const lagging = await startLaggingProxy(instance.url);
    const { send, meddle, lock, unlock } = meddling(instance);
    let settledAt = performance.now();
    lagging.shownAt = () => settledAt;
    return {
      store: storeOf({ ...instance, url: lagging.url }, { send }),
      unknownId: 'ffffffff-ffff-4fff-8fff-ffffffffffff',
      refusedContent,
      refusing: {
        store_held: (id) => {
          meddle(() => lock(id));
          return () => meddle(() => unlock(id));
        },
      },
      settle: async () => {
        settledAt = performance.now();
      },
      close: async () => {
        await Promise.all([lagging.close(), instance.close()]);
      },
    };
  },
  { lacks, roomForMarks: 2_000 },
);

describe('secrets-manager at our own instance', () => {
  let instance: TestInstance;
  let store: Store;
  let now: number;
  let content: CertificateContent;
  const mark = { store: 'a-primary', certificate: 'one' };
  const metadata = { name: 'shop one', description: 'the shop', tags: ['production'] };
  const codeOf = (call: Promise<unknown>) =>
    call.then(
      () => 'succeeded',
      (thrown: unknown) => asCodedError(thrown).code,
    );
  const runtime = { ...systemRuntime, now: () => now };

  beforeAll(async () => {
    now = Date.now();
    instance = await startTestInstance({ runtime });
    store = storeOf(instance, { runtime });
    content = parseContent(await testCertificate());
  });
  afterAll(() => instance.close());

  it('keeps the true name, the tags and the mark, and a label by which it is found', async () => {
    const { id } = await store.import({ content, metadata, mark });
    expect(await store.readMetadata(id)).toMatchObject({ value: { ...metadata, mark } });
    const { ask } = meddling(instance);
    expect(await ask('GET', `${id}/metadata`)).toMatchObject({
      name: 'shop-one',
      labels: ['production', `certstandby-${markDigest(mark)}`],
      custom_metadata: { certstandby: { name: 'shop one' } },
    });
    await store.delete(id);
  });

  it('leaves what others have put into custom metadata', async () => {
    const { id } = await store.import({ content, metadata, mark });
    const { ask } = meddling(instance);
    await ask('PATCH', `${id}/metadata`, { custom_metadata: { team: 'web', nested: { a: 1 } } });
    await store.updateMetadata(id, { ...metadata, description: '' }, undefined);
    expect(await ask('GET', `${id}/metadata`)).toMatchObject({
      labels: ['production'],
      custom_metadata: { team: 'web', nested: { a: 1 }, certstandby: { name: 'shop one' } },
    });
    expect(await store.readMetadata(id)).toMatchObject({ value: { description: '' } });
    await store.delete(id);
  });

  it('makes no version of what is there already, so that the true previous one is kept', async () => {
    const { id } = await store.import({ content, metadata, mark });
    const next = parseContent(await testCertificate());
    await store.reimport(id, next);
    await store.reimport(id, next);
    const { ask } = meddling(instance);
    const previous = await ask('GET', `${id}/versions/previous`);
    const { certificate, private_key } = previous as { certificate: string; private_key: string };
    expect(fingerprintOf(parseContent({ certificate }))).toBe(fingerprintOf({ leaf: content.leaf, chain: [] }));
    expect(private_key).toContain('PRIVATE KEY');
    await store.delete(id);
  });

  it('makes copies in the group of the configuration, makes that where it may, and says what is missing', async () => {
    const strict = storeOf(instance, { runtime, group: 'standby' });
    const error = asCodedError(await strict.import({ content, metadata, mark }).catch((thrown: unknown) => thrown));
    expect(error.code).toBe('store_refused');
    expect(error.remedy).toContain('makeGroup: true');
    const making = storeOf(instance, { runtime, group: 'standby', makeGroup: true });
    const { id } = await making.import({ content, metadata, mark });
    // The group is there now, for everybody. A repeated import finds the copy by its name.
    expect((await strict.import({ content, metadata, mark })).id).toBe(id);
    // So it does from another group: names are unique in the whole instance.
    expect((await store.import({ content, metadata, mark })).id).toBe(id);
    await store.delete(id);
  });

  /** Answers what is asked of the secret groups as a whole, where this gives an answer. */
  const groupsAs = (answered: (method: string) => Awaited<ReturnType<HttpSend>> | undefined | Promise<undefined>) => {
    const asked: string[] = [];
    const send: HttpSend = async (request, options) => {
      if (!request.url.endsWith('/secret_groups')) return smallPages(request, options);
      asked.push(request.method);
      options.connected();
      return (await answered(request.method)) ?? smallPages(request, options);
    };
    return { send, asked };
  };
  const noGroups = () => ({ status: 200, headers: {}, body: new Blob(['{"secret_groups":[]}']).stream() });

  it('a group that many copies want at once is made once, and all of them go into it', async () => {
    const { send, asked } = groupsAs(() => undefined);
    const making = storeOf(instance, { runtime, send, group: 'crowd', makeGroup: true });
    const copies = await Promise.all(
      Array.from({ length: 16 }, (_, at) =>
        making.import({
          content,
          metadata: { ...metadata, name: `crowd-${at}` },
          mark: { ...mark, certificate: `crowd-${at}` },
        }),
      ),
    );
    expect(asked).toEqual(['GET', 'POST']);
    await Promise.all(copies.map(({ id }) => store.delete(id)));
  });

  it('a group that somebody else makes first is taken; one that stays hidden is no name that is taken', async () => {
    // Who was slower has read a list without the group.
    const late = groupsAs(() => (late.asked.length === 1 ? noGroups() : undefined));
    await storeOf(instance, { runtime, group: 'raced', makeGroup: true }).import({ content, metadata, mark });
    const other = { content, metadata: { ...metadata, name: 'raced' }, mark: { ...mark, certificate: 'raced' } };
    const slower = storeOf(instance, { runtime, send: late.send, group: 'raced', makeGroup: true });
    const { id } = await slower.import(other);
    expect(late.asked).toEqual(['GET', 'POST', 'GET']);
    await store.delete(id);

    const hiding = groupsAs((method) => (method === 'GET' ? noGroups() : undefined));
    const blind = storeOf(instance, { runtime, send: hiding.send, group: 'raced', makeGroup: true });
    const error = asCodedError(await blind.import(other).catch((thrown: unknown) => thrown));
    expect(error).toMatchObject({ code: 'store_refused', fields: { reason: 'hidden_group', group: 'raced' } });
    expect(error.remedy).toMatch(/see all secret groups.*name another group/);
    const copies = (await store.findByMark?.(mark)) ?? [];
    await Promise.all(copies.map((copy) => store.delete(copy.id)));
  });

  describe('where groups travel', () => {
    const carrying = (more: object = {}) => storeOf(instance, { runtime, carryGroups: true, ...more });
    const tagged = (group: string) => ({ ...metadata, tags: ['production', `secret-group:${group}`] });
    const groupOf = async (id: string) => {
      const headers = { authorization: `Bearer ${await instance.token()}` };
      const answer = await fetch(`${instance.url}/api/v2/secret_groups`, { headers });
      const { secret_groups } = (await answer.json()) as { secret_groups: { id: string; name: string }[] };
      const { secret_group_id } = await meddling(instance).ask('GET', `${id}/metadata`);
      return { id: secret_group_id, name: secret_groups.find((group) => group.id === secret_group_id)?.name };
    };
    const rename = async (id: unknown, name: string) => {
      const { ask } = meddling(instance);
      await ask('PATCH', `../secret_groups/${id}`, { name });
      now += 61_000;
    };

    it('an original tells its group as a tag, and its copy is made in the group of that name', async () => {
      const original = await storeOf(instance, { runtime, group: 'web', makeGroup: true }).import({
        content,
        metadata,
      });
      const read = await carrying().read(original.id);
      expect(read).toMatchObject({ value: { metadata: { tags: ['production', 'secret-group:web'] } } });
      expect((await carrying().list({})).certificates).toMatchObject([{ tags: ['production', 'secret-group:web'] }]);
      // Without the setting nobody tells it.
      expect(await store.readMetadata(original.id)).toMatchObject({ value: { tags: ['production'] } });
      await store.delete(original.id);

      const copy = await carrying({ group: 'standby', makeGroup: true }).import({
        content,
        metadata: tagged('web'),
        mark,
      });
      expect(copy.metadata).toMatchObject({ ...carrying().asKept(tagged('web'), mark), mark });
      expect(await carrying().readMetadata(copy.id)).toMatchObject({ value: { ...tagged('web'), mark } });
      expect((await groupOf(copy.id)).name).toBe('web');
      expect(await meddling(instance).ask('GET', `${copy.id}/metadata`)).toMatchObject({
        labels: ['production', `certstandby-${markDigest(mark)}`],
      });
      await store.delete(copy.id);
    });

    it('what is in the group that every instance has is made where the configuration says', async () => {
      const { id } = await carrying({ group: 'standby', makeGroup: true }).import({ content, metadata, mark });
      expect((await groupOf(id)).name).toBe('standby');
      expect(await carrying().readMetadata(id)).toMatchObject({ value: { tags: ['production'] } });
      await store.delete(id);
    });

    it('a group that is missing is no reason to let other people see the key: it is made, or that is said', async () => {
      const entry = { content, metadata: tagged('payments'), mark };
      const error = asCodedError(
        await carrying()
          .import(entry)
          .catch((thrown: unknown) => thrown),
      );
      expect(error).toMatchObject({
        code: 'store_refused',
        remedy: expect.stringMatching(/secret group payments.*makeGroup/),
      });
      expect(await carrying().findByMark?.(mark)).toEqual([]);
      const { id } = await carrying({ makeGroup: true }).import(entry);
      expect((await groupOf(id)).name).toBe('payments');
      await store.delete(id);
    });

    it('another name of a group is seen, and written to the copy, which stays where it is', async () => {
      const original = await storeOf(instance, { runtime, group: 'web', makeGroup: true }).import({
        content,
        metadata,
      });
      const primary = carrying();
      const before = await primary.readMetadata(original.id);
      await rename((await groupOf(original.id)).id, 'shops');
      const after = await primary.readMetadata(original.id);
      expect(after).toMatchObject({ value: { tags: ['production', 'secret-group:shops'] } });
      const revisions = [before, after].map((read) => read.state === 'present' && read.value.revision);
      expect(new Set(revisions).size).toBe(2);
      await store.delete(original.id);

      const backup = carrying({ makeGroup: true });
      const { id } = await backup.import({ content, metadata: tagged('cellar'), mark });
      await backup.updateMetadata(id, tagged('shops'), mark);
      expect(await backup.readMetadata(id)).toMatchObject({ value: tagged('shops') });
      expect((await groupOf(id)).name).toBe('cellar');
      await backup.updateMetadata(id, metadata, mark);
      expect(await backup.readMetadata(id)).toMatchObject({ value: { tags: ['production'] } });
      await store.delete(id);
    });

    it('a copy that was made before is described anew, and a tag that is no group is a label', async () => {
      const { id } = await store.import({ content, metadata, mark });
      await carrying().updateMetadata(id, tagged('web'), mark);
      expect(await carrying().readMetadata(id)).toMatchObject({ value: tagged('web') });
      const odd = { ...metadata, tags: ['secret-group:x', `secret-group:${'y'.repeat(40)}`, 'secret-group:z z'] };
      await carrying().updateMetadata(id, odd, mark);
      expect(await carrying().readMetadata(id)).toMatchObject({ value: carrying().asKept(odd, mark) });
      await store.delete(id);
    });

    it('a group that is not shown makes its secrets unreadable, and no other, by one request for all', async () => {
      const hidden = storeOf(instance, { runtime, group: 'web', makeGroup: true });
      const { id } = await hidden.import({ content, metadata });
      const second = await hidden.import({ content, metadata: { ...metadata, name: 'second' } });
      const other = await store.import({ content, metadata: { ...metadata, name: 'other' } });
      const { send, asked } = groupsAs(noGroups);
      const listed = await carrying({ send }).list({});
      expect(listed.certificates.map((one) => one.id)).toEqual([other.id]);
      expect(listed.unreadable?.map((one) => one.id).toSorted()).toEqual([id, second.id].toSorted());
      expect(new Set(listed.unreadable?.map((one) => one.error.reason))).toEqual(new Set(['hidden_group']));
      expect(asked).toEqual(['GET']);
      await Promise.all([id, second.id, other.id].map((one) => store.delete(one)));
    });

    it('a group that is not shown is in nobody’s way where a name or a mark is looked for', async () => {
      const hidden = storeOf(instance, { runtime, group: 'web', makeGroup: true });
      const original = await hidden.import({ content, metadata });
      const spoilt = await hidden.import({ content, metadata: { ...metadata, name: 'spoilt' }, mark });
      const { ask } = meddling(instance);
      await ask('PATCH', `${spoilt.id}/metadata`, { custom_metadata: { certstandby: null } });
      const copy = await store.import({ content, metadata: { ...metadata, name: 'copy' }, mark });
      const { send } = groupsAs(noGroups);
      const told: unknown[] = [];
      const marked = await carrying({ send }).findByMark?.(mark, { unreadable: (one) => told.push(one) });
      expect(marked?.map((one) => one.id)).toEqual([copy.id]);
      expect(told).toMatchObject([{ id: spoilt.id, error: { fields: { reason: 'mark_lost' } } }]);
      const taken = carrying({ send }).import({ content, metadata, mark: { ...mark, certificate: 'two' } });
      expect(await codeOf(taken)).toBe('store_conflict');
      await Promise.all([original.id, spoilt.id, copy.id].map((one) => store.delete(one)));
    });

    it('a list of groups that is not there makes no secret absent', async () => {
      const hidden = storeOf(instance, { runtime, group: 'web', makeGroup: true });
      const { id } = await hidden.import({ content, metadata });
      const errors = '{"errors":[{"code":"not_found","message":"no"}]}';
      const { send } = groupsAs(() => ({ status: 404, headers: {}, body: new Blob([errors]).stream() }));
      const unreadable = { state: 'unreadable', error: { code: 'store_nonsense' } };
      expect(await carrying({ send }).readMetadata(id)).toMatchObject(unreadable);
      expect(await carrying({ send }).read(id)).toMatchObject(unreadable);
      expect((await carrying({ send }).list({})).unreadable).toMatchObject([{ id }]);
      await store.delete(id);
    });

    it('who goes away ends the list of groups for no other who waits for it', async () => {
      const hidden = storeOf(instance, { runtime, group: 'web', makeGroup: true });
      const { id } = await hidden.import({ content, metadata });
      const leaving = new AbortController();
      let answer = () => {};
      const held = new Promise<void>((resolve) => {
        answer = resolve;
      });
      const { send, asked } = groupsAs(() => held.then(() => undefined));
      const one = carrying({ send });
      const first = one.readMetadata(id, { signal: leaving.signal });
      await expect.poll(() => asked).toEqual(['GET']);
      const second = one.readMetadata(id);
      leaving.abort();
      expect(await first).toMatchObject({ state: 'unreadable', error: { code: 'store_unavailable' } });
      answer();
      expect(await second).toMatchObject({ state: 'present', value: { tags: ['production', 'secret-group:web'] } });
      expect(asked).toEqual(['GET']);
      await store.delete(id);
    });
  });

  it('tells a copy whose mark somebody has overwritten, by its label, and can write it anew', async () => {
    const { id } = await store.import({ content, metadata, mark });
    const { ask } = meddling(instance);
    await ask('PATCH', `${id}/metadata`, { custom_metadata: { certstandby: null } });
    expect(await store.read(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_content_unreadable' } });
    const listed = await store.list({});
    expect(listed.certificates).toEqual([]);
    expect(listed.unreadable).toMatchObject([
      {
        id,
        ours: true,
        error: { fields: { reason: 'mark_lost', remedy: expect.stringContaining('it is written anew') } },
      },
    ]);
    const told: unknown[] = [];
    expect(await store.findByMark?.(mark, { unreadable: (copy) => told.push(copy) })).toEqual([]);
    expect(told).toMatchObject([{ id, ours: true, facts: { domains: ['shop.example.test'] } }]);
    await store.reimport(id, parseContent(await testCertificate()));
    await store.updateMetadata(id, metadata, mark);
    expect(await store.readMetadata(id)).toMatchObject({ value: { ...metadata, mark } });
    await store.delete(id);
  });

  it('lets readers see metadata and nothing more', async () => {
    const { id } = await store.import({ content, metadata, mark });
    const reader = storeOf({ ...instance, apiKey: apiKeyOf('reader') }, { runtime });
    expect(await reader.readMetadata(id)).toMatchObject({ state: 'present' });
    expect(await reader.read(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_unauthorized' } });
    expect(await codeOf(reader.delete(id))).toBe('store_unauthorized');
    await store.delete(id);
  });

  it('knows a copy that Certificate Manager’s API has made, by the mark in its description', async () => {
    const headers = { authorization: `Bearer ${await instance.token()}` };
    const { certificate, privateKey } = await testCertificate();
    const body = JSON.stringify({
      ...{ name: 'shop', description: 'the shop\ncertstandby:1 a-primary other' },
      data: { content: certificate, priv_key: privateKey.reveal() },
    });
    const path = `${instance.url}/api/v3/${encodeURIComponent(instance.crn)}/certificates/import`;
    await fetch(path, { method: 'POST', headers, body });
    const [found] = (await store.list({})).certificates;
    expect(found).toMatchObject({ description: 'the shop', mark: { store: 'a-primary', certificate: 'other' } });
    await store.delete(found?.id ?? '');
  });

  it('makes a copy anew that the service has destroyed, with whatever import', async () => {
    const first = await store.import({ content, metadata, mark });
    now = validTo + 1;
    const later = parseContent(await testCertificate({ notAfter: validTo + 86_400_000 }));
    const expected = { state: 'vacant', why: 'empty', mark, name: 'shop one' };
    expect(await store.read(first.id)).toMatchObject(expected);
    expect(await store.readMetadata(first.id)).toMatchObject(expected);
    expect((await store.list({})).vacant).toMatchObject([{ id: first.id, why: 'empty' }]);
    expect(await store.findByMark?.(mark)).toEqual([]);
    expect(await codeOf(store.reimport(first.id, later))).toBe('store_gone');
    expect(await codeOf(store.updateMetadata(first.id, metadata, mark))).toBe('store_gone');
    const other = { content: later, metadata, mark: { ...mark, certificate: 'two' } };
    expect(await codeOf(store.import({ ...other, into: first.id }))).toBe('store_conflict');
    expect(await codeOf(store.import(other))).toBe('store_conflict');

    // It stays while nobody knows where its successor goes.
    const lost = storeOf(instance, { runtime, group: 'nowhere' });
    expect(await codeOf(lost.import({ content: later, metadata, mark, into: first.id }))).toBe('store_refused');
    expect(await store.read(first.id)).toMatchObject(expected);

    const second = await store.import({ content: later, metadata, mark, into: first.id });
    expect(second.id).not.toBe(first.id);
    expect(await store.read(first.id)).toEqual({ state: 'absent' });
    expect(await codeOf(store.import({ content: later, metadata, mark, into: first.id }))).toBe('store_gone');
    // Brought back meanwhile, by this deployment or another.
    expect((await store.import({ content: later, metadata, mark, into: second.id })).id).toBe(second.id);

    now = validTo + 86_400_001;
    const last = parseContent(await testCertificate({ notAfter: validTo + 2 * 86_400_000 }));
    const third = await store.import({ content: last, metadata, mark });
    expect((await store.findByMark?.(mark))?.map(({ id }) => id)).toEqual([third.id]);
  });
});
