import { asCodedError, type CodedError } from '../errors.ts';
import type { HttpClient } from '../http/client.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import type { ProcessOwner, Runtime } from '../runtime.ts';
import type { AlertRows, ChannelRow, FindingRow, Mark } from './alert-rows.ts';
import type { ChannelConfig, ChannelKind } from './channel.ts';
import { isMuted } from './evaluate.ts';
import type { Message, Told } from './message.ts';

/** A channel of the configuration with what sends to it. */
export interface OpenChannel {
  readonly config: ChannelConfig;
  readonly kind: Pick<ChannelKind, 'together' | 'longestMs' | 'send' | 'reach'>;
}

export interface Courier {
  readonly rows: AlertRows;
  readonly http: HttpClient;
  readonly runtime: Runtime;
  readonly owner: ProcessOwner;
  readonly log: Log;
  readonly signal: AbortSignal;
}

/** How much longer a channel is held than a message may take; and how far clocks may differ. */
const leaseRoomMs = 30_000;
const skewMs = 5_000;
/** Waits after failures, one after the other; the last one repeats. */
const waitsMs = [60_000, 2 * 60_000, 5 * 60_000, 15 * 60_000, 30 * 60_000, 3_600_000];
/** How long a finding that was refused for what it says is left alone, and each goes by itself. */
const restMs = 3_600_000;

const leaseOf = ({ kind: { longestMs = 2 * limits.alertRequestMs } }: OpenChannel): number => longestMs + leaseRoomMs;

const severityRank = { critical: 0, warning: 1 } as const;

/** Whether a channel is to be told of a finding at all. */
function wants({ config: { name, least, links } }: OpenChannel, { id, link, severity }: FindingRow): boolean {
  // That it does not take messages cannot be told to itself.
  if (id === channelFinding(name)) return false;
  if (links !== undefined && link !== undefined && !links.includes(link)) return false;
  return least === 'warning' || severity === 'critical';
}

/**
 * The id of the finding that rows of alerts could not be read. No link and no channel is called so.
 */
export const damagedFinding = 'alerts.damaged';

/** The id of the finding that a channel takes no messages. No link is called so. */
export const channelFinding = (channel: string): string => `alerts:${channel}`;

/**
 * What a channel is to be told of a finding now; `undefined` if it has heard the last of it. What
 * was muted before anybody heard of it, and is over, is not told.
 */
export function toTell(channel: OpenChannel, row: FindingRow): Told | undefined {
  const { id, link, severity, words, since, endedAt, state, version, mutedUntil } = row;
  const heard = row.heard.get(channel.config.name);
  if (version === 0 || (heard?.version ?? 0) >= version) return undefined;
  // Who heard that it is there hears that it is over, whatever the configuration says by then.
  if (!(state === 'over' && heard?.as === 'open') && !wants(channel, row)) return undefined;
  if (state === 'over' && heard?.as !== 'open' && mutedUntil !== undefined) return undefined;
  const event = state === 'over' ? 'over' : heard?.as === 'open' ? 'stands' : 'began';
  const about = link === undefined ? {} : { link };
  const until = endedAt === undefined || state !== 'over' ? {} : { until: endedAt };
  const unheard = event === 'over' && heard?.as !== 'open' ? { unheard: true as const } : {};
  return { id, ...about, event, severity, since, ...until, ...unheard, words };
}

/**
 * Tells a channel what it has not heard, at least once: the message is on the table before it is
 * sent, and until it is known what became of it, so that whoever goes on after a crash sends the
 * same one. What a channel did not take is made anew from how things stand at the next attempt. A
 * channel that another worker is at is left to it. Never throws: what one channel does holds up no
 * other.
 */
export async function deliver(courier: Courier, channel: OpenChannel): Promise<void> {
  const { name } = channel.config;
  try {
    const claimed = await claim(courier, channel);
    if (claimed === undefined) return;
    try {
      await tell(courier, channel, claimed);
    } finally {
      await courier.rows.keep(name, claimed.token, {}, ['until', 'owner']);
    }
  } catch (thrown) {
    courier.log('error', 'alert_failed', { channel: name, ...errorFields(asCodedError(thrown)) });
  }
}

/** Takes the channel, if there is something to tell it now and nobody else is at it. */
async function claim({ rows, runtime, owner, log }: Courier, channel: OpenChannel): Promise<ChannelRow | undefined> {
  const { name } = channel.config;
  const now = runtime.now();
  const kept = await rows.channel(name);
  const found = await findings(rows, log);
  const isDue = kept.message !== undefined || pending(channel, found, now).length > 0;
  const isWaiting = (kept.notBefore ?? 0) > now;
  if ((isWaiting || !isDue) && !hasOverFailed(channel, kept, found)) return undefined;
  const lease = { owner: owner.id, now, until: now + leaseOf(channel), skewMs };
  let claimed = await rows.claim(name, lease);
  // A program that was killed and started again need not wait for its own lease.
  if ('taken' in claimed && owner.hasDied(claimed.taken.owner ?? ''))
    claimed = await rows.claim(name, lease, claimed.taken.token);
  return 'row' in claimed ? claimed.row : undefined;
}

const findings = (rows: AlertRows, log: Log) =>
  rows.findings((row) => log('error', 'alert_row_unreadable', { finding: rows.nameOf(row) }));

/** Whether a channel failed at what is over by now, so that nothing waits for it any more. */
const hasOverFailed = (
  channel: OpenChannel,
  { failingSince, message }: ChannelRow,
  found: readonly FindingRow[],
): boolean =>
  failingSince !== undefined && message === undefined && found.every((row) => toTell(channel, row) === undefined);

interface Pending {
  readonly told: Told;
  readonly mark: Mark;
}

/** What a channel has not heard, what weighs most first. */
function pending(channel: OpenChannel, found: readonly FindingRow[], now: number): readonly Pending[] {
  const { name } = channel.config;
  const waiting = found.flatMap((row) => {
    const told = isMuted(row, now) || (row.restsUntil.get(name) ?? 0) > now ? undefined : toTell(channel, row);
    const as = row.state === 'over' ? ('over' as const) : ('open' as const);
    return told === undefined ? [] : [{ told, mark: { id: row.id, heard: { version: row.version, as } } }];
  });
  const rank = ({ told: { event, severity } }: Pending) => (event === 'over' ? 2 : severityRank[severity]);
  return waiting.toSorted((a, b) => rank(a) - rank(b) || a.told.since - b.told.since);
}

/** Sends until there is nothing left, the channel fails, or it is enough for one round. */
async function tell(courier: Courier, channel: OpenChannel, claimed: ChannelRow): Promise<void> {
  const { rows, runtime, log, signal } = courier;
  const { name } = channel.config;
  const { token } = claimed;
  let row = claimed;
  for (let sent = 0; sent < limits.alertMessages && !signal.aborted; sent += 1) {
    const now = runtime.now();
    const found = await findings(rows, log);
    if (await givenUp(rows, name, { row, found, now })) {
      row = await rows.channel(name);
      continue;
    }
    let { message, marks = [] } = row;
    if (message === undefined) {
      const next = pending(channel, found, now);
      const size = messageSize(channel, next.length, (row.aloneUntil ?? 0) > now);
      const chosen = next.slice(0, size);
      if (chosen.length === 0) {
        if (hasOverFailed(channel, row, found)) await rows.keep(name, token, { attempts: 0 }, over);
        return;
      }
      message = { id: `msg_${runtime.newId()}`, at: now, told: chosen.map(({ told }) => ({ ...told })) as never };
      marks = chosen.map(({ mark }) => mark);
    }
    // Longer than one message takes: nobody else sends meanwhile.
    const until = now + leaseOf(channel);
    if (!(await rows.keep(name, token, { message: message as Message, marks, until }))) return;
    if (row.taken !== true) {
      const failure = await attempt(courier, channel, message as Message);
      if (failure !== undefined) {
        // A stop is no failure of the channel; the message stays, and is sent after the next start.
        if (signal.aborted || !(await refused(courier, channel, { row, marks, failure }))) return;
        row = await rows.channel(name);
        continue;
      }
      // From here on it is not sent again, whatever happens.
      if (!(await rows.keep(name, token, { taken: true, takenAt: runtime.now(), attempts: 0 }, over))) return;
      log('info', 'alert_sent', { channel: name, message: message.id, findings: marks.map(({ id }) => id) });
    }
    for (const mark of marks) await rows.markHeard(name, mark);
    if (!(await rows.keep(name, token, {}, ['message', 'marks', 'taken']))) return;
    row = await rows.channel(name);
  }
}

/**
 * Gives up a message of which nobody knows whether it was taken, if a person has muted a finding in
 * it since. The channel may have heard of that one, and is told when it is over.
 */
async function givenUp(
  rows: AlertRows,
  name: string,
  { row, found, now }: { readonly row: ChannelRow; readonly found: readonly FindingRow[]; readonly now: number },
): Promise<boolean> {
  if (row.message === undefined || row.taken === true) return false;
  const muted = new Set(found.flatMap((each) => (isMuted(each, now) ? [each.id] : [])));
  const marks = (row.marks ?? []).filter(({ id }) => muted.has(id));
  if (marks.length === 0) return false;
  for (const { id, heard } of marks)
    if (heard.as === 'open') await rows.markHeard(name, { id, heard: { ...heard, version: heard.version - 1 } });
  return rows.keep(name, row.token, {}, ['message', 'marks']);
}

/** What a channel that takes messages has no more. */
const over = ['failingSince', 'error', 'notBefore'] as const;

function messageSize({ kind }: OpenChannel, waiting: number, alone: boolean): number {
  return kind.together && !alone && waiting > limits.alertsAlone ? limits.alertsTogether : 1;
}

async function attempt(
  { http, runtime, log, signal }: Courier,
  { config, kind }: OpenChannel,
  message: Message,
): Promise<CodedError | undefined> {
  try {
    await kind.send(config as never, message, { http, now: () => runtime.now(), log, signal });
    return undefined;
  } catch (thrown) {
    return asCodedError(thrown);
  }
}

/**
 * Notes that a channel did not take a message. Answers whether to go on: where it refused what the
 * message says, other findings may be taken.
 */
async function refused(
  { rows, runtime, log }: Courier,
  { config: { name } }: OpenChannel,
  { row, marks, failure }: { readonly row: ChannelRow; readonly marks: readonly Mark[]; readonly failure: CodedError },
): Promise<boolean> {
  const now = runtime.now();
  const { code, message, remedy, retryAfterMs = 0 } = failure;
  log('error', 'alert_not_taken', { ...errorFields(failure), channel: name, findings: marks.map(({ id }) => id) });
  const error = { at: now, code, message, remedy };
  const failing = { error, failingSince: row.failingSince ?? now };
  if (failure.fields.aboutMessage === true) {
    if (marks.length === 1) for (const { id } of marks) await rows.rest(name, id, now + restMs);
    return rows.keep(name, row.token, { ...failing, aloneUntil: now + restMs }, ['message', 'marks']);
  }
  const attempts = row.attempts + 1;
  const waitMs = Math.max(retryAfterMs, waitsMs[Math.min(attempts, waitsMs.length) - 1] ?? 0);
  // The next attempt tells how things stand then, unless this message may be there.
  const isOver = failure.entry.applied === 'no' || failure.fields.notTaken === true;
  const none = isOver ? (['message', 'marks'] as const) : [];
  await rows.keep(name, row.token, { ...failing, attempts, notBefore: now + waitMs }, none);
  return false;
}
