import { generateKeyPairSync, sign as signBytes } from 'node:crypto';
import { expect, test } from 'vitest';
import type { Wake } from '../../src/dispatch/dispatch.ts';
import { acknowledge } from '../../src/replication/acknowledge.ts';
import { isAskedReconcileDue } from '../../src/replication/reconcile/asked.ts';
import { reconcile } from '../../src/replication/reconcile/reconcile.ts';
import { defaultTiming } from '../../src/replication/timing.ts';
import { changedType, changeMessage } from '../../src/sender/change-message.ts';
import { pinVerificationKey } from '../../src/sender/jws.ts';
import { senderOf } from '../../src/services/oidc-token/sender.ts';
import { content, described, setup, startMs } from '../support/replication.ts';

// Whoever bears a genuine token may invent ids: a thousand of them within a minute.

const bodies = 40;
const idsInBody = 25;
const jwks = 'https://issuer.example/jwks';
const config = { issuer: 'https://issuer.example', jwks, audience: 'here', bearer: { sub: 'job' } };
const sender = senderOf({ kind: 'oidc-token', name: 'ci', store: 'primary', ...config });
const pair = generateKeyPairSync('rsa', { modulusLength: 2048 });
const keys = new Map([['k1', pinVerificationKey(pair.publicKey.export({ type: 'spki', format: 'pem' }).toString())]]);
const token = (() => {
  const claims = { iss: config.issuer, aud: 'here', sub: 'job', exp: startMs / 1_000 + 300 };
  const parts = [{ alg: 'RS256', kid: 'k1' }, claims].map((part) =>
    Buffer.from(JSON.stringify(part)).toString('base64url'),
  );
  const input = parts.join('.');
  return `${input}.${signBytes('RSA-SHA256', Buffer.from(input), pair.privateKey).toString('base64url')}`;
})();

/** The events of one genuine request that names so many ids that nobody has. */
function invented(request: number) {
  const certificates = Array.from({ length: idsInBody }, (_, at) => ({ id: `invented-${request}-${at}` }));
  const body = Buffer.from(changeMessage({ type: changedType, at: startMs, certificates }));
  const received = sender.receive({ header: () => `Bearer ${token}`, body }, keys, startMs);
  return 'events' in received ? received.events : [];
}

/** What the flood costs, until everything that it asked for has been looked at. */
async function costOf(unknownPerMinute: number) {
  const world = await setup({ timing: { unknownPerMinute } });
  world.primary.store.put({ content: await content(), metadata: described('shop') }, 'c1');
  await world.ask('c1');
  await world.pass('c1');
  const woken: Wake[] = [];
  const dispatch = { dispatch: async (wakes: readonly Wake[]) => void woken.push(...wakes) };
  const parts = { ...world.worker, dispatch };
  const before = world.calls.length;
  for (let request = 0; request < bodies; request += 1)
    await acknowledge({ ...parts, notifications: world.notifications }, ['main'], invented(request), 'ci');
  let rows = -1;
  for await (const _ of world.records.all('main')) rows += 1;
  const writes = world.calls.slice(before).filter((call) => /table (?:update|putIfAbsent|delete)$/.test(call)).length;
  const atStores = (from: number) => world.calls.slice(from).filter((call) => !/ table /.test(call)).length;
  const received = atStores(before);
  const looked = world.calls.length;
  for (const { certificate } of woken) await world.pass(certificate);
  const reads = world.calls.slice(looked).filter((call) => /primary read/.test(call)).length;
  await world.later(defaultTiming.askedReconcileEveryMs);
  const compared = world.calls.length;
  const isDue = await isAskedReconcileDue(parts, world.link);
  if (isDue) await reconcile(parts, world.link);
  return { rows, writes, dispatched: woken.length, received, reads, isDue, reconcile: atStores(compared) };
}

test('a thousand invented ids cost what the budget allows, and one reconcile: counted before and after it', async () => {
  const most = defaultTiming.unknownPerMinute;
  const before = await costOf(Number.MAX_SAFE_INTEGER);
  const after = await costOf(most);
  if (process.env.ATTACKS_TABLE === '1') console.table({ 'without a budget': before, 'with it': after });
  // Nobody is called while they arrive, with a budget and without.
  expect([before.received, after.received]).toEqual([0, 0]);
  expect(before).toMatchObject({ rows: 1_000, dispatched: 1_000, isDue: false });
  expect(before.reads).toBeGreaterThanOrEqual(1_000);
  expect(after).toMatchObject({ rows: most, dispatched: most, isDue: true });
  expect(after.reads * 1_000).toBe(before.reads * most);
  // One reconcile for all that was beyond it: two listings, and what one more certificate costs.
  expect(after.reconcile).toBeLessThanOrEqual(4);
  // Beyond the budget an id costs a look at its record, one at the budget, and one note; no row.
  expect(after.writes).toBeLessThanOrEqual(6 * 1_000);
});
