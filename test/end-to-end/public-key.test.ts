import { generateKeyPairSync } from 'node:crypto';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { linkRecords } from '../../src/records/link-records.ts';
import { type Runtime, systemRuntime } from '../../src/runtime.ts';
import { memoryTable } from '../../src/table/memory.ts';
import type { Behaviour } from '../support/faulty-proxy.ts';
import { certificateId, makeSigner, payloadV5, type Signer } from '../support/notifications.ts';
import { printedTable, send, startTrap } from './attacker.ts';
import { type Pair, startPair } from './pair.ts';
import { primaryCrn } from './program.ts';

describe('the public key endpoint of the primary', () => {
  const signer = makeSigner();
  const successor = makeSigner();
  const stranger = makeSigner();
  const printed = printedTable('the public key endpoint', 'key kept', 'genuine, forged', 'calls for them');
  const table = memoryTable();
  const stored = () => linkRecords(table).verificationKey('main');
  let aheadMs = 0;
  const runtime: Runtime = { ...systemRuntime, now: () => Date.now() + aheadMs };
  let trap: Awaited<ReturnType<typeof startTrap>>;
  let pair: Pair;
  beforeAll(async () => {
    trap = await startTrap(stranger);
    pair = await startPair({ signingKey: signer.privateKey, sweeps: false, table, runtime });
  });
  afterAll(async () => {
    await pair.close();
    await trap.close();
    printed.print();
  });

  let events = 0;
  /** How a notification by this key is answered. It informs only, so that no look begins. */
  async function answerTo(by: Signer): Promise<number> {
    events += 1;
    const ids = [certificateId(events)];
    const payload = payloadV5({
      instance: primaryCrn,
      ids,
      type: 'cert_expired_reimport_required',
      eventId: `${events}`,
    });
    return (await send(pair.callbackUrl, { body: by.body(payload) })).status;
  }
  const calls = () => pair.primaryProxy.requests.length + pair.proxy.requests.length + trap.requests();
  const asked = () =>
    pair.primaryProxy.requests.filter((request) => request.includes('/notifications/publicKey')).length;
  /** What the endpoint does from now on. */
  function endpoint(behaviour: Behaviour): void {
    pair.primaryProxy.behave = ({ path }) => (path.includes('/notifications/publicKey') ? behaviour : 'pass');
  }
  const saying = (publicKey: unknown): Behaviour => ({
    status: 200,
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ publicKey }),
  });
  /** The receiver's key is older than it may be, and is loaded anew at the next notification. */
  const later = () => {
    aheadMs += 20_000;
  };
  const spki = (type: 'ec' | 'rsa' | 'rsa-pss' | 'ed25519', options: object) =>
    generateKeyPairSync(type as 'rsa', options as { modulusLength: number }).publicKey.export({
      type: 'spki',
      format: 'pem',
    });

  const bad: Readonly<Record<string, () => Behaviour>> = {
    'is down': () => 'drop',
    'answers 500': () => ({ status: 500, body: 'oops' }),
    'answers 404': () => ({ status: 404, body: '{"code":"x","message":"no such instance"}' }),
    'redirects to another server (302)': () => ({ status: 302, headers: { location: `${trap.url}/key` } }),
    'redirects to another server (307)': () => ({ status: 307, headers: { location: `${trap.url}/key` } }),
    'answers a page': () => ({ status: 200, headers: { 'content-type': 'text/html' }, body: '<html>Log in</html>' }),
    'answers nothing': () => ({ status: 200, body: '' }),
    'answers 9 MiB': () => saying(`${signer.publicKeyPem}${' '.repeat(9 * 1024 * 1024)}`),
    'gives null': () => saying(null),
    'gives a list with another key': () => saying([stranger.publicKeyPem]),
    'gives a URL of another key': () => saying(`${trap.url}/key`),
    'gives half a key': () => saying(signer.publicKeyPem.slice(0, 200)),
    'gives a private key': () => saying(stranger.privateKey.export({ type: 'pkcs8', format: 'pem' })),
    'gives an RSA key of 1,024 bits': () => saying(spki('rsa', { modulusLength: 1024 })),
    'gives an EC key': () => saying(spki('ec', { namedCurve: 'P-256' })),
    'gives an Ed25519 key': () => saying(spki('ed25519', {})),
    'gives an RSA-PSS key': () => saying(spki('rsa-pss', { modulusLength: 2048 })),
  };
  test.each(Object.keys(bad))('%s: the good key stays, in the table too', async (name) => {
    endpoint(bad[name]?.() ?? 'pass');
    const before = asked();
    await pair.program.sweep();
    expect(asked()).toBe(before + 1);
    later();
    const callsBefore = calls();
    const [genuine, forged] = [await answerTo(signer), await answerTo(stranger)];
    const cost = calls() - callsBefore;
    const kept = (await stored()) === signer.publicKeyPem;
    printed.add(name, kept ? 'yes' : 'NO', `${genuine}, ${forged}`, `${cost}`);
    expect([genuine, forged, cost, kept, trap.requests()]).toEqual([200, 401, 0, true, 0]);
  });

  test('is slow: notifications are judged meanwhile', async () => {
    let answerNow = () => {};
    endpoint({ until: new Promise<void>((resolve) => (answerNow = resolve)) });
    const before = asked();
    let swept = false;
    const sweeping = pair.program.sweep().then(() => {
      swept = true;
    });
    later();
    await expect.poll(() => asked(), { interval: 5 }).toBe(before + 1);
    const callsBefore = calls();
    const [genuine, forged] = [await answerTo(signer), await answerTo(stranger)];
    const cost = calls() - callsBefore;
    expect([genuine, forged, cost, swept]).toEqual([200, 401, 0, false]);
    printed.add('is slow (answered while the sweep waited)', 'yes', `${genuine}, ${forged}`, `${cost}`);
    answerNow();
    await sweeping;
  });

  test('a notification never has it asked, whatever it looks like', async () => {
    const before = pair.primaryProxy.requests.length;
    later();
    await Promise.all([answerTo(signer), answerTo(stranger), answerTo(successor)]);
    expect(pair.primaryProxy.requests.length).toBe(before);
  });

  test('changes its key: the pinned one judges until the sweep has fetched the other', async () => {
    endpoint(saying(successor.publicKeyPem));
    later();
    let callsBefore = calls();
    expect([await answerTo(signer), await answerTo(successor), calls()]).toEqual([200, 401, callsBefore]);
    await pair.program.sweep();
    expect(await stored()).toBe(successor.publicKeyPem);
    later();
    callsBefore = calls();
    // What was signed just before the change may still be on its way: the key that vanished counts
    // for an hour more.
    expect([await answerTo(signer), await answerTo(successor), await answerTo(stranger)]).toEqual([200, 200, 401]);
    aheadMs += 3_600_000;
    await pair.program.sweep();
    later();
    callsBefore = calls();
    expect([await answerTo(signer), await answerTo(successor), await answerTo(stranger)]).toEqual([401, 200, 401]);
    expect(calls()).toBe(callsBefore);
    printed.add('changes its key; before the sweep', 'yes', '200 by the old, 401 by the new', '0');
    printed.add('changes its key; after the sweep', 'both', '200 by the old, 200 by the new', '0');
    printed.add('changes its key; an hour after that', 'the new', '401 by the old, 200 by the new', '0');
  });
});
