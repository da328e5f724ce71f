import type { Config } from '../../config.ts';
import { asCodedError } from '../../errors.ts';
import type { Runtime } from '../../runtime.ts';
import { clean } from '../output/text.ts';
import { type Finding, good, problem } from './checks.ts';

/**
 * Checks who would be told: what each channel refers to is there and well formed, and it can be
 * reached. Nothing is sent; what only a message shows, the command that sends one does.
 */
export async function checkAlerts(
  { alerts }: Pick<Config, 'alerts'>,
  given: { readonly config: string; readonly runtime: Runtime; readonly signal: () => AbortSignal },
): Promise<readonly Finding[]> {
  if (alerts === undefined) return [];
  const { channelsToTry } = await import('../../compose/alerts.ts');
  const channels = channelsToTry(alerts, given.runtime);
  return Promise.all(
    channels.map(async ({ name, kind, reach }): Promise<Finding> => {
      const about = `alerts ${name}`;
      const line = `certstandby alerts test ${name} --config ${given.config}`;
      try {
        const found = await reach(given.signal());
        return good(about, `${kind} ${clean(found)}; a message proves it: ${line}`);
      } catch (thrown) {
        const { code, message, remedy, fields } = asCodedError(thrown);
        const { mistakes } = fields;
        const words = Array.isArray(mistakes) ? mistakes.join('; ') : message;
        return problem(about, code, clean(words), `${remedy} Then: ${line}`);
      }
    }),
  );
}
