import type { Config, StoreConfig } from '../config.ts';
import type { LifecycleEvent } from '../notification/event.ts';
import { verificationKeyCache, withAnyKey } from '../notification/verification-keys.ts';
import type { CallbackLink } from '../receiver/receiver.ts';
import type { LinkRecords } from '../records/link-records.ts';
import { isUsable } from '../records/verification-key-records.ts';
import { acknowledge, type Intake } from '../replication/acknowledge.ts';
import { verifyCallback } from '../services/certificate-manager/sender.ts';
import type { CertificateManagerConfig } from '../services/certificate-manager/settings.ts';

/**
 * The links that have a callback: a primary that signs nothing has none, for whatever came there could not be proven genuine. What
 * arrives at the callback of one link reaches every link that has the same primary: they may have one sender, or several.
 */
export function callbackLinks(
  config: Pick<Config, 'stores' | 'links'>,
  intake: Intake & { readonly links: Pick<LinkRecords, 'verificationKeys'> },
  acknowledged: (link: string, event: LifecycleEvent, answer: 'new' | 'repeat') => void = () => {},
): readonly CallbackLink[] {
  const { runtime, links } = intake;
  const storeOf = (primary: string) => config.stores.find((store) => store.name === primary);
  return config.links.flatMap(({ name, primary, verificationKey: pinned }): CallbackLink[] => {
    const sender = senderOf(storeOf(primary));
    if (sender === undefined) return [];
    const reached = config.links.filter((link) => senderOf(storeOf(link.primary))?.store === sender.store);
    const names = reached.map((link) => link.name);
    return [
      {
        name,
        verify: sender.verify,
        verificationKeys: verificationKeyCache({
          runtime,
          async load() {
            if (pinned !== undefined) return [{ id: 'pinned', pem: pinned }];
            const { keys } = await links.verificationKeys(name);
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

/** Which store a primary's notifications are of, and how one is proven genuine; `undefined` if it signs none. */
function senderOf(
  store: StoreConfig | undefined,
): { readonly store: string; readonly verify: CallbackLink['verify'] } | undefined {
  if (store?.kind !== 'certificate-manager') return undefined;
  const { instance } = store as CertificateManagerConfig;
  return {
    store: instance,
    verify: (body, keys) => [withAnyKey(keys, (publicKey) => verifyCallback(body, { instance, publicKey }))],
  };
}
