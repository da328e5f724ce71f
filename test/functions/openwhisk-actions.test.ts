import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requestOf, resultOf } from '../../functions/openwhisk/web-action.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { silentLog } from '../../src/log.ts';
import { createReceiver } from '../../src/receiver/receiver.ts';
import { linkRecords } from '../../src/records/link-records.ts';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { pinVerificationKey } from '../../src/sender/jws.ts';
import { watchedLink } from '../receiver/links.ts';
import { testCertificate } from '../support/certificates.ts';
import { makeSigner } from '../support/notifications.ts';
import { callbackCases, callbackHostContract } from './callback-cases.ts';
import { answerOf, type OpenwhiskStack, startOpenwhiskStack, webActionParameters } from './openwhisk-stack.ts';

/**
 * The actions as they are deployed to OpenWhisk: the real bundles, through /init and /run, against
 * real instances over HTTP.
 */

const signer = makeSigner();
const stranger = makeSigner();
const cases = callbackCases(signer, stranger);

/** A receiver behind the translation of a web action. */
function webAction(change: (parameters: Record<string, unknown>, body: Buffer) => object = (parameters) => parameters) {
  const receive = createReceiver({
    now: Date.now,
    callbacks: [watchedLink(async () => pinVerificationKey(signer.publicKeyPem))],
    log: silentLog,
  });
  return async (request: (typeof cases)[number]['request']) => {
    const parameters = webActionParameters(request) as Record<string, unknown>;
    const given = change(parameters, request.body) as Record<string, unknown>;
    return answerOf(resultOf(await receive(requestOf(given))));
  };
}
callbackHostContract('OpenWhisk', cases, webAction());
// Some gateways hand JSON on as text. Bytes that are no text then cannot come as they were.
callbackHostContract(
  'OpenWhisk, JSON as text',
  cases.filter(({ request: { body } }) => Buffer.from(body.toString('utf8')).equals(body)),
  webAction((parameters, body) => ({ ...parameters, __ow_body: body.toString('utf8') })),
);
callbackHostContract(
  'OpenWhisk, behind an API that hands on the whole path',
  cases,
  webAction((parameters) => ({ ...parameters, __ow_path: `/callback${String(parameters.__ow_path)}` })),
);

it('a body of a text is base64 to older versions of the platform, so ours is a value', () => {
  const headers = { 'content-type': 'application/json' };
  expect(answerOf({ statusCode: 202, headers, body: '{"status":"acknowledged"}' })).toMatchObject({ status: 400 });
  const answer = answerOf(resultOf({ status: 202, headers, body: '{"status":"acknowledged"}' }));
  expect(answer).toEqual({ status: 202, headers, body: '{"status":"acknowledged"}' });
});

it('a body as large as the platform lets through is read, and refused for its size', () => {
  const body = Buffer.alloc(1024 * 1024, 0xfb);
  expect(requestOf({ __ow_body: body.toString('base64') }).body).toHaveLength(body.length);
});

it('a web action that gets nothing at all answers too', async () => {
  expect(requestOf({})).toMatchObject({ method: '', path: '/callback' });
  expect(requestOf({ __ow_method: 'post', __ow_path: '/shop' }).body).toHaveLength(0);
});

describe('the package', () => {
  let stack: OpenwhiskStack;
  beforeAll(async () => {
    stack = await startOpenwhiskStack();
  });
  afterAll(() => stack.close());

  const post = (body: string) =>
    fetch(stack.callbackUrl, { method: 'POST', headers: { 'content-type': 'application/json' }, body });

  async function importAtPrimary(name: string, options: Parameters<typeof testCertificate>[0] = {}) {
    const content = parseContent(await testCertificate(options));
    const metadata = { name, description: '', tags: [] };
    const { id } = await stack.sides.primary.store.import({ content, metadata });
    return { id, fingerprint: fingerprintOf(content) };
  }

  async function copiesOf(name: string): Promise<readonly string[]> {
    const { store } = stack.sides.backup;
    const { certificates } = await store.list({});
    const those = certificates.filter((each) => each.name === name);
    const readings = await Promise.all(those.map(({ id }) => store.read(id)));
    return readings.map((reading) => (reading.state === 'present' ? fingerprintOf(reading.value.content) : ''));
  }

  const until = (isSo: () => boolean | Promise<boolean>, what: string) =>
    expect.poll(isSo, { message: what }).toBe(true);
  const invoked = () => until(() => stack.api.invocations.length > 0, 'an invocation');

  it('waits for the verification key with 503, gets it by the sweep, and reconciles', async () => {
    const early = await post('{}');
    expect([early.status, ((await early.json()) as { code: string }).code]).toEqual([503, 'notification_key_missing']);
    expect(await stack.activate('sweep', { trigger: 'alarm' })).toMatchObject({ links: [{ link: 'main', woken: 0 }] });
    expect(await stack.activate('reconcile')).toMatchObject({ reconciled: ['main'], failed: [], goesOn: [] });
    await stack.actions.callback.kill(); // an absent key is believed absent for a second
    await stack.sides.addChannel(stack.callbackUrl);
  });

  it('an event ends as a copy in the backup; nothing else is in the invocation than names', async () => {
    const { id, fingerprint } = await importAtPrimary('shop');
    await invoked();
    expect(stack.api.invocations).toMatchObject([
      {
        url: expect.stringContaining('/namespaces/guest/actions/certstandby/replicate'),
        params: { wakes: [{ link: 'main', certificate: id }] },
      },
    ]);
    expect(await stack.drain()).toEqual([{ looked: 1, failed: 0, left: 0 }]);
    expect(await copiesOf('shop')).toEqual([fingerprint]);
  });

  it('a certificate that would not serve ends in a record, and is not invoked for again', async () => {
    const { id } = await importAtPrimary('poisoned', { intermediates: 0 });
    await invoked();
    expect(await stack.drain()).toEqual([{ looked: 1, failed: 0, left: 0 }]);
    expect(await copiesOf('poisoned')).toEqual([]);
    expect((await replicationRecords(stack.table).get('main', id))?.refusal?.code).toBe('certificate_chain_missing');
    expect(stack.api.invocations).toEqual([]);
  });

  it('a platform that does not take the invocation loses nothing: the sweep wakes', async () => {
    stack.api.refuses = 429;
    const { id, fingerprint } = await importAtPrimary('throttled');
    await until(async () => (await replicationRecords(stack.table).get('main', id)) !== undefined, 'the record');
    stack.api.refuses = undefined;
    await stack.activate('sweep');
    await stack.drain();
    expect(await copiesOf('throttled')).toEqual([fingerprint]);
  });

  it('an action that is killed between a write and its commit leaves one copy, and the next one goes on', async () => {
    const { proxy } = stack.sides.backup;
    const { replicate, sweep } = stack.actions;
    const { id, fingerprint } = await importAtPrimary('killed');
    await invoked();
    const never = new Promise(() => {});
    proxy.behave = ({ path }) => (path.endsWith('/certificates/import') ? { until: never } : 'pass');
    const cut = stack.drain().then(
      () => 'done',
      () => 'killed',
    );
    await until(async () => (await copiesOf('killed')).length > 0, 'the copy');
    await replicate.kill();
    expect(await cut).toBe('killed');
    proxy.behave = () => 'pass';
    for (const aheadMs of [70_000, 90_000, 110_000]) {
      await Promise.all([replicate.setClock(aheadMs), sweep.setClock(aheadMs)]);
      await stack.activate('sweep');
      await stack.drain();
    }
    expect(await copiesOf('killed')).toEqual([fingerprint]);
    const record = await replicationRecords(stack.table).get('main', id);
    expect([record?.leaseUntil, record?.doubt, record?.wakeAt]).toEqual([undefined, undefined, undefined]);
    await Promise.all([replicate.setClock(0), sweep.setClock(0)]);
  });

  it('what there is no time for is left to the sweep', async () => {
    const { id, fingerprint } = await importAtPrimary('late');
    await invoked();
    const [invocation] = stack.api.invocations.splice(0, 1);
    expect(await stack.activate('replicate', invocation?.params, 64_000)).toEqual({ looked: 0, failed: 0, left: 1 });
    expect(await replicationRecords(stack.table).due('main', Date.now(), 10)).toContain(id);
    await stack.activate('sweep');
    await stack.drain();
    expect(await copiesOf('late')).toEqual([fingerprint]);
  });

  it('a reconcile whose time runs out goes on in another activation', async () => {
    const { proxy } = stack.sides.primary;
    proxy.behave = ({ method }) => (method === 'GET' ? { delayMs: 1_500 } : 'pass');
    expect(await stack.activate('reconcile', {}, 30_500)).toMatchObject({ reconciled: [], goesOn: ['main'] });
    expect(stack.api.invocations).toMatchObject([{ params: { links: ['main'], continuation: 1 } }]);
    proxy.behave = () => 'pass';
    expect(await stack.drain()).toMatchObject([{ reconciled: ['main'], goesOn: [] }]);
  });

  it('a reconcile that somebody asked for is begun by the sweep once it is due, is done once, and is asked for no more', async () => {
    const { reconcile, sweep } = stack.actions;
    const links = linkRecords(stack.table);
    await links.askReconcile('main', Date.now());
    await stack.activate('sweep');
    expect(stack.api.invocations).toEqual([]);
    await Promise.all([sweep.setClock(3_600_000), reconcile.setClock(3_600_000)]);
    await stack.activate('sweep');
    const asked = stack.api.invocations.filter(({ params }) => params.asked === true);
    expect(asked).toMatchObject([{ url: expect.stringContaining('/actions/certstandby/reconcile') }]);
    stack.api.invocations.splice(0);
    expect(await stack.activate('reconcile', { asked: true })).toMatchObject({ reconciled: ['main'], failed: [] });
    expect(await links.askedReconcile('main')).toBeUndefined();
    expect(await stack.activate('reconcile', { asked: true })).toMatchObject({ reconciled: [], failed: [] });
    stack.api.invocations.splice(0);
    await Promise.all([sweep.setClock(0), reconcile.setClock(0)]);
  });

  it.each([[undefined], ['x'], [[{ link: 'main' }]], [[7]], [Array(41).fill({ link: 'main', certificate: 'a' })]])(
    'wakes that are none are an error of the activation: %j',
    async (wakes) => {
      expect(await stack.activate('replicate', { wakes })).toMatchObject({ error: { code: 'dispatch_malformed' } });
    },
  );

  it('what is not bound is named, all of it at once; the callback answers 503', async () => {
    const { actions, bound } = stack;
    const { AWS_SECRET_ACCESS_KEY: _secret, BACKUP_KEY: _key, ...rest } = bound;
    expect(await actions.reconcile.run(rest)).toMatchObject({
      error: {
        code: 'configuration_invalid',
        message: 'this action lacks the parameter AWS_SECRET_ACCESS_KEY, the parameter BACKUP_KEY',
      },
    });
    expect(await actions.sweep.run({})).toMatchObject({ error: { code: 'configuration_invalid' } });
    expect(await actions.callback.run({ __ow_method: 'post', __ow_path: '/main' })).toMatchObject({
      statusCode: 503,
      headers: { 'retry-after': '30' },
    });
    // Bound anew, the same process goes on with it.
    expect(await stack.activate('sweep')).toMatchObject({ links: [{ link: 'main' }] });
  });

  it('shows no secret, in no result and no log', async () => {
    const written = Object.values(stack.actions).map(({ output }) => output());
    expect(written.join('')).toContain('XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX');
    for (const secret of [stack.sides.apiKey, 'very-secret', 'PRIVATE KEY'])
      expect(written.join('')).not.toContain(secret);
  });
});
