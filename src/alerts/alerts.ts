import { asCodedError, CodedError } from '../errors.ts';
import type { Finding, Judged } from '../findings/status-words.ts';
import { errorFields, type Log } from '../log.ts';
import type { Row } from '../table/table.ts';
import { clean, duration } from '../words.ts';
import type { ChannelRow, FindingRow, Mark } from './alert-rows.ts';
import type { HeartbeatConfig } from './channel.ts';
import { type Courier, channelFinding, damagedFinding, deliver, type OpenChannel, toTell } from './deliver.ts';
import { type AlertTimes, evaluate, type Seen } from './evaluate.ts';
import { heartbeat } from './heartbeat.ts';
import type { Severity } from './message.ts';

/** A link, and what is wrong with it now. */
export interface WatchedLink {
  readonly name: string;
  /** As `status` judges it. Throws what the table throws. */
  readonly judge: () => Promise<Pick<Judged, 'wrong' | 'near'>>;
}

/** A channel as a person sees it. */
export interface ChannelState extends Pick<ChannelRow, 'failingSince' | 'error' | 'takenAt'> {
  readonly name: string;
  readonly kind: string;
  /** Findings that it has not heard the last of. */
  readonly waiting: number;
}

export interface Alerts {
  /**
   * Looks for what is wrong, and tells every channel what it has not heard. Answers whether all
   * links could be looked at. A channel that takes long is waited for half a minute, and goes on
   * while others have their turn. Throws what the table throws.
   */
  round(): Promise<boolean>;
  /** Resolves when nothing is being sent any more. */
  settled(): Promise<void>;
  /**
   * The findings that stand, or of which it is still to be told that they are over; and the names
   * of those of which a row cannot be read: the next round puts these right.
   */
  findings(): Promise<{ readonly findings: readonly FindingRow[]; readonly unreadable: readonly string[] }>;
  channels(): Promise<readonly ChannelState[]>;
  /**
   * Until that moment (epoch milliseconds) no channel is told of this finding (`mute`), or it is
   * not told again (`acknowledge`). Throws `usage` if there is no such finding, and
   * `table_row_unreadable` if what is kept of it cannot be read.
   */
  quiet(id: string, how: 'mute' | 'acknowledge', until: number): Promise<FindingRow>;
}

/** What need not wake anybody, though it is to be seen to. */
const lighter: readonly string[] = ['silence', 'waiting', 'not-read', 'overwritten', 'filter'];

const severityOf = ({ name }: Finding): Severity =>
  lighter.includes(name.split('/')[0] ?? '') ? 'warning' : 'critical';

/** How many findings are named whose rows could not be read. */
const namesTold = 10;

/** How long the end of a finding is kept for channels that only another configuration knows. */
const elsewhereMs = 7 * 86_400_000;

/** How long a round waits for what is being sent. */
const turnMs = 30_000;

/** Nobody is asked anything yet. */
export function openAlerts(
  courier: Courier,
  given: {
    readonly links: readonly WatchedLink[];
    readonly channels: readonly OpenChannel[];
    readonly times: AlertTimes;
    readonly heartbeat?: HeartbeatConfig | undefined;
  },
): Alerts {
  const { rows, runtime, log } = courier;
  const { links, channels, times } = given;
  const { http, signal } = courier;
  const watcher = given.heartbeat && heartbeat(given.heartbeat, { http, now: () => runtime.now(), log, signal });

  /** All findings, and the rows that cannot be read. */
  async function read() {
    const unreadable: Row[] = [];
    const found = await rows.findings((row) => void unreadable.push(row));
    for (const row of unreadable) log('error', 'alert_row_unreadable', { finding: rows.nameOf(row) });
    return { found, unreadable };
  }

  /**
   * All findings, once rows that could not be read are put right, and what is to be told of these.
   */
  async function readMended(
    now: number,
  ): Promise<{ readonly found: readonly FindingRow[]; readonly damage: readonly Seen[] }> {
    const { found, unreadable } = await read();
    if (unreadable.length === 0) return { found, damage: [] };
    for (const row of unreadable)
      await rows.mend(row, now).catch((thrown: unknown) => {
        log('error', 'alert_row_not_mended', { finding: rows.nameOf(row), ...errorFields(asCodedError(thrown)) });
      });
    const names = unreadable.map((row) => clean(rows.nameOf(row)));
    const more = names.length > namesTold ? ` and ${names.length - namesTold} more` : '';
    const damage = damaged(
      `what was kept of findings could not be read on the table: ${names.slice(0, namesTold).join(', ')}${more}; what stands is told anew`,
    );
    return { found: (await read()).found, damage: [damage] };
  }

  /** A link that cannot be judged is a finding, and of its others nothing is known. */
  async function seenOf({ name, judge }: WatchedLink): Promise<readonly Seen[] | undefined> {
    try {
      const { wrong, near } = await judge();
      return [
        ...wrong.map((each) => seen(name, each, severityOf(each))),
        ...near.map((each) => seen(name, each, 'warning')),
      ];
    } catch (thrown) {
      log('error', 'alert_status_failed', { link: name, ...errorFields(asCodedError(thrown)) });
      return undefined;
    }
  }

  /** Whether no channel of this configuration has anything to hear of a finding. */
  const isHeardHere = (row: FindingRow): boolean => channels.every((channel) => toTell(channel, row) === undefined);

  const own: ReadonlySet<string> = new Set(channels.map(({ config }) => config.name));
  /**
   * Whether no channel of another configuration on this table waits for the end of what it heard
   * of. One that is nobody's any more is not waited for long.
   */
  const isHeardElsewhere = ({ heard, endedAt = 0 }: Pick<FindingRow, 'heard' | 'endedAt'>, now: number): boolean =>
    now - endedAt >= elsewhereMs || [...heard].every(([name, { as }]) => own.has(name) || as === 'over');

  /** What is being sent, by channel: to each one thing at a time. */
  const sending = new Map<string, Promise<void>>();

  /** Goes on with every channel at which nobody is, and waits for these, but not for ever. */
  async function deliverAll(): Promise<void> {
    const idle = channels.filter(({ config }) => !sending.has(config.name));
    const begun = idle.map((channel) => {
      const { name } = channel.config;
      const delivery = deliver(courier, channel).finally(() => sending.delete(name));
      sending.set(name, delivery);
      return delivery;
    });
    const done = new AbortController();
    const late = runtime.wait(turnMs, done.signal).catch(() => undefined);
    await Promise.race([Promise.all(begun), late]);
    done.abort();
  }

  async function channelState(channel: OpenChannel, found: readonly FindingRow[]): Promise<ChannelState> {
    const { name, kind } = channel.config;
    const waiting = found.filter((row) => toTell(channel, row) !== undefined).length;
    try {
      const { failingSince, error, takenAt } = await rows.channel(name);
      return { name, kind, failingSince, error, takenAt, waiting };
    } catch (thrown) {
      const { code, message, remedy } = asCodedError(thrown);
      return { name, kind, error: { at: runtime.now(), code, message, remedy }, waiting };
    }
  }

  return {
    async round() {
      const now = runtime.now();
      // First the channels: what one has taken meanwhile is then in the rows of its findings.
      const looked = await Promise.all(channels.map((channel) => lookAt(channel, log, rows, now)));
      const underWay = new Set(looked.flatMap(({ marks }) => marks.map(({ id }) => id)));
      const { found, damage } = await readMended(now);
      const judged = new Map(await Promise.all(links.map(async (link) => [link.name, await seenOf(link)] as const)));
      await evaluate(rows, {
        seen: [
          ...[...judged].flatMap(([name, all]) => all ?? [unjudged(name)]),
          ...looked.flatMap(({ failing }) => failing),
          ...damage,
        ],
        found,
        // Links that are no longer configured are over.
        unseen: (link) => link !== undefined && judged.has(link) && judged.get(link) === undefined,
        isToldToAll: ({ id, ...row }) => !underWay.has(id) && isHeardHere({ id, ...row }) && isHeardElsewhere(row, now),
        times,
        now,
      });
      await deliverAll();
      const isWhole = [...judged.values()].every((all) => all !== undefined);
      await watcher?.after(isWhole);
      return isWhole;
    },
    async settled() {
      await Promise.all(sending.values());
    },
    async findings() {
      const { found, unreadable } = await read();
      const shown = found.filter((row) => row.state === 'open' || (row.state === 'over' && !isHeardHere(row)));
      return { findings: shown, unreadable: unreadable.map(rows.nameOf) };
    },
    async channels() {
      const { found } = await read();
      return Promise.all(channels.map((channel) => channelState(channel, found)));
    },
    async quiet(id, how, until) {
      const { found, unreadable } = await read();
      if (unreadable.some((each) => rows.nameOf(each) === id))
        throw new CodedError('table_row_unreadable', `what is kept of the finding ${clean(id)} is damaged`, {
          fields: { finding: id, remedy: 'The next look of certstandby serve puts it right: try again then.' },
        });
      const row = found.find((each) => each.id === id && each.state !== 'waiting');
      if (row === undefined) {
        const there = found.flatMap((each) => (each.state === 'waiting' ? [] : [each.id]));
        const words = there.length === 0 ? 'there is none' : `there are: ${there.join(', ')}`;
        throw new CodedError('usage', `there is no finding ${clean(id)}; ${words}`);
      }
      const change = how === 'mute' ? { mutedUntil: until } : { acknowledgedUntil: until };
      if (await rows.change(row, change)) return { ...row, ...change };
      throw new CodedError('table_unavailable', `the finding ${id} changed at the same moment: try again`);
    },
  };
}

const seen = (link: string, { name, words, since, mayPass }: Finding, severity: Severity): Seen => ({
  id: `${link}/${name}`,
  link,
  severity,
  words: words.split('\n').map((line) => clean(line.trim())),
  ...(since !== undefined && { since }),
  ...(mayPass === true && { mayPass }),
});

/** A row of alerts could not be read: of the disk, or of somebody who writes there. */
const damaged = (what: string): Seen => ({
  id: damagedFinding,
  severity: 'critical',
  words: [
    what,
    'Only certstandby writes these rows: see who else does, whether the disk is sound, and whether every program on the table is of one version.',
  ],
});

/** Nothing of what cannot be read is said of it but that. */
const unjudged = (link: string): Seen => ({
  id: `${link}/unknown`,
  link,
  severity: 'critical',
  words: ['how it stands cannot be told, as its records cannot be read', 'certstandby status says why.'],
  mayPass: true,
});

/** What is being sent to a channel; and one that takes no messages is told of on the others. */
async function lookAt(
  { config: { name, kind } }: OpenChannel,
  log: Log,
  rows: Courier['rows'],
  now: number,
): Promise<{ readonly failing: readonly Seen[]; readonly marks: readonly Mark[] }> {
  try {
    const { failingSince, error, marks = [] } = await rows.channel(name);
    if (failingSince === undefined || error === undefined) return { failing: [], marks };
    const words = [
      `the channel ${name} (${kind}) of alerts has taken no message for ${duration(now - failingSince)}`,
      clean(`${error.message} [${error.code}]`),
      clean(error.remedy),
    ];
    const seen = { id: channelFinding(name), severity: 'critical', words, since: failingSince, mayPass: true } as const;
    return { failing: [seen], marks };
  } catch (thrown) {
    const error = asCodedError(thrown);
    log('error', 'alert_failed', { channel: name, ...errorFields(error) });
    if (error.code === 'table_row_unreadable' && (await mended(rows, name, now, log))) {
      const what = `what was kept of the channel ${name} (${kind}) of alerts could not be read on the table; what it was being told may come twice`;
      return { failing: [damaged(what)], marks: [] };
    }
    const first = `nothing can be told to the channel ${name} (${kind}) of alerts`;
    const words = [first, clean(`${error.message} [${error.code}]`), clean(error.remedy)];
    return { failing: [{ id: channelFinding(name), severity: 'critical', words, mayPass: true }], marks: [] };
  }
}

/** Puts the row of a channel right. Answers whether that was done, here or elsewhere. */
async function mended(rows: Courier['rows'], name: string, now: number, log: Log): Promise<boolean> {
  try {
    await rows.mendChannel(name, now);
    await rows.channel(name);
    return true;
  } catch (thrown) {
    log('error', 'alert_row_not_mended', { channel: name, ...errorFields(asCodedError(thrown)) });
    return false;
  }
}
