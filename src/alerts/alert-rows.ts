import { createHash } from 'node:crypto';
import * as z from 'zod/mini';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { type Condition, type Key, pagesOf, type Row, type Table, type Value } from '../table/table.ts';
import { type Message, severities } from './message.ts';

const heardSchema = z.object({
  /** Which version of the finding the channel has been told. */
  version: z.number(),
  /** As what it was told last: that it is there, or that it is over. */
  as: z.enum(['open', 'over']),
});

const findingSchema = z.object({
  id: z.string(),
  link: z.optional(z.string()),
  severity: z.enum(severities),
  words: z.array(z.string()),
  /**
   * `waiting`: it may pass by itself, and nobody is told yet. `open`: it is told, and stands.
   * `over`: that is still to be told, or has been muted.
   */
  state: z.enum(['waiting', 'open', 'over']),
  /**
   * Counts what is to be told of it, from the moment on at which there was first something: 0 while
   * nothing is. Each channel is told the last one. What comes again has a higher one.
   */
  version: z.number(),
  /** All epoch milliseconds: when it was first and last seen, since when it is as far as known. */
  firstSeenAt: z.number(),
  seenAt: z.number(),
  since: z.number(),
  /** When there was last something to be told of it. */
  toldAt: z.optional(z.number()),
  endedAt: z.optional(z.number()),
  /** Until when no channel is told anything of it: a person said so. */
  mutedUntil: z.optional(z.number()),
  /** Until when it is not told again: a person has seen it. */
  acknowledgedUntil: z.optional(z.number()),
});

const toldSchema = z.object({
  id: z.string(),
  link: z.optional(z.string()),
  event: z.enum(['began', 'stands', 'over', 'test']),
  severity: z.enum(severities),
  since: z.number(),
  until: z.optional(z.number()),
  unheard: z.optional(z.literal(true)),
  words: z.array(z.string()),
});

const channelSchema = z.object({
  token: z._default(z.number(), 0),
  until: z.optional(z.number()),
  owner: z.optional(z.string()),
  /** What is being sent, as it is sent: it is sent again as it was where its answer was lost. */
  message: z.optional(z.object({ id: z.string(), at: z.number(), told: z.array(toldSchema) })),
  marks: z.optional(z.array(z.object({ id: z.string(), heard: heardSchema }))),
  /** The channel has taken the message; what is left is to mark its findings. */
  taken: z.optional(z.boolean()),
  attempts: z._default(z.number(), 0),
  /** No attempt before this moment. */
  notBefore: z.optional(z.number()),
  failingSince: z.optional(z.number()),
  error: z.optional(z.object({ at: z.number(), code: z.string(), message: z.string(), remedy: z.string() })),
  takenAt: z.optional(z.number()),
  /** Until when each message holds one finding: one of several was refused for what it said. */
  aloneUntil: z.optional(z.number()),
});

/**
 * Counts how often a row was put right: of several workers that see one that cannot be read, one
 * puts it right.
 */
const mendedField = 'mended';

export type Heard = z.infer<typeof heardSchema>;
/** What is known of a channel: who sends to it now, what, and how that goes. */
export type ChannelRow = z.infer<typeof channelSchema>;
/** One finding, and what each channel has been told of it. */
export interface FindingRow extends z.infer<typeof findingSchema> {
  readonly heard: ReadonlyMap<string, Heard>;
  /** Channels that refused it for what it says, and until when they are not asked again. */
  readonly restsUntil: ReadonlyMap<string, number>;
}
/** Which findings a message tells, and as what. */
export type Mark = NonNullable<ChannelRow['marks']>[number];

const heardField = 'heard/';
const restsField = 'rests/';

/**
 * The rows of alerts: one for each finding, in which every channel has a field that says what it
 * has been told; and one for each channel, with the lease of the one worker that sends to it, and
 * the message that it is being sent. A finding is never in two states at once, and its version
 * counts what is to be told of it; so a channel that was away for days is told how things stand,
 * and nothing that is past.
 *
 * Every change is made under the condition that the finding is as it was read: of two workers that
 * look at the same moment one changes it, and the other goes on.
 */
export function alertRows(table: Table) {
  const partition = 'alert-findings.1';
  /** What a store is called may be long: then by its digest. */
  const keyOf = (id: string): Key => ({
    partition,
    sort: Buffer.byteLength(id) < limits.tableKeyBytes / 2 ? id : createHash('sha256').update(id).digest('hex'),
  });
  const channelKeyOf = (channel: string): Key => ({ partition: 'alert-channels.1', sort: channel });
  const isVersion = (version: number): Condition => ({ field: 'version', is: '=', to: version });
  const held = (token: number): Condition => ({
    all: [{ field: 'token', is: '=', to: token }, { exists: 'until' }],
  });

  /** The name of the finding that a row is of; `undefined` where neither field nor key say it. */
  function idIn({ id, sort }: Row): string | undefined {
    if (typeof id === 'string' && keyOf(id).sort === sort) return id;
    return keyOf(sort).sort === sort && !/^[0-9a-f]{64}$/.test(sort) ? sort : undefined;
  }

  function parse(row: Row): FindingRow | undefined {
    const parsed = findingSchema.safeParse(row);
    if (!parsed.success || parsed.data.id !== idIn(row)) return undefined;
    const heard = new Map<string, Heard>();
    const restsUntil = new Map<string, number>();
    for (const [field, value] of Object.entries(row)) {
      const told = field.startsWith(heardField) ? heardSchema.safeParse(value).data : undefined;
      if (told !== undefined) heard.set(field.slice(heardField.length), told);
      if (field.startsWith(restsField) && typeof value === 'number')
        restsUntil.set(field.slice(restsField.length), value);
    }
    return { ...parsed.data, heard, restsUntil };
  }

  async function channel(name: string, row?: Row): Promise<ChannelRow> {
    const found = row ?? (await table.get(channelKeyOf(name)));
    if (found === undefined) return { token: 0, attempts: 0 };
    const parsed = channelSchema.safeParse(found);
    if (parsed.success) return parsed.data;
    throw new CodedError('table_row_unreadable', `what is kept of the channel ${name} of alerts is damaged`, {
      fields: { channel: name },
    });
  }

  /** That a row is as often put right as it was when it was read. */
  const isMended = ({ [mendedField]: times }: Row): Condition => {
    if (times === undefined) return { absent: mendedField };
    return typeof times === 'number' ? { field: mendedField, is: '=', to: times } : { exists: mendedField };
  };
  const mendedOnceMore = ({ [mendedField]: times }: Row) => ({
    [mendedField]: typeof times === 'number' ? times + 1 : 1,
  });

  return {
    channel,

    /** All findings. Rows of them that cannot be understood go to `unreadable`. */
    async findings(unreadable: (row: Row) => void): Promise<readonly FindingRow[]> {
      const found: FindingRow[] = [];
      for await (const rows of pagesOf(table, { partition, limit: 200 })) {
        for (const row of rows) {
          const parsed = parse(row);
          if (parsed === undefined) unreadable(row);
          else found.push(parsed);
        }
      }
      return found;
    },

    /** What a row that cannot be understood is of, as far as it can be told. */
    nameOf: (row: Row): string => idIn(row) ?? row.sort,

    /**
     * Puts a row of a finding right that cannot be understood: what can be read of it stays, and
     * for the rest it stands, as grave as can be, and is to be told. Where it does not stand, that
     * will be found, and told. A row that does not even say what it is of goes.
     */
    async mend(row: Row, now: number): Promise<void> {
      const { partition, sort } = row;
      const id = idIn(row);
      if (id === undefined) {
        await table.delete({ partition, sort }, isMended(row));
        return;
      }
      const { kept, lost } = readableOf(findingSchema, row);
      const lostWords = [
        `what was kept of ${id} could not be read`,
        'If it stands, certstandby status says what it is.',
      ];
      const link = id.includes('/') ? { link: id.split('/')[0] ?? '' } : {};
      const otherwise = {
        severity: 'critical',
        words: lostWords,
        state: 'open',
        firstSeenAt: now,
        seenAt: now,
        since: now,
      };
      const whole = { ...otherwise, ...(lost.includes('link') ? link : {}), ...kept, id };
      const heard = Object.entries(row).flatMap(([field, value]) =>
        field.startsWith(heardField) ? (heardSchema.safeParse(value).data?.version ?? []) : [],
      );
      const version = whole.state === 'waiting' ? 0 : Math.max(now, kept.version ?? 0, ...heard) + 1;
      const set = { ...whole, version, ...mendedOnceMore(row) } as Readonly<Record<string, Value>>;
      const remove = lost.filter((field) => !Object.hasOwn(set, field));
      await table.update({ partition, sort }, { set, remove }, isMended(row));
    },

    /**
     * Puts the row of a channel right that cannot be understood. What was being sent, and cannot be
     * read, is told anew, from how things stand.
     */
    async mendChannel(name: string, now: number): Promise<void> {
      const row = await table.get(channelKeyOf(name));
      if (row === undefined) return;
      const { lost } = readableOf(channelSchema, row);
      const set = {
        ...mendedOnceMore(row),
        // Above all that were given.
        ...(lost.includes('token') && { token: now }),
        ...(lost.includes('attempts') && { attempts: 0 }),
      };
      const sent = lost.some((field) => field === 'message' || field === 'marks') ? ['message', 'marks', 'taken'] : [];
      const remove = [...new Set([...lost, ...sent])].filter((field) => !Object.hasOwn(set, field));
      await table.update(channelKeyOf(name), { set, remove }, isMended(row));
    },

    async begin(finding: Omit<FindingRow, 'heard' | 'restsUntil'>): Promise<void> {
      await table.putIfAbsent(keyOf(finding.id), { ...finding } as Readonly<Record<string, Value>>);
    },

    /** Changes a finding that is as it was read. Answers whether it was. */
    async change(
      { id, version }: Pick<FindingRow, 'id' | 'version'>,
      set: Partial<Omit<FindingRow, 'id' | 'heard' | 'restsUntil'>>,
      remove: readonly string[] = [],
    ): Promise<boolean> {
      const changed = await table.update(
        keyOf(id),
        { set: set as Readonly<Record<string, Value>>, remove },
        isVersion(version),
      );
      return changed.applied;
    },

    async end({ id, version }: Pick<FindingRow, 'id' | 'version'>): Promise<void> {
      await table.delete(keyOf(id), isVersion(version));
    },

    /** Notes what a channel has been told of a finding, if that is still there, or there again. */
    async markHeard(name: string, { id, heard }: Mark): Promise<void> {
      await table.update(
        keyOf(id),
        { set: { [`${heardField}${name}`]: { ...heard } }, remove: [`${restsField}${name}`] },
        { field: 'version', is: '>=', to: heard.version },
      );
    },

    /** Leaves a finding alone at a channel that refused it for what it says. */
    async rest(name: string, id: string, until: number): Promise<void> {
      await table.update(keyOf(id), { set: { [`${restsField}${name}`]: until } }, { exists: 'version' });
    },

    /**
     * Takes a channel for `owner`. Answers its row, or who has it. Who died is followed when its
     * lease is over; at once, if it is the one of token `instead`.
     */
    async claim(
      name: string,
      lease: { readonly owner: string; readonly now: number; readonly until: number; readonly skewMs: number },
      instead?: number,
    ): Promise<{ readonly row: ChannelRow } | { readonly taken: ChannelRow }> {
      const { owner, now, until, skewMs } = lease;
      const outcome = await table.update(
        channelKeyOf(name),
        { add: { token: 1 }, set: { until, owner } },
        {
          any: [
            { absent: 'until' },
            { field: 'until', is: '<', to: now - skewMs },
            ...(instead === undefined ? [] : [{ field: 'token', is: '=' as const, to: instead }]),
          ],
        },
      );
      const row = await channel(name, outcome.row);
      return outcome.applied ? { row } : { taken: row };
    },

    /** Changes the row of a channel that is still held. Answers whether it is. */
    async keep(
      name: string,
      token: number,
      set: Partial<Omit<ChannelRow, 'token' | 'owner' | 'message'>> & { readonly message?: Message },
      remove: readonly (keyof ChannelRow)[] = [],
    ): Promise<boolean> {
      const change = { set: set as Readonly<Record<string, Value>>, remove };
      return (await table.update(channelKeyOf(name), change, held(token))).applied;
    },
  };
}

/** What of a row its schema understands, field by field, and the names of the others. */
function readableOf<T extends z.ZodMiniObject>(schema: T, row: Row) {
  const kept: Record<string, unknown> = {};
  const lost: string[] = [];
  for (const [field, { safeParse }] of Object.entries(schema.shape as Record<string, z.ZodMiniType>)) {
    const parsed = safeParse(row[field]);
    if (!parsed.success) lost.push(field);
    else if (row[field] !== undefined) kept[field] = row[field];
  }
  return { kept: kept as Partial<z.infer<T>>, lost };
}

export type AlertRows = ReturnType<typeof alertRows>;
