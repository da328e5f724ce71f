import { Secret } from '../../secret.ts';
import { notify } from '../../sender/notify.ts';
import type { KeysContext, SenderDiagnosis } from '../service.ts';
import type { StandardWebhooksConfig } from './settings.ts';

/** A shared secret signs here as it does there; of a key pair only the public half is here. */
export function senderDiagnosisOf(
  { secret }: Pick<StandardWebhooksConfig, 'secret'>,
  { runtime }: KeysContext,
): SenderDiagnosis {
  const trial = (to: string) => `certstandby notify --test --to ${to} --key file:its-private.key`;
  if (!(secret instanceof Secret)) return { trial };
  return {
    trial,
    async sendTest(to, { signal }) {
      await notify({ to, key: secret, test: true, withinMs: 0, runtime, signal });
    },
  };
}
