import type { Config } from '../config.ts';
import { defined } from '../defined.ts';
import type { Runtime } from '../runtime.ts';
import type { SenderDiagnosis, SenderDiagnosisContext, SetUpStep } from '../services/service.ts';
import { partsOf } from './services.ts';

export type { SetUpStep };

/** A sender of the configuration, for those who look whether its messages will arrive. */
export interface SenderForDiagnosis {
  readonly name: string;
  /** Name of the store that it tells of. */
  readonly store: string;
  readonly diagnosis?: SenderDiagnosis;
  /**
   * Fetches the keys that prove it, as the sweep does, and answers how many there are. Absent:
   * nobody serves them.
   */
  readonly fetchKeys?: () => Promise<number>;
}

/** The senders of a configuration. Nothing is sent or fetched yet. */
export async function sendersForDiagnosis(
  { senders = [], table }: Pick<Config, 'senders'> & Partial<Pick<Config, 'table'>>,
  runtime: Runtime,
): Promise<readonly SenderForDiagnosis[]> {
  const context = { runtime, ...defined({ deployment: table && deploymentOn(table) }) };
  const found = senders.map(async (sender): Promise<SenderForDiagnosis> => {
    const parts = partsOf(sender);
    const [diagnosis, keys] = await Promise.all([parts.senderDiagnosis?.(), parts.keys?.()]);
    return {
      name: sender.name,
      store: sender.store,
      ...defined({ diagnosis: diagnosis?.senderDiagnosisOf(sender as never, context) }),
      ...(keys && { fetchKeys: async () => (await keys.fetchKeys(sender as never, { runtime })).length }),
    };
  });
  return Promise.all(found);
}

/** What a table says of the functions that use it: `npm run deploy` names it after their stage. */
function deploymentOn(table: Config['table']): SenderDiagnosisContext['deployment'] {
  if (table.kind !== 'dynamodb') return undefined;
  const [, stage] = /^certstandby-([a-z][a-z0-9-]*)$/.exec(table.name) ?? [];
  return { region: table.region, ...defined({ stage }) };
}
