import { type AlertRows, alertRows } from '../alerts/alert-rows.ts';
import { type Alerts, openAlerts } from '../alerts/alerts.ts';
import type { ChannelKind } from '../alerts/channel.ts';
import { connectTo, reachedWords } from '../alerts/channel-reach.ts';
import type { OpenChannel } from '../alerts/deliver.ts';
import { beat } from '../alerts/heartbeat.ts';
import * as registry from '../alerts/registry.ts';
import { sendTest } from '../alerts/test-message.ts';
import type { AlertsConfig, Config } from '../config.ts';
import { CodedError } from '../errors.ts';
import { judgeStatus } from '../findings/status-words.ts';
import { httpClient } from '../http/client.ts';
import { limits } from '../limits.ts';
import { type Log, silentLog } from '../log.ts';
import type { Link } from '../replication/link.ts';
import type { LinkStatus } from '../replication/status.ts';
import type { ProcessOwner, Runtime } from '../runtime.ts';
import type { Table } from '../table/table.ts';

const kinds: readonly ChannelKind[] = Object.values(registry);

/** Whether there is anything to be done by the clock. */
export const isAnybodyTold = ({ channels, heartbeat }: AlertsConfig): boolean =>
  channels.length > 0 || heartbeat !== undefined;

/** Throws `configuration_invalid` where a reference of it leads nowhere. */
function openChannel({ name, kind: wanted, open }: AlertsConfig['channels'][number]): OpenChannel {
  const kind = kinds.find((each) => each.kind === wanted);
  if (kind === undefined) throw new CodedError('internal', `the channel ${name} is of no kind`);
  return { config: open(), kind };
}

const clientOf = ({ now }: Pick<Runtime, 'now'>) =>
  httpClient({
    runtime: { now },
    requestTimeoutMs: limits.alertRequestMs,
    answerBytes: limits.alertAnswerBytes,
  });

/** Who is told of what is wrong with these links, as `status` judges them. */
export function composeAlerts(
  alerts: AlertsConfig,
  given: {
    readonly config: Pick<Config, 'worker'>;
    readonly links: readonly Link[];
    readonly status: (link: Link) => Promise<LinkStatus>;
    /** A store by the name that the configuration gives it. */
    readonly nameOf: (store: string) => string;
    readonly table: Table;
    readonly runtime: Runtime;
    readonly owner: ProcessOwner;
    readonly log: Log;
    /** Ends what is being sent. */
    readonly signal: AbortSignal;
  },
): Alerts {
  const { config, links, status, nameOf, table, runtime, owner, log, signal } = given;
  const rows: AlertRows = alertRows(table);
  return openAlerts(
    { rows, http: clientOf(runtime), runtime, owner, log, signal },
    {
      links: links.map((link) => ({
        name: link.name,
        judge: async () => judgeStatus(await status(link), config.worker.reconcileEveryMs, nameOf),
      })),
      channels: alerts.channels.map(openChannel),
      times: alerts,
      heartbeat: alerts.heartbeat?.open(),
    },
  );
}

/** Channels and heartbeat of a configuration, to be tried one by one: no table is read. */
export function channelsToTry(alerts: AlertsConfig, runtime: Runtime) {
  const means = (signal: AbortSignal) => ({
    http: clientOf(runtime),
    now: () => runtime.now(),
    log: silentLog,
    signal,
  });
  const { heartbeat } = alerts;
  const channels = alerts.channels.map((channel) => ({
    name: channel.name,
    kind: channel.kind,
    /**
     * Throws `alert_unavailable` and `alert_refused`, and `configuration_invalid` where a reference
     * of the channel leads nowhere.
     */
    test: async (signal: AbortSignal) => sendTest(openChannel(channel), means(signal), runtime),
    /**
     * Looks whether it can be reached, and sends nothing: what was found, in words. Throws the
     * same.
     */
    reach: async (signal: AbortSignal) => {
      const { config, kind } = openChannel(channel);
      return kind.reach(config as never, { signal });
    },
  }));
  if (heartbeat === undefined) return channels;
  const test = async (signal: AbortSignal) => beat(heartbeat.open(), means(signal));
  const reach = async (signal: AbortSignal) => {
    const url = heartbeat.open().url.reveal();
    await connectTo({ url, who: 'the heartbeat of alerts', about: 'heartbeat', signal });
    return reachedWords(url);
  };
  return [...channels, { name: 'heartbeat', kind: 'a watcher', test, reach }];
}
