import * as z from 'zod/mini';
import { defined } from './defined.ts';
import { isLoopback } from './http/loopback.ts';

/**
 * Settings of a configuration as entries: the schema of each, what it means in words, and its
 * default stand in one place. What parses, `config explain`, the JSON schema for editors and the
 * tables of settings in the pages are all made from these entries.
 */

/** What is known of a setting beside its schema. */
export interface SettingWords {
  readonly what: string;
  /** As it would be written; absent if there is none. */
  readonly default?: string | number | boolean;
  /**
   * What holds where nothing is written and there is no default, in words; absent where it must be
   * given.
   */
  readonly otherwise?: string;
  /** It refers to a secret. */
  readonly secret?: true;
}

/** A setting by its place. */
export interface Setting extends SettingWords {
  /** `*` stands for a name that the file gives. */
  readonly path: string;
  /** Only of this kind: of what has this `kind` beside it. */
  readonly of?: string;
}

type Schema = z.core.$ZodType;

const words = z.registry<SettingWords>();
/** What a mapping is that has a `kind`. */
const kindWords = z.registry<{ readonly what: string }>();

/**
 * A setting that must be given, where the mapping that it belongs to is; `otherwise` says what
 * holds where that is not.
 */
export function required<S extends z.ZodMiniType>(
  schema: S,
  what: string,
  more: Pick<SettingWords, 'otherwise' | 'secret'> = {},
): S {
  const own = schema.clone();
  words.add(own, { what, ...more });
  return own;
}

/** A setting that may be left out, and what holds then. */
export function optional<S extends z.ZodMiniType>(
  schema: S,
  what: string,
  unless: ({ readonly default: string | number | boolean } | { readonly otherwise: string }) & {
    readonly secret?: true;
  },
): z.ZodMiniOptional<S> {
  const own = z.optional(schema);
  words.add(own, { what, ...unless });
  return own;
}

/** The settings of what is of one kind. */
export function ofKind<const K extends string, S extends z.core.$ZodLooseShape>(kind: K, what: string, settings: S) {
  const own = z.strictObject({ kind: z.literal(kind), ...settings });
  kindWords.add(own, { what });
  return own;
}

type Kind = Schema & z.core.$ZodTypeDiscriminable;

/** Settings that depend on `kind`. */
export function byKind<const Kinds extends readonly [Kind, ...Kind[]]>(
  kinds: Kinds,
  what: string,
  unless: { readonly default?: string } = {},
) {
  const own = z.discriminatedUnion('kind', kinds);
  const named = kinds.map((kind: Schema) => `${kindOf(kind)} (${kindWords.get(kind)?.what})`);
  words.add(own, { what: `${what}: ${named.join(', or ')}`, ...unless });
  return own;
}

/** Every setting below a schema, in the order in which it names them. */
export function settingsIn(schema: Schema, at = '', of?: string): readonly Setting[] {
  const below = (key: string) => (at === '' ? key : `${at}.${key}`);
  const found = words.get(schema);
  const own = (path: string) => (found === undefined ? [] : [{ path, ...found, ...defined({ of }) }]);
  const { def } = (schema as z.core.$ZodTypes)._zod;
  if (def.type === 'union' && kindOf(def.options[0]) !== undefined) {
    return [
      ...own(below('kind')),
      ...def.options.flatMap((kind) => settingsIn(kind, at, kindOf(kind)).filter(({ path }) => path !== below('kind'))),
    ];
  }
  if (found !== undefined) return own(at);
  if (def.type === 'optional') return settingsIn(def.innerType, at, of);
  if (def.type === 'record') return settingsIn(def.valueType, below('*'), of);
  if (def.type !== 'object') return [];
  return Object.entries(def.shape).flatMap(([key, child]) => settingsIn(child, below(key), of));
}

/** The kind of which the settings of a mapping are; `undefined` for what has none. */
function kindOf(schema: Schema | undefined): string | undefined {
  const def = (schema as z.core.$ZodTypes | undefined)?._zod.def;
  const kind = def?.type === 'object' ? (def.shape.kind as z.core.$ZodTypes | undefined)?._zod.def : undefined;
  return kind?.type === 'literal' ? String(kind.values[0]) : undefined;
}

/** The JSON schema of these settings, their words and defaults in it. */
export function jsonSchemaOf(schema: Schema): object {
  return z.toJSONSchema(schema, {
    io: 'input',
    override({ zodSchema, jsonSchema }) {
      const found = words.get(zodSchema);
      const description = found === undefined ? kindWords.get(zodSchema)?.what : describe(found);
      if (description !== undefined) jsonSchema.description = description;
      if (found?.default !== undefined && jsonSchema.type !== undefined) jsonSchema.default = found.default;
    },
  });
}

const describe = ({ what, otherwise }: SettingWords) =>
  otherwise === undefined ? what : `${what} (default: ${otherwise})`;

const durationPattern = /^(\d+)(ms|s|m|h|d)$/;
const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;

/** Text of a form that `what` describes, after "must be". */
export const text = (pattern: RegExp, what: string) => z.string(what).check(z.regex(pattern, what));

/** A timer that is set for longer goes off at once. */
const longestMs = 24 * unitMs.d;

/** A length of time that a timer may be set for. */
export const duration = text(durationPattern, 'a duration such as 500ms, 30s, 5m, 2h or 7d').check(
  z.refine((given) => (milliseconds(given) ?? 0) <= longestMs, 'at most 24d'),
);

/** How often something is done. */
export const period = duration.check(z.refine((given) => (milliseconds(given) ?? 1_000) >= 1_000, 'at least 1s'));

/** A length of time that no timer is set for. */
export const span = text(durationPattern, 'a duration such as 12h or 30d');

/** Where a secret stands. */
export const secretReference = text(
  /^(env:\w+|file:.+|ssm:[\w.\-/:]+|secretsmanager:[\w/+=.@:-]+(#[^#]+)?)$/,
  'a reference (env:NAME, file:PATH, ssm:PARAMETER or secretsmanager:SECRET), never the secret itself',
);

/** The address of a service, without a path. */
export const url = text(/^https?:\/\/[^\s/?#]+\/?$/, 'an address such as https://host or https://host:port');

/** A duration in milliseconds; `undefined` for what is none. */
export function milliseconds(given: string | undefined): number | undefined {
  const [, count, unit] = durationPattern.exec(given ?? '') ?? [];
  return count === undefined ? undefined : Number(count) * unitMs[unit as keyof typeof unitMs];
}

/** Milliseconds as a duration is written, in the largest unit that gives a whole number. */
export function durationText(ms: number): string {
  if (ms === 0) return '0s';
  const units = Object.entries(unitMs).reverse();
  const [unit, size] = units.find(([, each]) => ms % each === 0) ?? ['ms', 1];
  return `${ms / size}${unit}`;
}

/** How far a service lags behind what it was asked to do, milliseconds. */
interface Lags {
  readonly settlesMs: number;
  readonly listingLagMs: number;
  readonly readSettlesMs: number;
}

/** Settings of how far a service lags. `when`: what else is to be said of its reads. */
export const lagSettings = ({ settlesMs, listingLagMs, readSettlesMs }: Lags, when = '') => ({
  settles: optional(duration, 'how long an unanswered request may still take effect', {
    default: durationText(settlesMs),
  }),
  listingLag: optional(duration, `how long a listing may lag behind writes${when}`, {
    default: durationText(listingLagMs),
  }),
  readSettles: optional(duration, `how long a direct read may lag behind writes${when}`, {
    default: durationText(readSettlesMs),
  }),
});

/** What these settings come to. */
export const lagsOf = (given: { readonly [S in keyof ReturnType<typeof lagSettings>]: string | undefined }) =>
  defined({
    settlesMs: milliseconds(given.settles),
    listingLagMs: milliseconds(given.listingLag),
    readSettlesMs: milliseconds(given.readSettles),
  });

/** A setting of how many requests a service takes in a second, and what holds without it. */
export const requestRate = (unless: Parameters<typeof optional>[2]) =>
  optional(z.number().check(z.positive()), 'requests in a second to stay under', unless);

/** A setting of how often one certificate may be written in a minute. */
export const writeRate = (standard: number) =>
  optional(
    z.union([z.int().check(z.minimum(1)), z.literal('unlimited')], 'a whole number of at least 1, or unlimited'),
    'writes of one certificate in a minute to stay under, or unlimited',
    { default: standard },
  );

/** A setting of where a store lies whose service does not say it. */
export const ownRegion = (standard: string) =>
  optional(
    text(/^[\w.-]{1,63}$/, 'a region of letters, digits and .-_, at most 63'),
    'where it lies, for policy.regions',
    { default: standard },
  );

/** What is wrong with a setting, by its name. */
export interface SettingMistake {
  readonly setting: string;
  readonly what: string;
}

/** What is wrong with addresses to which secrets are sent. */
export function addressMistakes(addresses: Readonly<Record<string, unknown>>): readonly SettingMistake[] {
  return Object.entries(addresses).flatMap(([setting, address]) => {
    const what = addressMistake(address);
    return what === undefined ? [] : [{ setting, what }];
  });
}

function addressMistake(address: unknown): string | undefined {
  if (typeof address !== 'string' || !URL.canParse(address)) return undefined;
  const { protocol, hostname } = new URL(address);
  if (protocol !== 'http:' || isLoopback(hostname)) return undefined;
  return 'must begin with https://; plain http:// is allowed on loopback only, for keys would travel in the clear';
}
