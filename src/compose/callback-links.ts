import type { Config, StoreConfig } from '../config.ts';
import { verifyCallback } from '../notification/certificate-manager.ts';
import type { LifecycleEvent } from '../notification/event.ts';
import { verificationKeyCache } from '../notification/verification-keys.ts';
import type { CallbackLink } from '../receiver/receiver.ts';
import type { LinkRecords } from '../records/link-records.ts';
import { acknowledge, type Intake } from '../replication/acknowledge.ts';
import type { CertificateManagerConfig } from '../services/certificate-manager/settings.ts';

/** The links that have a callback: a primary that signs nothing has none, for whatever came there could not be proven genuine. */
export function callbackLinks(
  config: Pick<Config, 'stores' | 'links'>,
  intake: Intake & { readonly links: Pick<LinkRecords, 'verificationKey'> },
  acknowledged: (link: string, event: LifecycleEvent, answer: 'new' | 'repeat') => void = () => {},
): readonly CallbackLink[] {
  const { runtime, links } = intake;
  return config.links.flatMap(({ name, primary, verificationKey: pinned }): CallbackLink[] => {
    const verify = verifierOf(config.stores.find((store) => store.name === primary));
    if (verify === undefined) return [];
    const load = async () => pinned ?? links.verificationKey(name);
    return [
      {
        name,
        verify,
        verificationKey: verificationKeyCache({ runtime, load }),
        async acknowledge(event) {
          const answer = await acknowledge(intake, name, event);
          acknowledged(name, event, answer);
          return answer;
        },
      },
    ];
  });
}

/** How a notification of this primary is proven genuine; `undefined` if it signs none. */
function verifierOf(store: StoreConfig | undefined): CallbackLink['verify'] | undefined {
  if (store?.kind !== 'certificate-manager') return undefined;
  const { instance } = store as CertificateManagerConfig;
  return (body, publicKey) => verifyCallback(body, { instance, publicKey });
}
