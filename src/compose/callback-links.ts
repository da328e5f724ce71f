import type { Config, StoreConfig } from '../config.ts';
import type { CallbackLink } from '../receiver/receiver.ts';
import type { LinkRecords } from '../records/link-records.ts';
import { isUsable } from '../records/verification-key-records.ts';
import { acknowledge, type Intake } from '../replication/acknowledge.ts';
import type { LifecycleEvent } from '../sender/event.ts';
import { verificationKeyCache } from '../sender/verification-keys.ts';
import type { Sender } from '../services/service.ts';
import { partsOf } from './services.ts';

/**
 * The links that have a callback: a primary that signs nothing has none, for whatever came there could not be proven genuine. What
 * arrives at the callback of one link reaches every link that has the same primary: they may have one sender, or several.
 */
export async function callbackLinks(
  config: Pick<Config, 'stores' | 'links'>,
  intake: Intake & { readonly linkRecords: Pick<LinkRecords, 'verificationKeys'> },
  acknowledged: (link: string, event: LifecycleEvent, answer: 'new' | 'repeat') => void = () => {},
): Promise<readonly CallbackLink[]> {
  const { runtime, linkRecords } = intake;
  const senders = new Map(
    await Promise.all(config.stores.map(async (store) => [store.name, await senderOf(store)] as const)),
  );
  return config.links.flatMap(({ name, primary, verificationKey: pinned }): CallbackLink[] => {
    const sender = senders.get(primary);
    if (sender === undefined) return [];
    const reached = config.links.filter((link) => senders.get(link.primary)?.store === sender.store);
    const names = reached.map((link) => link.name);
    return [
      {
        name,
        verify: sender.verify,
        verificationKeys: verificationKeyCache({
          runtime,
          async load() {
            if (pinned !== undefined) return [{ id: 'pinned', pem: pinned }];
            const { keys } = await linkRecords.verificationKeys(name);
            return keys.filter((key) => isUsable(key, runtime.now()));
          },
        }),
        async acknowledge(events) {
          const answer = await acknowledge(intake, names, events);
          for (const link of names) for (const event of events) acknowledged(link, event, answer);
          return answer;
        },
      },
    ];
  });
}

/** Who signs the notifications of a store; `undefined` if nobody does. */
async function senderOf(store: StoreConfig): Promise<Sender | undefined> {
  return (await partsOf(store).sender?.())?.senderOf(store as never);
}
