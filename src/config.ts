import { dirname, resolve, sep } from 'node:path';
import { type Document, isMap, isScalar, LineCounter, parseDocument, stringify } from 'yaml';
import * as z from 'zod/mini';
import { type ChannelConfig, type ChannelKind, type HeartbeatConfig, urlMistake } from './alerts/channel.ts';
import * as channelRegistry from './alerts/registry.ts';
import { defined } from './defined.ts';
import { CodedError } from './errors.ts';
import { visible } from './foreign-text.ts';
import { isLoopback } from './http/loopback.ts';
import { limits } from './limits.ts';
import { fileError, readTextFileSync, whyUnreadable } from './regular-file.ts';
import { Secret, type SecretReference } from './secret.ts';
import * as registry from './services/registry.ts';
import type {
  SenderConfig,
  SenderSettings,
  Service,
  ServiceSettings,
  SettingsContext,
  StoreConfig,
} from './services/service.ts';
import {
  byKind,
  duration,
  durationText,
  jsonSchemaOf,
  milliseconds,
  ofKind,
  optional,
  period,
  required,
  type Setting,
  secretReference,
  settingsIn,
  span,
  text,
  url,
} from './settings.ts';

/**
 * The one configuration, `certstandby.yaml`: parsed once, strictly, all mistakes reported at once.
 * Secrets stand in it only by reference (`env:NAME`, `file:PATH`, `ssm:PARAMETER`,
 * `secretsmanager:SECRET`); paths are relative to the file. What each service has for settings
 * stands in its folder; what is common stands here, each setting as one entry (`settings.ts`).
 */

const share = z.number().check(z.minimum(0), z.maximum(1));
const port = z.int().check(z.minimum(0), z.maximum(65_535));
const name = text(/^[a-z0-9][a-z0-9-]{0,62}$/, 'a name of lower-case letters, digits and dashes, at most 63');

/** Every service, in the order in which people are told of them. */
const services: readonly Service[] = Object.values(registry);

/** Every kind of channel that alerts can go to. */
const channelKinds: readonly ChannelKind[] = Object.values(channelRegistry);

/** What holds where the file says nothing. */
const defaults = {
  table: { kind: 'lmdb', path: 'certstandby-data' },
  receiver: { host: '127.0.0.1', port: 8480 },
  worker: { concurrency: 16, sweepEveryMs: 60_000, reconcileEveryMs: 3_600_000 },
  alerts: {
    everyMs: 60_000,
    afterMs: 15 * 60_000,
    repeatMs: 86_400_000,
    expiryWithinMs: limits.expiryNearMs,
    heartbeatMs: 5 * 60_000,
  },
  audit: { write: true, folder: 'audit', checkpointEveryMs: 3_600_000, keepMs: 400 * 86_400_000 },
  /** Of copies whose original is gone. */
  removal: { afterMs: 30 * 86_400_000, maxShare: 0.05 },
} as const;

export const defaultServe: ServeConfig = {
  behindProxy: false,
  metrics: { host: '127.0.0.1', port: 9464 },
  stopWithinMs: 20_000,
};

const defaultConsole: ConsoleConfig = { host: '127.0.0.1', port: 9480 };

export const defaultDrill: DrillConfig = { folder: 'drills' };

export const defaultAudit: AuditConfig = defaults.audit;

const link = z.strictObject({
  primary: required(z.string(), 'the store that is the truth'),
  backups: required(
    z.array(z.string()).check(z.minLength(1, 'at least one backup')),
    'the stores that hold the copies',
  ),
  filter: z.optional(
    z.strictObject({
      names: optional(
        z.array(z.string()),
        'copy only these names; * for any characters. An authority is copied only where a name without * names it',
        { otherwise: 'all names' },
      ),
      domains: optional(z.array(z.string()), 'copy only these domains, where the names fit too; * for any characters', {
        otherwise: 'all domains',
      }),
    }),
  ),
  naming: optional(
    z.enum(['derived', 'exact']),
    'what copies are called where names are unique, or make a folder: derived from their mark (shop-507c4282c15f5a6d), or exact, as the original, where readers look for the name. What else has that name keeps it, and status says so',
    { default: 'derived' },
  ),
  policy: z.optional(
    z.strictObject({
      regions: optional(z.array(z.string()), 'regions in which copies may lie; a backup elsewhere is a mistake', {
        otherwise: 'any region',
      }),
      requireChain: optional(z.boolean(), 'refuse a leaf without its chain', { default: false }),
      onward: optional(
        z.boolean(),
        'copy certificates that are copies themselves; nothing is copied into a store that it came from or through, and links that all copy onward may not lead in a circle',
        { default: false },
      ),
      replace: optional(
        z.enum(['refused', 'never']),
        'a copy whose service refuses new content: replaced by one of a new id (refused), or left as it is (never)',
        { default: 'refused' },
      ),
      restorable: optional(
        z.boolean(),
        'whether a backup must give private keys back, so that the link can be restored from it; false says that it is meant that none does',
        { default: true },
      ),
      onDelete: optional(z.enum(['retain', 'remove']), 'copies of deleted certificates: retain or remove', {
        default: 'retain',
      }),
      removeAfter: optional(span, 'with onDelete: remove, how long such a copy stays all the same', {
        otherwise: durationText(defaults.removal.afterMs),
      }),
      removeShare: optional(
        share.check(z.positive()),
        'with onDelete: remove, the share of the copies that may be removed at once, 0 to 1',
        { otherwise: String(defaults.removal.maxShare) },
      ),
      brakeShare: optional(
        share,
        'the share of the copies that one reconcile may change, or an hour take back in time, without a person, 0 to 1',
        { default: limits.brakeShare },
      ),
      standIns: optional(
        z.boolean(),
        'let self-signed certificates replace those of an authority, and copy temporary ones of cert-manager',
        { default: false },
      ),
    }),
  ),
  verificationKey: optional(
    text(/^file:.+$/, 'file:PATH of a public key in PEM'),
    'file: with the public key that verifies notifications',
    { otherwise: 'fetched from the primary' },
  ),
});

const table = byKind(
  [
    ofKind('lmdb', 'files on this machine', {
      path: optional(z.string(), 'folder of its files, relative to this file', { default: defaults.table.path }),
    }),
    ofKind('dynamodb', 'a table of DynamoDB', {
      name: required(text(/^[\w.-]{3,255}$/, 'a name of letters, digits and ._-, from 3 to 255'), 'name of the table'),
      region: required(text(/^[a-z0-9-]{1,63}$/, 'a region of AWS such as eu-west-1'), 'its region'),
      endpoint: optional(url, 'another address than that of the region', { otherwise: 'that of the region' }),
    }),
  ],
  'where the records are',
  { default: defaults.table.kind },
);

type OneOrMore<T> = [T, ...T[]];

/** A store is of one service; each service knows its own settings. */
const store = byKind(
  services.flatMap(({ settings }) => settings?.schema ?? []) as OneOrMore<ServiceSettings['schema']>,
  'what it is',
);

/** So is what sends and keeps nothing. */
const sender = byKind(
  services.flatMap(({ senderSettings }) => senderSettings?.schema ?? []) as OneOrMore<SenderSettings['schema']>,
  'who sends, and how that is proven',
);

/** What is told more often than that is a flood. */
const seldom = span.check(z.refine((given) => (milliseconds(given) ?? 60_000) >= 60_000, 'at least 1m'));

/** What is kept for less proves little, and chains of processes that live may be younger. */
const long = span.check(
  z.refine(
    (given) => (milliseconds(given) ?? limits.auditKeepLeastMs) >= limits.auditKeepLeastMs,
    `at least ${durationText(limits.auditKeepLeastMs)}`,
  ),
);

/** And so is a channel. */
const channel = byKind(channelKinds.map(({ schema }) => schema) as OneOrMore<ChannelKind['schema']>, 'what it is');

/** The version of the file's format. */
const configVersion = 1;

const configFileSchema = z.strictObject({
  version: required(z.literal(configVersion), 'version of this format'),
  table: z.optional(table),
  receiver: z.optional(
    z.strictObject({
      host: optional(z.string(), 'address on which the receiver listens', { default: defaults.receiver.host }),
      port: optional(port, 'its port; 0 takes any free one', { default: defaults.receiver.port }),
    }),
  ),
  worker: z.optional(
    z.strictObject({
      concurrency: optional(z.int().check(z.minimum(1), z.maximum(256)), 'certificates looked at in one moment', {
        default: defaults.worker.concurrency,
      }),
      sweepEvery: optional(period, 'how often what is due is woken', {
        default: durationText(defaults.worker.sweepEveryMs),
      }),
      reconcileEvery: optional(period, 'how often everything is compared with everything', {
        default: durationText(defaults.worker.reconcileEveryMs),
      }),
    }),
  ),
  serve: z.optional(
    z.strictObject({
      tls: z.optional(
        z.strictObject({
          certificate: required(
            z.string(),
            'PEM file of the receiver: its certificate, then its chain; a changed file is taken over within seconds',
            { otherwise: 'plain HTTP' },
          ),
          key: required(z.string(), 'PEM file with the private key of that certificate', { otherwise: 'plain HTTP' }),
        }),
      ),
      behindProxy: optional(z.boolean(), 'something in front ends TLS: plain HTTP is right even off loopback', {
        default: defaultServe.behindProxy,
      }),
      metrics: z.optional(
        z.strictObject({
          host: optional(z.string(), 'address of the listener for /metrics, /healthz, /readyz', {
            default: defaultServe.metrics.host,
          }),
          port: optional(port, 'its port; 0 takes any free one', { default: defaultServe.metrics.port }),
        }),
      ),
      stopWithin: optional(duration, 'how long a stop waits for passes under way', {
        default: durationText(defaultServe.stopWithinMs),
      }),
    }),
  ),
  console: z.optional(
    z.strictObject({
      host: optional(z.string(), 'address of the console, of this machine alone', { default: defaultConsole.host }),
      port: optional(z.int().check(z.minimum(1), z.maximum(65_535)), 'its port', { default: defaultConsole.port }),
    }),
  ),
  drill: z.optional(
    z.strictObject({
      folder: optional(z.string(), 'where reports of drills and the key that signs them are', {
        default: defaultDrill.folder,
      }),
      trust: optional(z.string(), 'PEM file of the authorities to trust in a drill', {
        otherwise: 'those that Node brings',
      }),
      every: optional(period, 'how often serve drills', { otherwise: 'never' }),
      sample: optional(z.int().check(z.minimum(1)), 'so many copies of each backup in one drill', {
        otherwise: 'all',
      }),
    }),
  ),
  alerts: z.optional(
    z.strictObject({
      every: optional(period, 'how often it is looked what is wrong; each look reads all records once', {
        default: durationText(defaults.alerts.everyMs),
      }),
      after: optional(duration, 'how long what may pass by itself must stand before anybody is told', {
        default: durationText(defaults.alerts.afterMs),
      }),
      repeat: optional(seldom, 'how often what stands is told again', {
        default: durationText(defaults.alerts.repeatMs),
      }),
      expiryWithin: optional(
        span,
        'how long before its end a certificate should have been renewed; at most a third of its life, where that is known',
        { default: durationText(defaults.alerts.expiryWithinMs) },
      ),
      channels: z.optional(z.record(name, channel)),
      heartbeat: z.optional(
        z.strictObject({
          url: required(
            secretReference,
            'where the URL stands of a watcher outside (healthchecks.io and the like), which is asked as long as all is seen',
            { secret: true, otherwise: 'no heartbeat' },
          ),
          every: optional(period, 'how often it is asked', { otherwise: durationText(defaults.alerts.heartbeatMs) }),
        }),
      ),
    }),
  ),
  audit: z.optional(
    z.strictObject({
      write: optional(z.boolean(), 'whether an audit trail is written', { default: defaults.audit.write }),
      folder: optional(z.string(), 'where the key is that signs how far the trail goes', {
        default: defaults.audit.folder,
      }),
      checkpointEvery: optional(period, 'how often serve signs that', {
        default: durationText(defaults.audit.checkpointEveryMs),
      }),
      keep: optional(long, 'how long the trail is kept', { default: durationText(defaults.audit.keepMs) }),
    }),
  ),
  stores: z.record(name, store),
  links: z.record(name, link),
  senders: z.optional(z.record(name, sender)),
});

type ConfigFile = z.infer<typeof configFileSchema>;

/** Every setting that the file may have. */
export const configSettings: readonly Setting[] = settingsIn(configFileSchema);

/** Whether the setting at this place of a file (`stores.london.apiKey`) refers to a secret. */
export function isSecret(place: string): boolean {
  const keys = place.split('.');
  return configSettings.some(({ path, secret }) => {
    const pattern = path.split('.');
    return secret && pattern.length === keys.length && pattern.every((key, at) => key === '*' || key === keys[at]);
  });
}

/** The JSON schema of the file, for editors: `certstandby.schema.json`. */
export function configJsonSchema(): object {
  return { title: 'certstandby.yaml', ...jsonSchemaOf(configFileSchema) };
}

export type { SenderConfig, StoreConfig };

export interface LinkConfig {
  readonly name: string;
  readonly primary: string;
  readonly backups: readonly string[];
  readonly filter: { readonly names: readonly string[]; readonly domains: readonly string[] };
  readonly policy: {
    readonly regions?: readonly string[];
    readonly requireChain: boolean;
    readonly onward: boolean;
    /** A copy whose service refuses the content is never replaced by one under a new id. */
    readonly neverReplace?: boolean;
    /** `false`: it is meant that no backup gives private keys back. */
    readonly restorable?: boolean;
    /** Absent: copies of deleted certificates stay. */
    readonly removal?: { readonly afterMs: number; readonly maxShare: number };
    readonly brakeShare?: number;
    /** Self-signed and temporary certificates are copied like any other. */
    readonly standIns?: boolean;
  };
  /** Absent: names that are ours to choose are derived from the mark. */
  readonly naming?: 'exact';
  /** PEM; absent: fetched from the primary by the sweep. */
  readonly verificationKey?: string;
}

export type TableConfig =
  | { readonly kind: 'lmdb'; readonly path: string }
  | { readonly kind: 'dynamodb'; readonly name: string; readonly region: string; readonly endpoint?: string };

/** How `certstandby serve` runs. Where it listens is `receiver`. */
export interface ServeConfig {
  /** Files in PEM: the certificate with its chain, and its key. */
  readonly tls?: { readonly certificate: string; readonly key: string };
  /** Something in front ends TLS, so that plain HTTP is right even off loopback. */
  readonly behindProxy: boolean;
  readonly metrics: { readonly host: string; readonly port: number };
  /** How long a stop waits for passes under way. */
  readonly stopWithinMs: number;
}

/** Where the console is served. */
export interface ConsoleConfig {
  /** Of this machine alone. */
  readonly host: string;
  readonly port: number;
}

/** How drills are made. */
export interface DrillConfig {
  /** Where reports and the key that signs them are. */
  readonly folder: string;
  /** PEM file of the authorities to trust; absent: those that Node brings. */
  readonly trust?: string;
  /** How often `serve` drills; absent: never. */
  readonly everyMs?: number;
  /** So many copies of each backup; absent: all. */
  readonly sample?: number;
}

/** Who is told of what is wrong, and when. */
export interface AlertsConfig {
  readonly everyMs: number;
  /** How long what may pass by itself must stand before anybody is told. */
  readonly afterMs: number;
  readonly repeatMs: number;
  readonly expiryWithinMs: number;
  readonly channels: readonly Unopened<ChannelConfig>[];
  readonly heartbeat?: Pick<Unopened<HeartbeatConfig>, 'open'>;
}

/**
 * A channel as the file has it. Its secrets are followed by whoever sends to it: what tells nobody
 * needs none of them.
 */
export interface Unopened<T> {
  readonly name: string;
  readonly kind: string;
  /**
   * With what its references lead to. Throws `configuration_invalid` with every mistake of these.
   */
  readonly open: () => T;
}

/** How the audit trail is kept. */
export interface AuditConfig {
  readonly write: boolean;
  /** Where the key is that signs. */
  readonly folder: string;
  readonly checkpointEveryMs: number;
  readonly keepMs: number;
}

export interface Config {
  readonly table: TableConfig;
  readonly receiver: { readonly host: string; readonly port: number };
  readonly worker: { readonly concurrency: number; readonly sweepEveryMs: number; readonly reconcileEveryMs: number };
  /** Absent: `defaultServe`. */
  readonly serve?: ServeConfig;
  /** Absent: there is none. */
  readonly console?: ConsoleConfig;
  /** Absent: `defaultDrill`. */
  readonly drill?: DrillConfig;
  readonly stores: readonly StoreConfig[];
  readonly links: readonly LinkConfig[];
  /** Who tells of changes, beside the primaries that do so themselves. Absent: nobody. */
  readonly senders?: readonly SenderConfig[];
  /** Absent, or without channels: nobody is told. */
  readonly alerts?: AlertsConfig;
  /** Absent: `defaultAudit`. */
  readonly audit?: AuditConfig;
}

/** Where functions are deployed to. */
export const platforms = ['aws', 'openwhisk'] as const;
export type Platform = (typeof platforms)[number];

/** Where references lead. Given, not read from the process, so that tests decide. */
export interface ConfigSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile: (path: string) => string;
  /**
   * Given when it is parsed for functions that run there: secrets are not read, and what cannot be
   * had there is a mistake.
   */
  readonly platform?: Platform;
  /** References of `alerts` that cannot be followed are mistakes, too: for what tells people. */
  readonly tells?: boolean;
}

/**
 * Reads and parses a configuration file, for this machine or for functions on a platform. Throws
 * `configuration_missing`, what `regular-file.ts` throws, or `configuration_invalid` with every
 * mistake named.
 */
export function loadConfig(
  path: string,
  env: ConfigSources['env'],
  use: Pick<ConfigSources, 'platform' | 'tells'> = {},
): Config {
  let text: string;
  try {
    text = readConfigFile(path);
  } catch (cause) {
    const why = fileError(path, cause);
    const words = `the configuration file ${path} cannot be read (${whyUnreadable(path, cause)})`;
    if (why.code === 'file_missing') throw new CodedError('configuration_missing', words, { cause: why.cause });
    throw new CodedError(why.code, words, { cause, fields: why.fields });
  }
  return parseConfig(text, { path, env, readFile: readConfigFile, ...use });
}

/**
 * The text of a configuration file, or of a file that one names. Throws what `regular-file.ts`
 * throws.
 */
export function readConfigFile(path: string): string {
  return readTextFileSync(path, { maxBytes: limits.textFileBytes });
}

/**
 * Parses the text of a configuration file. Throws `configuration_invalid` with every mistake named.
 */
export function parseConfig(text: string, sources: ConfigSources & { readonly path: string }): Config {
  const mistakes: string[] = [];
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, prettyErrors: false });
  for (const error of document.errors) {
    // What the message quotes of the file is cut off: it may be a secret.
    const message = error.message.replace(/(YAML stream|extra characters|escape sequence|tag):? .*$/s, '$1');
    mistakes.push(`line ${lines.linePos(error.pos[0]).line}: not YAML: ${message}`);
  }
  if (mistakes.length > 0) throw invalid(sources.path, mistakes);

  const raw = withoutAliases(document, sources.path);
  const lineAt = (path: readonly PropertyKey[]): string => {
    const node = document.getIn(path as (string | number)[], true) as { range?: [number, number, number] } | undefined;
    if (node?.range) return ` (line ${lines.linePos(node.range[0]).line})`;
    return path.length === 0 ? '' : lineAt(path.slice(0, -1));
  };
  const { version } = tree(raw);
  if (typeof version === 'number' && version !== configVersion) {
    const newer = version > configVersion ? 'a newer' : 'no';
    throw invalid(sources.path, [
      `version${lineAt(['version'])}: ${version} is of ${newer} certstandby; this one reads version ${configVersion}`,
    ]);
  }
  const parsed = configFileSchema.safeParse(raw);
  for (const issue of (parsed.error?.issues ?? []).flatMap(oneByOne)) {
    const { path } = issue;
    mistakes.push(`${path.map(String).join('.') || 'the file'}${lineAt(path)}: ${describeIssue(issue, raw)}`);
  }
  const references = readReferences(raw, sources, mistakes);
  const alertReferences = alertReferencesIn(raw, sources);
  if (sources.tells === true) mistakes.push(...[...alertReferences.values()].flatMap((follow) => follow().mistakes));
  mistakes.push(...keysOfSeveral(raw, references));
  mistakes.push(...crossMistakes(raw, dirname(sources.path)));
  if (sources.platform !== undefined) mistakes.push(...platformMistakes(raw, sources.platform));
  if (!parsed.success || mistakes.length > 0) throw invalid(sources.path, [...new Set(mistakes)]);
  return toConfig(parsed.data, { references, alertReferences }, sources.path);
}

function invalid(path: string, mistakes: readonly string[]): CodedError {
  const list = mistakes.map((mistake) => `\n  - ${visible(mistake)}`).join('');
  const count = mistakes.length === 1 ? 'one mistake' : `${mistakes.length} mistakes`;
  return new CodedError('configuration_invalid', `${visible(path)} has ${count}:${list}`, {
    fields: { path, mistakes },
  });
}

/**
 * The values of the document. Its aliases are followed, as far as they lead somewhere and no bomb
 * is built of them.
 */
function withoutAliases(document: Document.Parsed, path: string): unknown {
  try {
    return document.toJS() ?? {};
  } catch {
    throw invalid(path, ['an alias (*name) leads nowhere, or to too much']);
  }
}

/**
 * What stands in a configuration file: each setting by its path (`worker.concurrency`), as written,
 * and on which line.
 */
export function writtenSettings(text: string): ReadonlyMap<string, { readonly value: string; readonly line: number }> {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const settings = new Map<string, { value: string; line: number }>();
  const walk = (node: unknown, path: string) => {
    if (!isMap(node)) return;
    for (const { key, value } of node.items) {
      const here = path === '' ? String(key) : `${path}.${key}`;
      const { range } = (isScalar(key) ? key : { range: undefined }) as { range?: [number, number, number] | null };
      if (isMap(value)) walk(value, here);
      else settings.set(here, { value: JSON.stringify(value), line: lines.linePos(range?.[0] ?? 0).line });
    }
  };
  walk(document.contents, '');
  return settings;
}

/** Settings as text of such a file. */
export function settingsText(settings: object): string {
  return stringify(settings, { lineWidth: 0 });
}

type Issue = z.core.$ZodIssue;

/** Each unknown key as an issue of its own, in its own place. */
function oneByOne(issue: Issue): readonly Issue[] {
  if (issue.code !== 'unrecognized_keys') return [issue];
  return issue.keys.map((key) => ({ ...issue, keys: [key], path: [...issue.path, key] }));
}

const typeNames: Readonly<Record<string, string>> = {
  string: 'text',
  object: 'a mapping of keys to values',
  record: 'a mapping of names to values',
  array: 'a list',
  boolean: 'true or false',
  int: 'a whole number',
  number: 'a number',
};

/** What the schema says of itself where it has words of its own; it has none for most things. */
const ownWords = ({ message }: Issue): string | undefined => (message === 'Invalid input' ? undefined : message);

function describeIssue(issue: Issue, raw: unknown): string {
  const given = issue.path.reduce<unknown>((value, key) => tree(value)[String(key)], raw);
  switch (issue.code) {
    case 'unrecognized_keys':
      return unknownKey(issue.path, raw);
    case 'invalid_type':
      return given === undefined ? 'is missing' : `must be ${ownWords(issue) ?? typeNames[issue.expected]}`;
    case 'invalid_value':
      return `must be ${issue.values.map(String).join(' or ')}`;
    case 'invalid_union':
      return `must be ${ownWords(issue) ?? (issue as { options?: string[] }).options?.join(' or ')}`;
    case 'invalid_key':
      return `must be ${issue.issues[0]?.message}`;
    case 'too_small':
      if (issue.origin === 'array') return `must name ${issue.message}`;
      return `must be ${issue.inclusive ? 'at least' : 'above'} ${issue.minimum}`;
    case 'too_big':
      return `must be at most ${issue.maximum}`;
    default:
      return `must be ${issue.message}`;
  }
}

/**
 * What is said of a key that is not known at its place: what there is, and whose setting it is if
 * it is one of another kind.
 */
function unknownKey(path: readonly PropertyKey[], raw: unknown): string {
  const above = path.slice(0, -1).map(String);
  const { kind } = tree(above.reduce<unknown>((value, key) => tree(value)[key], raw));
  const place = above.map((key, depth) => (isNamed(above.slice(0, depth)) ? '*' : key));
  const depth = place.length;
  const here = configSettings.map((setting) => ({ ...setting, keys: setting.path.split('.') }));
  const beside = here.filter(({ keys }) => keys.length > depth && place.every((key, index) => keys[index] === key));
  const names = beside.flatMap(({ of, keys }) => (of === undefined || of === kind ? [keys[depth] ?? ''] : []));
  const others = beside.filter(({ of, keys }) => of !== kind && keys[depth] === path[depth]).map(({ of }) => of);
  const ofAnother = others.length === 0 ? '' : ` of ${kind}: that is a setting of ${others.join(' and ')}`;
  const known = [...new Set(names)].filter((name) => name !== 'kind');
  return `is not a known key${ofAnother}; ${known.length === 1 ? 'there is' : 'there are'} ${known.join(', ')}`;
}

/** Whether what stands below these keys has names that the file gives. */
const isNamed = (above: readonly string[]) =>
  above.length > 0 && configSettings.some(({ path }) => path.startsWith(`${above.join('.')}.*`));

type Tree = Readonly<Record<string, unknown>>;
const tree = (value: unknown): Tree => (typeof value === 'object' && value !== null ? (value as Tree) : {});
const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];

const schemes = /^(env|file|ssm|secretsmanager):(.+)$/;

/**
 * The service of what stands below the name of a store or a sender; `undefined` where it is of none
 * that there is.
 */
const serviceOf = (raw: unknown): Service | undefined => services.find(({ kind }) => kind === tree(raw).kind);

/**
 * What the service of a store knows of its settings; `undefined` where it is of none that keeps
 * certificates.
 */
const settingsOf = (store: unknown): ServiceSettings | undefined => serviceOf(store)?.settings;

/** The same of a sender. */
const senderSettingsOf = (sender: unknown): SenderSettings | undefined => serviceOf(sender)?.senderSettings;

/** What stands where these settings refer to secrets, by the place of each below `at`. */
function secretsIn(settings: Pick<ServiceSettings, 'schema'> | undefined, value: unknown, at: string) {
  const secrets = settings === undefined ? [] : settingsIn(settings.schema).filter(({ secret }) => secret);
  return secrets.map(({ path }) => ({ setting: `${at}.${path}`, reference: tree(value)[path] }));
}

/** What stands where a store refers to secrets, by the place of each. */
const secretsOf = (store: string, value: unknown) => secretsIn(settingsOf(value), value, `stores.${store}`);

/** The same of a sender. */
const senderSecretsOf = (sender: string, value: unknown) =>
  secretsIn(senderSettingsOf(value), value, `senders.${sender}`);

const channelKindOf = (channel: unknown): ChannelKind | undefined =>
  channelKinds.find(({ kind }) => kind === tree(channel).kind);

const channelsIn = (raw: unknown): readonly (readonly [string, unknown])[] =>
  Object.entries(tree(tree(tree(raw).alerts).channels));

/** What stands where alerts refer to secrets, by the place of each, and what is wrong with one. */
function alertSecretsOf(raw: unknown) {
  const ofChannels = channelsIn(raw).flatMap(([name, value]) => {
    const kind = channelKindOf(value);
    const at = `alerts.channels.${name}`;
    return secretsIn(kind, value, at).map(({ setting, reference }) => ({
      setting,
      reference,
      mistake: (text: string) => kind?.secretMistake?.(setting.slice(at.length + 1), text),
    }));
  });
  return [...ofChannels, { setting: 'alerts.heartbeat.url', reference: heartbeatIn(raw).url, mistake: urlMistake }];
}

const heartbeatIn = (raw: unknown): Tree => tree(tree(tree(raw).alerts).heartbeat);

/** Mistakes of channels by themselves, and with the links that they name. */
function alertMistakes(raw: unknown, links: Tree): string[] {
  return channelsIn(raw).flatMap(([name, value]) => {
    const at = `alerts.channels.${name}`;
    const own = channelKindOf(value)?.mistakes?.(tree(value)) ?? [];
    const unknown = strings(tree(value).links).filter((link) => !Object.hasOwn(links, link));
    return [
      ...own.map(({ setting, what }) => `${at}.${setting}: ${what}`),
      ...unknown.map((link) => `${at}.links: there is no link ${link} under links`),
    ];
  });
}

type Followed = Map<string, string | SecretReference>;

/**
 * Follows one reference, that of the setting at `place`, and puts what it leads to into `values`,
 * or why it does not into `mistakes`.
 */
function follower(
  { env, readFile, path, platform }: ConfigSources & { readonly path: string },
  values: Followed,
  mistakes: string[],
) {
  return (place: string, reference: unknown): void => {
    if (typeof reference !== 'string') return;
    const [, scheme, target = ''] = schemes.exec(reference) ?? [];
    if (scheme === 'ssm' || scheme === 'secretsmanager' || (scheme === 'env' && platform !== undefined)) {
      values.set(place, { from: scheme, name: target });
    } else if (scheme === 'env') {
      const value = env[target];
      if (value === undefined || value === '') mistakes.push(`${place}: the environment variable ${target} is not set`);
      else values.set(place, value);
    } else if (scheme === 'file') {
      try {
        const value = readFile(resolve(dirname(path), target)).trim();
        if (value === '') mistakes.push(`${place}: the file ${target} is empty`);
        else values.set(place, value);
      } catch (cause) {
        mistakes.push(`${place}: the file ${target} cannot be read (${whyUnreadable(target, cause)})`);
      }
    }
  };
}

/**
 * Follows every reference in the file that can be followed at once, but those of `alerts`. Leaves
 * out what is no reference: the schema has said so.
 */
function readReferences(raw: unknown, sources: ConfigSources & { path: string }, mistakes: string[]): Followed {
  const { platform } = sources;
  const values: Followed = new Map();
  const follow = follower(sources, values, mistakes);
  const secrets = Object.entries(tree(tree(raw).stores)).flatMap(([store, value]) => secretsOf(store, value));
  for (const { setting, reference } of secrets) {
    // A file that is not deployed is not read: that it cannot be had there is said elsewhere.
    if (platform === undefined || !String(reference).startsWith('file:')) follow(setting, reference);
  }
  for (const [sender, value] of Object.entries(tree(tree(raw).senders))) {
    if (platform !== undefined) break;
    for (const { setting, reference } of senderSecretsOf(sender, value)) {
      follow(setting, reference);
      const text = values.get(setting);
      const wrong = typeof text === 'string' ? senderSettingsOf(value)?.secretMistake?.(text) : undefined;
      if (wrong !== undefined) mistakes.push(`${setting}: ${wrong}`);
      if (text !== undefined && typeof text !== 'string')
        mistakes.push(
          `${setting}: is read with the configuration, so that no notification waits for it: use env: or file:`,
        );
    }
  }
  for (const [link, value] of Object.entries(tree(tree(raw).links))) {
    const { verificationKey } = tree(value);
    if (String(verificationKey).startsWith('file:')) follow(`links.${link}.verificationKey`, verificationKey);
  }
  return values;
}

/** What a reference of `alerts` leads to, or what is wrong with it. */
interface AlertReference {
  readonly found?: string | SecretReference | undefined;
  readonly mistakes: readonly string[];
}
type AlertReferences = ReadonlyMap<string, () => AlertReference>;

/**
 * What follows the references of `alerts`, each by itself, by the place of each: only what tells
 * people does. Functions tell nobody.
 */
function alertReferencesIn(raw: unknown, sources: ConfigSources & { path: string }): AlertReferences {
  if (sources.platform !== undefined) return new Map();
  const one = ({ setting, reference, mistake }: ReturnType<typeof alertSecretsOf>[number]): AlertReference => {
    const values: Followed = new Map();
    const mistakes: string[] = [];
    follower(sources, values, mistakes)(setting, reference);
    const found = values.get(setting);
    const wrong = typeof found === 'string' ? mistake(found) : undefined;
    if (wrong !== undefined) mistakes.push(`${setting}: ${wrong}`);
    if (found !== undefined && typeof found !== 'string')
      mistakes.push(
        `${setting}: is read with the configuration, so that a message waits for nothing: use env: or file:`,
      );
    return { found, mistakes };
  };
  return new Map(alertSecretsOf(raw).map((secret) => [secret.setting, () => one(secret)]));
}

/** Where secrets of a platform's functions may be, and in words. */
const platformSecrets: Readonly<Record<Platform, { readonly schemes: readonly string[]; readonly words: string }>> = {
  aws: { schemes: ['ssm', 'secretsmanager'], words: 'ssm:PARAMETER or secretsmanager:SECRET' },
  openwhisk: { schemes: ['env'], words: 'env:NAME, a parameter that is bound when it is deployed' },
};

/** What cannot be had where functions run. */
function platformMistakes(raw: unknown, platform: Platform): string[] {
  const mistakes: string[] = [];
  const { table, stores, senders } = tree(raw);
  if (channelsIn(raw).length > 0 || heartbeatIn(raw).url !== undefined)
    mistakes.push(
      `alerts: functions on ${platform} tell nobody; run certstandby serve with alerts on the same table, or watch the functions by their platform`,
    );
  const { kind: tableKind } = tree(table);
  if (tableKind === 'lmdb') mistakes.push(`table.kind: functions on ${platform} keep their records in dynamodb`);
  if (platform === 'openwhisk' && table === undefined)
    mistakes.push('table: must name a DynamoDB table: { kind: dynamodb, name: certstandby, region: eu-west-1 }');
  const { schemes: allowed, words } = platformSecrets[platform];
  for (const [store, value] of Object.entries(tree(stores))) {
    const { onThisMachine, notInFunctions } = settingsOf(value) ?? {};
    if (onThisMachine || notInFunctions)
      mistakes.push(`stores.${store}.kind: functions on ${platform} have no ${String(tree(value).kind)}`);
    for (const { setting, reference } of secretsOf(store, value)) {
      const [, scheme] = schemes.exec(typeof reference === 'string' ? reference : '') ?? [];
      if (scheme !== undefined && !allowed.includes(scheme))
        mistakes.push(`${setting}: functions on ${platform} cannot read ${scheme}: here; use ${words}`);
    }
  }
  for (const [sender, value] of Object.entries(tree(senders)))
    for (const { setting, reference } of senderSecretsOf(sender, value))
      if (reference !== undefined)
        mistakes.push(
          `${setting}: the callback of functions knows no secret; let it sign with a private key, and give the public one`,
        );
  return mistakes;
}

/**
 * Mistakes between parts of the file. Works on whatever is there, so that they are named together
 * with all others.
 */
function crossMistakes(raw: unknown, folder: string): string[] {
  const stores = tree(tree(raw).stores);
  const links = tree(tree(raw).links);
  const mistakes: string[] = [];
  /** What a store is in itself. */
  const identitiesOf = (store: string) => settingsOf(stores[store])?.identities(tree(stores[store])) ?? [];
  const identityOf = (store: string) => identitiesOf(store)[0]?.is;
  const known = (store: string) => Object.hasOwn(stores, store);

  const owners = new Map<string, string>();
  const folders = new Map<string, string>();
  const trees = new Map<string, string>();
  for (const [store, value] of Object.entries(stores)) {
    for (const { is, same } of identitiesOf(store)) {
      if (is === undefined) continue;
      // What two services call the same is two things.
      const identity = `${tree(value).kind} ${same} ${is}`;
      const owner = owners.get(identity);
      if (owner !== undefined) mistakes.push(`stores.${store}: ${same} as stores.${owner}`);
      else owners.set(identity, store);
    }
    const place = settingsOf(value)?.folder?.(tree(value));
    if (place !== undefined) folders.set(store, resolve(folder, place));
    const path = settingsOf(value)?.tree?.(tree(value));
    if (path !== undefined) trees.set(store, `${tree(value).kind}/${path}`);
    for (const { setting, what } of settingsOf(value)?.mistakes?.(tree(value)) ?? [])
      mistakes.push(`stores.${store}.${setting}: ${what}`);
  }

  mistakes.push(
    ...overlapMistakes(folders, { same: 'folder', sep }),
    ...overlapMistakes(trees, { same: 'place', sep: '/' }),
  );
  const serve = tree(tree(raw).serve);
  if (serve.tls !== undefined && serve.behindProxy === true) {
    mistakes.push('serve: tls and behindProxy: true exclude each other: either it ends TLS here, or in front');
  }
  const { host: consoleHost } = tree(tree(raw).console);
  if (typeof consoleHost === 'string' && !isLoopback(consoleHost)) {
    mistakes.push(
      'console.host: must be of this machine alone, such as 127.0.0.1; from another one come through ssh -L 9480:127.0.0.1:9480',
    );
  }

  const given = tree(raw).links;
  if (typeof given === 'object' && given !== null && !Array.isArray(given) && Object.keys(given).length === 0) {
    mistakes.push('links: must name at least one link');
  }

  const pairs = new Map<string, string>();
  for (const [link, value] of Object.entries(links)) {
    const { primary, backups, policy } = tree(value);
    const names = strings(backups);
    for (const store of [...(typeof primary === 'string' ? [primary] : []), ...names]) {
      if (!known(store)) mistakes.push(`links.${link}: there is no store ${store} under stores`);
    }
    const { regions, onDelete, removeAfter, removeShare } = tree(policy);
    if (onDelete !== 'remove' && (removeAfter !== undefined || removeShare !== undefined)) {
      mistakes.push(`links.${link}: policy.removeAfter and removeShare say nothing without onDelete: remove`);
    }
    for (const [index, backup] of names.entries()) {
      const same =
        backup === primary || (identityOf(backup) !== undefined && identityOf(backup) === identityOf(String(primary)));
      if (same) {
        mistakes.push(`links.${link}: the primary ${backup} is also a backup of this link`);
        continue;
      }
      if (names.indexOf(backup) < index) mistakes.push(`links.${link}: the backup ${backup} is named twice`);
      const region = regionOf(stores[backup]);
      if (Array.isArray(regions) && region !== undefined && !regions.includes(region)) {
        mistakes.push(`links.${link}: policy.regions forbids ${region}, the region of backup ${backup}`);
      }
      if (typeof primary !== 'string') continue;
      const pair = `${primary} ${backup}`;
      const other = pairs.get(pair);
      if (other !== undefined && other !== link) {
        mistakes.push(
          `links.${link}: has the same primary and backup as links.${other}; their copies would be confused`,
        );
      }
      pairs.set(pair, link);
    }
  }
  mistakes.push(...senderMistakes(tree(tree(raw).senders), stores, links));
  mistakes.push(...alertMistakes(raw, links));
  mistakes.push(...circleMistakes(links, (store) => identityOf(store) ?? store));
  return mistakes;
}

/**
 * What proves two senders of one kind: each would take what is meant for the other, and tell of
 * another store.
 */
function keysOfSeveral(raw: unknown, references: ReadonlyMap<string, unknown>): readonly string[] {
  const first = new Map<string, { readonly sender: string; readonly place: string }>();
  const mistakes: string[] = [];
  for (const [sender, value] of Object.entries(tree(tree(raw).senders)))
    for (const setting of senderSettingsOf(value)?.keySettings ?? []) {
      const place = `senders.${sender}.${setting}`;
      const given = references.get(place) ?? tree(value)[setting];
      if (given === undefined) continue;
      const key = `${tree(value).kind} ${JSON.stringify(given)}`;
      const other = first.get(key);
      first.set(key, other ?? { sender, place });
      if (other !== undefined && other.sender !== sender)
        mistakes.push(`${place}: is that of ${other.place}, so that each would take what is meant for the other`);
    }
  return mistakes;
}

/** Mistakes of senders between themselves, and with the stores and links that they tell of. */
function senderMistakes(senders: Tree, stores: Tree, links: Tree): string[] {
  const primaries = new Set(Object.values(links).map((link) => tree(link).primary));
  return Object.entries(senders).flatMap(([sender, value]) => {
    const { store } = tree(value);
    const itsStore = typeof store === 'string' && Object.hasOwn(stores, store) ? tree(stores[store]) : undefined;
    const own = senderSettingsOf(value)?.mistakes?.(tree(value), itsStore) ?? [];
    const mistakes = own.map(({ setting, what }) => `senders.${sender}.${setting}: ${what}`);
    if (Object.hasOwn(links, sender))
      mistakes.push(`senders.${sender}: has the name of links.${sender}, and so the same callback URL`);
    if (typeof store !== 'string') return mistakes;
    if (!Object.hasOwn(stores, store)) mistakes.push(`senders.${sender}: there is no store ${store} under stores`);
    else if (!primaries.has(store))
      mistakes.push(`senders.${sender}: ${store} is the primary of no link, and nobody would hear of its changes`);
    return mistakes;
  });
}

/** Where a store lies; `undefined` if the file does not say it. */
const regionOf = (store: unknown): string | undefined => settingsOf(store)?.region(tree(store));

/** Stores that are one folder, or lie in one another, by the paths of their folders. */
function overlapMistakes(
  paths: ReadonlyMap<string, string>,
  { same, sep }: { readonly same: string; readonly sep: string },
): string[] {
  const below = (path: string) => (path.endsWith(sep) ? path : `${path}${sep}`);
  const liesIn = (inner: string, outer: string) =>
    `stores.${inner}: lies in the ${same} of stores.${outer}; one would take the other for copies`;
  const mistakes: string[] = [];
  for (const [store, path] of paths)
    for (const [other, otherPath] of paths) {
      if (other === store) break;
      if (path === otherPath) mistakes.push(`stores.${store}: is the same ${same} as stores.${other}`);
      else if (path.startsWith(below(otherPath))) mistakes.push(liesIn(store, other));
      else if (otherPath.startsWith(below(path))) mistakes.push(liesIn(other, store));
    }
  return mistakes;
}

/**
 * Links that all copy onward, and lead back to where the first of them begins. One that leads to
 * its own primary has been told of.
 */
function circleMistakes(links: Tree, placeOf: (store: string) => unknown): string[] {
  const onward = Object.entries(links).flatMap(([link, value]) => {
    const { primary, backups, policy } = tree(value);
    if (typeof primary !== 'string' || tree(policy).onward !== true) return [];
    const from = placeOf(primary);
    const to = strings(backups)
      .map(placeOf)
      .filter((place) => place !== from);
    return [{ link, from, to }];
  });
  const circles = new Map<string, string>();
  for (const start of onward) {
    // The shortest way back.
    const ways = [[start]];
    const visited = new Set([start]);
    for (let way = ways.shift(); way !== undefined; way = ways.shift()) {
      const { to } = way.at(-1) ?? start;
      if (to.includes(start.from)) {
        const names = way.map(({ link }) => `links.${link}`);
        const key = names.toSorted().join();
        if (!circles.has(key)) circles.set(key, names.join(', '));
        break;
      }
      for (const next of onward) {
        if (visited.has(next) || !to.includes(next.from)) continue;
        visited.add(next);
        ways.push([...way, next]);
      }
    }
  }
  return [...circles.values()].map(
    (names) =>
      `${names}: copy onward in a circle, so that each copies what it has written; take onward off one of them`,
  );
}

function toConfig(
  file: ConfigFile,
  given: { readonly references: Followed; readonly alertReferences: AlertReferences },
  path: string,
): Config {
  const { references, alertReferences } = given;
  const folder = dirname(path);
  const contextOf = (name: string, at: string): SettingsContext => ({
    name,
    path: (written) => resolve(folder, written),
    secret: (setting) => asSecret(references.get(`${at}.${setting}`)),
  });
  const stores = Object.entries(file.stores).map(([name, store]): StoreConfig => {
    const found = settingsOf(store);
    if (found === undefined) throw new CodedError('internal', `the store ${name} was taken, and is of no service`);
    return found.toConfig(store as never, contextOf(name, `stores.${name}`));
  });
  const senders = Object.entries(file.senders ?? {}).map(([name, sender]): SenderConfig => {
    const found = senderSettingsOf(sender);
    if (found === undefined) throw new CodedError('internal', `the sender ${name} was taken, and is of no service`);
    return found.toConfig(sender as never, contextOf(name, `senders.${name}`));
  });
  const links = Object.entries(file.links).map(([name, { primary, backups, filter, policy, naming }]): LinkConfig => {
    const pem = references.get(`links.${name}.verificationKey`);
    const verificationKey = typeof pem === 'string' ? pem : undefined;
    return {
      name,
      primary,
      backups,
      filter: { names: filter?.names ?? [], domains: filter?.domains ?? [] },
      policy: {
        requireChain: policy?.requireChain ?? false,
        onward: policy?.onward ?? false,
        ...(policy?.replace === 'never' ? { neverReplace: true } : {}),
        ...(policy?.restorable === undefined ? {} : { restorable: policy.restorable }),
        ...(policy?.regions === undefined ? {} : { regions: policy.regions }),
        ...(policy?.onDelete === 'remove' ? { removal: toRemoval(policy) } : {}),
        ...(policy?.brakeShare === undefined ? {} : { brakeShare: policy.brakeShare }),
        ...(policy?.standIns === undefined ? {} : { standIns: policy.standIns }),
      },
      ...(naming === 'exact' ? { naming } : {}),
      ...defined({ verificationKey }),
    };
  });
  const table = file.table ?? defaults.table;
  return {
    table:
      table.kind === 'lmdb'
        ? { kind: 'lmdb', path: resolve(folder, table.path ?? defaults.table.path) }
        : (defined(table) as TableConfig),
    receiver: { ...defaults.receiver, ...(defined(file.receiver ?? {}) as Partial<Config['receiver']>) },
    worker: {
      concurrency: file.worker?.concurrency ?? defaults.worker.concurrency,
      sweepEveryMs: milliseconds(file.worker?.sweepEvery) ?? defaults.worker.sweepEveryMs,
      reconcileEveryMs: milliseconds(file.worker?.reconcileEvery) ?? defaults.worker.reconcileEveryMs,
    },
    ...(file.serve === undefined ? {} : { serve: toServe(file.serve, folder) }),
    ...(file.console !== undefined && {
      console: { ...defaultConsole, ...(defined(file.console) as Partial<ConsoleConfig>) },
    }),
    drill: toDrill(file.drill ?? {}, folder),
    stores,
    links,
    ...(senders.length === 0 ? {} : { senders }),
    ...(file.alerts === undefined ? {} : { alerts: toAlerts(file.alerts, alertReferences, path) }),
    audit: toAudit(file.audit ?? {}, folder),
  };
}

function toAudit({ write, folder: keys, checkpointEvery, keep }: NonNullable<ConfigFile['audit']>, folder: string) {
  return {
    write: write ?? defaults.audit.write,
    folder: resolve(folder, keys ?? defaults.audit.folder),
    checkpointEveryMs: milliseconds(checkpointEvery) ?? defaults.audit.checkpointEveryMs,
    keepMs: milliseconds(keep) ?? defaults.audit.keepMs,
  };
}

function toAlerts(
  { every, after, repeat, expiryWithin, channels = {}, heartbeat }: NonNullable<ConfigFile['alerts']>,
  references: AlertReferences,
  path: string,
): AlertsConfig {
  /** Something whose settings stand at `at`, once all that it refers to is there. */
  const opened = <T>(at: string, to: (secret: (setting: string) => Secret) => T): T => {
    const own = [...references].filter(([setting]) => setting.startsWith(`${at}.`));
    const followed = new Map(own.map(([setting, follow]) => [setting, follow()]));
    const mistakes = [...followed.values()].flatMap((each) => each.mistakes);
    if (mistakes.length > 0) throw invalid(path, mistakes);
    // A reference that leads nowhere is a mistake, and none was left.
    return to((setting) => asSecret(followed.get(`${at}.${setting}`)?.found) as Secret);
  };
  return {
    everyMs: milliseconds(every) ?? defaults.alerts.everyMs,
    afterMs: milliseconds(after) ?? defaults.alerts.afterMs,
    repeatMs: milliseconds(repeat) ?? defaults.alerts.repeatMs,
    expiryWithinMs: milliseconds(expiryWithin) ?? defaults.alerts.expiryWithinMs,
    channels: Object.entries(channels).map(([name, given]) => {
      const found = channelKindOf(given);
      if (found === undefined) throw new CodedError('internal', `the channel ${name} was taken, and is of no kind`);
      const open = () =>
        opened(`alerts.channels.${name}`, (secret) => found.toConfig(given as never, { name, secret }));
      return { name, kind: found.kind, open };
    }),
    ...(heartbeat !== undefined && {
      heartbeat: {
        open: () =>
          opened('alerts.heartbeat', (secret) => ({
            url: secret('url'),
            everyMs: milliseconds(heartbeat.every) ?? defaults.alerts.heartbeatMs,
          })),
      },
    }),
  };
}

const asSecret = (found: string | SecretReference = ''): Secret | SecretReference =>
  typeof found === 'string' ? new Secret(found) : found;

function toServe({ tls, behindProxy, metrics, stopWithin }: NonNullable<ConfigFile['serve']>, folder: string) {
  const { host, port } = metrics ?? {};
  const files = tls && { certificate: resolve(folder, tls.certificate), key: resolve(folder, tls.key) };
  return {
    ...(files === undefined ? {} : { tls: files }),
    behindProxy: behindProxy ?? defaultServe.behindProxy,
    metrics: { host: host ?? defaultServe.metrics.host, port: port ?? defaultServe.metrics.port },
    stopWithinMs: milliseconds(stopWithin) ?? defaultServe.stopWithinMs,
  };
}

function toDrill(
  { folder: reports = defaultDrill.folder, trust, every, sample }: NonNullable<ConfigFile['drill']>,
  folder: string,
) {
  return defined({
    folder: resolve(folder, reports),
    trust: trust === undefined ? undefined : resolve(folder, trust),
    everyMs: milliseconds(every),
    sample,
  }) as DrillConfig;
}

/**
 * Copies of deleted certificates go after 30 days, a twentieth of all copies at once, unless the
 * policy says otherwise.
 */
function toRemoval({
  removeAfter,
  removeShare,
}: {
  removeAfter?: string | undefined;
  removeShare?: number | undefined;
}) {
  return {
    afterMs: milliseconds(removeAfter) ?? defaults.removal.afterMs,
    maxShare: removeShare ?? defaults.removal.maxShare,
  };
}
