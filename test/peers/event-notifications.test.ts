import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkSender } from '../../src/cli/doctor/senders.ts';
import { sendersForDiagnosis } from '../../src/compose/senders.ts';
import { silentLog } from '../../src/log.ts';
import { startReceiverServer } from '../../src/receiver/node-host.ts';
import { createReceiver } from '../../src/receiver/receiver.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import type { LifecycleEvent } from '../../src/sender/event.ts';
import { pinVerificationKey } from '../../src/sender/jws.ts';
import { fetchKeys } from '../../src/services/event-notifications/keys.ts';
import { senderOf } from '../../src/services/event-notifications/sender.ts';
import type { EventNotificationsConfig } from '../../src/services/event-notifications/settings.ts';
import { secretsManagerDiagnosis } from '../../src/services/secrets-manager/diagnosis.ts';
import { type FakeEventNotifications, startFakeEventNotifications } from '../support/fake-event-notifications.ts';
import { requireLibrary } from './pypi.ts';

const withClient = requireLibrary('ibm-eventnotifications', '0.25.0', { module: 'ibm_eventnotifications' });

const account = 'a/00000000000000000000000000000001';
const guid = '99999999-2222-4333-8444-555555555555';
const source = `crn:v1:bluemix:public:secrets-manager:eu-de:${account}:11111111-2222-4333-8444-555555555555::`;
const instance = `crn:v1:bluemix:public:event-notifications:eu-de:${account}:${guid}::`;
const key = 'key';

describe.skipIf(withClient === undefined)("IBM's own client of Event Notifications, for Python", () => {
  let fake: FakeEventNotifications;
  let receiver: Awaited<ReturnType<typeof startReceiver>>;
  beforeEach(async () => {
    fake = await startFakeEventNotifications({ instance, source, keys: { [key]: 'manager' } });
    receiver = await startReceiver();
  });
  afterEach(async () => {
    await receiver.close();
    await fake.close();
  });

  const configOf = (destination?: string): EventNotificationsConfig => ({
    ...{ kind: 'event-notifications', name: 'events', store: 'frankfurt', source, instance },
    ...{ endpoint: fake.url, iam: fake.url, apiKey: new Secret(key) },
    ...(destination !== undefined && { destination }),
  });

  /** A receiver that has the key of the destination once it is said. */
  async function startReceiver() {
    const acknowledged: LifecycleEvent[] = [];
    let keys = new Map<string, ReturnType<typeof pinVerificationKey>>();
    const receive = createReceiver({
      callbacks: [
        {
          name: 'events',
          told: { sender: 'events' },
          sender: senderOf(configOf()),
          verificationKeys: async () => keys,
          acknowledge: async (events) => {
            acknowledged.push(...events);
            return 'new';
          },
        },
      ],
      now: () => Date.now(),
      log: silentLog,
    });
    const server = await startReceiverServer({ receiver: receive, host: '127.0.0.1', port: 0, log: silentLog });
    const trust = async (destination: string) => {
      const fetched = await fetchKeys(configOf(destination), { runtime: systemRuntime });
      keys = new Map(fetched.map(({ id, pem }) => [id, pinVerificationKey(pem)]));
    };
    return { url: server.url, acknowledged, trust, close: () => server.close() };
  }

  /** `doctor --register`. */
  async function register(destination?: string) {
    const [sender] = await sendersForDiagnosis({ senders: [configOf(destination)] }, systemRuntime);
    if (sender === undefined) throw new Error('no sender');
    const own = { endpoint: fake.url, iamUrl: fake.url, runtime: systemRuntime };
    const { relay } = secretsManagerDiagnosis({ instance: source, credentials: new Secret(key), ...own });
    const signal = () => AbortSignal.timeout(30_000);
    const findings = await checkSender(sender, { base: receiver.url, signal, relay });
    return findings.filter(({ outcome }) => outcome === 'problem').map(({ message }) => message);
  }

  async function client(command: string, given: object): Promise<unknown> {
    const script = fileURLToPath(new URL('./event-notifications-client.py', import.meta.url));
    const at = [`${fake.url}/event-notifications`, fake.url, key, guid, command];
    const [program = '', ...args] = withClient?.('python3', script, ...at) ?? [];
    const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] });
    child.stdin.end(JSON.stringify(given));
    const [output] = await Promise.all([text(child.stdout), once(child, 'exit')]);
    return JSON.parse(output);
  }

  const url = () => `${receiver.url}/callback/events`;

  it('lists and reads what doctor has made, and sends through it', async () => {
    await register();
    const [destination = ''] = fake.there.destinations.keys();
    const types = ['created', 'rotated', 'deleted', 'revoked'].map((what) => `secret_${what}`);
    expect(await client('see', {})).toEqual({
      ...{ sources: 1, destinations: 1, topics: 1, subscriptions: 1, signed: true },
      destination: { type: 'webhook', subscribed: 1, url: url(), verb: 'post' },
      topic: [[...types, 'test_event'].map((type) => `$.type == 'com.ibm.cloud.secrets-manager.${type}'`)],
      subscription: [true, true],
    });
    expect(await client('test', { destination })).toEqual({ answered: 503 });
    await receiver.trust(destination);
    expect(await client('test', { destination })).toEqual({ answered: 200 });
    expect(await register(destination)).toEqual([]);
    const id = 'aaaaaaaa-0000-4000-8000-000000000001';
    expect(await fake.emit('secret_rotated', [id])).toBe(1);
    expect(receiver.acknowledged).toMatchObject([{ changes: true, certificates: [{ id }] }]);
  }, 180_000);

  it('makes by its own calls what doctor then takes as it stands', async () => {
    await register();
    for (const kind of ['subscriptions', 'topics', 'destinations'] as const)
      for (const id of [...fake.there[kind].keys()]) fake.remove(kind, id);
    const made = (await client('make', { source, url: url() })) as { readonly destination: string };
    await receiver.trust(made.destination);
    expect(await register(made.destination)).toEqual([]);
    expect(await client('see', {})).toMatchObject({ destinations: 1, topics: 1, subscriptions: 1, topic: [['$.*']] });
    await fake.emit('secret_created', ['aaaaaaaa-0000-4000-8000-000000000002']);
    expect(receiver.acknowledged).toHaveLength(1);
  }, 180_000);
});
