import type { Config } from '../config.ts';
import { asCodedError, CodedError } from '../errors.ts';
import type { Callback } from '../receiver/receiver.ts';
import type { LinkRecords } from '../records/link-records.ts';
import { isUsable } from '../records/verification-key-records.ts';
import { acknowledge, type Intake } from '../replication/acknowledge.ts';
import type { LifecycleEvent } from '../sender/event.ts';
import type { Sender } from '../sender/sender.ts';
import { verificationKeyCache } from '../sender/verification-keys.ts';
import { partsOf } from './services.ts';

/**
 * Called for each acknowledged event on each link that it reached. `sender`: who told; `at`: when
 * it came, before any look that it asks for, epoch milliseconds.
 */
export type Acknowledged = (
  link: string,
  event: LifecycleEvent,
  answer: 'new' | 'repeat',
  sender: string,
  at: number,
) => void;

/**
 * The callbacks: one of each link whose primary tells of itself, and one of each sender of the
 * configuration. A primary that signs nothing has none of its own, for whatever came there could
 * not be proven genuine. What arrives reaches every link that has the store as primary, whichever
 * of its senders told.
 */
export async function callbacksOf(
  config: Pick<Config, 'stores' | 'links' | 'senders'>,
  intake: Intake & { readonly linkRecords: Pick<LinkRecords, 'verificationKeys' | 'noteTest'> },
  acknowledged: Acknowledged = () => {},
): Promise<readonly Callback[]> {
  const { runtime, linkRecords } = intake;
  const { stores, links, senders = [] } = config;

  /** What became of the events of a store. */
  const acknowledgeFor = (store: string, sender: string): Callback['acknowledge'] => {
    const names = links.filter(({ primary }) => primary === store).map(({ name }) => name);
    return async (events) => {
      const at = runtime.now();
      const answer = await acknowledge(intake, names, events, sender);
      for (const link of names) for (const event of events) acknowledged(link, event, answer, sender, at);
      return answer;
    };
  };

  /** The keys that the sweep has fetched for the callback of a link or a sender. */
  const keysOnTable = (name: string, { keysFrom }: Sender): Callback['verificationKeys'] =>
    verificationKeyCache({
      runtime,
      async load() {
        const { keys } = await linkRecords.verificationKeys(name);
        return keys.filter((key) => key.from === keysFrom && isUsable(key, runtime.now()));
      },
    });

  const ofStores = new Map(
    await Promise.all(stores.map(async (store) => [store.name, { store, sender: await senderOf(store) }] as const)),
  );
  const ofLinks = links.flatMap(({ name, primary, verificationKey: pinned }): Callback[] => {
    const { store, sender } = ofStores.get(primary) ?? {};
    if (store === undefined || sender === undefined) return [];
    return [
      {
        name,
        told: { sender: store.kind, link: name },
        sender,
        verificationKeys:
          pinned === undefined
            ? keysOnTable(name, sender)
            : verificationKeyCache({ runtime, load: async () => [{ id: 'pinned', pem: pinned }] }),
        acknowledge: acknowledgeFor(primary, store.kind),
        noteTest: () => linkRecords.noteTest(name, runtime.now()),
      },
    ];
  });
  const ofSenders = senders.map(async (config): Promise<readonly Callback[]> => {
    if (partsOf(config).sender === undefined)
      throw new CodedError(
        'configuration_invalid',
        `the sender ${config.name} is a ${config.kind}, which sends nothing`,
      );
    const sender = await senderOf(config);
    // What the platform brings comes to no callback URL.
    if (sender === undefined) return [];
    const { keys } = sender;
    return [
      {
        name: config.name,
        told: { sender: config.name },
        sender,
        verificationKeys: keys === undefined ? keysOnTable(config.name, sender) : async () => keys,
        acknowledge: acknowledgeFor(config.store, config.name),
        noteTest: () => linkRecords.noteTest(config.name, runtime.now()),
      },
    ];
  });
  return [...ofLinks, ...(await Promise.all(ofSenders)).flat()];
}

/**
 * Who sends as a store of the configuration, or as a sender of its own; `undefined` if nobody does.
 */
async function senderOf(config: { readonly name: string; readonly kind: string }): Promise<Sender | undefined> {
  return (await partsOf(config).sender?.())?.senderOf(config as never);
}

async function deliveredOf(config: { readonly name: string; readonly kind: string }) {
  return (await partsOf(config).delivery?.())?.deliveredOf(config as never);
}

/** What one message of the platform came to: nobody's concern, or as a receiver answers. */
export type Delivery = 'foreign' | 'malformed' | 'noted' | 'new' | 'repeat';

/**
 * Takes what the platform brings, message by message, and acknowledges it for whichever of the
 * senders of the configuration it is of. Throws only where it could not be made durable.
 */
export async function deliveriesOf(
  config: Pick<Config, 'links' | 'senders'>,
  intake: Intake,
): Promise<(body: Uint8Array) => Promise<Delivery>> {
  const { links, senders = [] } = config;
  const read = await Promise.all(senders.map(async (sender) => ({ sender, read: await deliveredOf(sender) })));
  return async (body) => {
    let found: Delivery = 'foreign';
    for (const { sender, read: events } of read) {
      if (events === undefined) continue;
      try {
        const told = events(body);
        if (told.length === 0) continue;
        const changes = told.filter((event) => event.changes);
        const names = links.filter(({ primary }) => primary === sender.store).map(({ name }) => name);
        const answer = changes.length === 0 ? 'noted' : await acknowledge(intake, names, changes, sender.name);
        if (found !== 'new') found = answer;
      } catch (thrown) {
        const { code } = asCodedError(thrown);
        if (code === 'notification_foreign') continue;
        if (code !== 'notification_malformed') throw thrown;
        if (found === 'foreign') found = 'malformed';
      }
    }
    return found;
  };
}
