import { dirname, resolve } from 'node:path';
import { type Document, isMap, isScalar, LineCounter, parseDocument, stringify } from 'yaml';
import * as z from 'zod/mini';
import { CodedError } from './errors.ts';
import { visible } from './foreign-text.ts';
import { limits } from './limits.ts';
import { fileError, readTextFileSync, whyUnreadable } from './regular-file.ts';
import { Secret, type SecretReference } from './secret.ts';

/**
 * The one configuration, `certstandby.yaml`: parsed once, strictly, all mistakes reported at once. Secrets stand in it only by
 * reference (`env:NAME`, `file:PATH`, `ssm:PARAMETER`, `secretsmanager:SECRET`); paths are relative to the file.
 * `certstandby.schema.json` is made from the schema below.
 */

const durationPattern = /^(\d+)(ms|s|m|h|d)$/;
const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const;
/** Text of a form that `what` describes, after "must be". */
const text = (pattern: RegExp, what: string) => z.string(what).check(z.regex(pattern, what));
/** A timer that is set for longer goes off at once. */
const longestMs = 24 * unitMs.d;
const duration = text(durationPattern, 'a duration such as 500ms, 30s, 5m, 2h or 7d').check(
  z.refine((given) => (milliseconds(given) ?? 0) <= longestMs, 'at most 24d'),
);
const period = duration.check(z.refine((given) => (milliseconds(given) ?? 1_000) >= 1_000, 'at least 1s'));
/** A length of time that no timer is set for. */
const span = text(durationPattern, 'a duration such as 12h or 30d');
const share = z.number().check(z.minimum(0), z.maximum(1));
const port = z.int().check(z.minimum(0), z.maximum(65_535));
const secretReference = text(
  /^(env:\w+|file:.+|ssm:[\w.\-/:]+|secretsmanager:[\w/+=.@:-]+(#[^#]+)?)$/,
  'a reference (env:NAME, file:PATH, ssm:PARAMETER or secretsmanager:SECRET), never the secret itself',
);
const name = text(/^[a-z0-9][a-z0-9-]{0,62}$/, 'a name of lower-case letters, digits and dashes, at most 63');
const url = text(/^https?:\/\/[^\s/?#]+\/?$/, 'an address such as https://host or https://host:port');
const cmInstance = text(
  /^crn:v1:[a-z]+:[a-z]+:cloudcerts:[a-z0-9-]+:a\/[0-9a-f]+:[0-9a-f-]+::$/,
  'the CRN of a Certificate Manager instance: crn:v1:bluemix:public:cloudcerts:<region>:a/<account>:<guid>::',
);

const certificateManagerStore = z.strictObject({
  kind: z.literal('certificate-manager'),
  instance: cmInstance,
  apiKey: secretReference,
  endpoint: z.optional(url),
  iam: z.optional(url),
  settles: z.optional(duration),
  listingLag: z.optional(duration),
  readSettles: z.optional(duration),
  writesPerCertificatePerMinute: z.optional(
    z.union([z.int().check(z.minimum(1)), z.literal('unlimited')], 'a whole number of at least 1, or unlimited'),
  ),
  requestsPerSecond: z.optional(z.number().check(z.positive())),
});

const directoryStoreSchema = z.strictObject({
  kind: z.literal('directory'),
  path: z.string(),
  id: text(/^[\w.@-]{1,100}$/, 'a name for this folder among all folders, of letters, digits and .@_-, at most 100'),
  region: z.optional(text(/^[\w.-]{1,63}$/, 'a region of letters, digits and .-_, at most 63')),
  quiet: z.optional(duration),
  keepVersions: z.optional(z.int().check(z.minimum(0), z.maximum(1_000))),
});

const link = z.strictObject({
  primary: z.string(),
  backups: z.array(z.string()).check(z.minLength(1, 'at least one backup')),
  filter: z.optional(
    z.strictObject({ names: z.optional(z.array(z.string())), domains: z.optional(z.array(z.string())) }),
  ),
  policy: z.optional(
    z.strictObject({
      regions: z.optional(z.array(z.string())),
      requireChain: z.optional(z.boolean()),
      onward: z.optional(z.boolean()),
      restorable: z.optional(z.boolean()),
      onDelete: z.optional(z.enum(['retain', 'remove'])),
      removeAfter: z.optional(span),
      removeShare: z.optional(share.check(z.positive())),
      brakeShare: z.optional(share),
      standIns: z.optional(z.boolean()),
    }),
  ),
  verificationKey: z.optional(text(/^file:.+$/, 'file:PATH of a public key in PEM')),
});

const table = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('lmdb'), path: z.string() }),
  z.strictObject({
    kind: z.literal('dynamodb'),
    name: text(/^[\w.-]{3,255}$/, 'a name of letters, digits and ._-, from 3 to 255'),
    region: text(/^[a-z0-9-]{1,63}$/, 'a region of AWS such as eu-west-1'),
    endpoint: z.optional(url),
  }),
]);

/** The version of the file's format. */
const configVersion = 1;

/** The schema of the file. Exported for the JSON schema that editors use. */
export const configFileSchema = z.strictObject({
  version: z.literal(configVersion),
  table: z.optional(table),
  receiver: z.optional(z.strictObject({ host: z.optional(z.string()), port: z.optional(port) })),
  worker: z.optional(
    z.strictObject({
      concurrency: z.optional(z.int().check(z.minimum(1), z.maximum(256))),
      sweepEvery: z.optional(period),
      reconcileEvery: z.optional(period),
    }),
  ),
  serve: z.optional(
    z.strictObject({
      tls: z.optional(z.strictObject({ certificate: z.string(), key: z.string() })),
      behindProxy: z.optional(z.boolean()),
      metrics: z.optional(z.strictObject({ host: z.optional(z.string()), port: z.optional(port) })),
      stopWithin: z.optional(duration),
    }),
  ),
  drill: z.optional(
    z.strictObject({
      folder: z.optional(z.string()),
      trust: z.optional(z.string()),
      every: z.optional(period),
      sample: z.optional(z.int().check(z.minimum(1))),
    }),
  ),
  stores: z.record(name, z.discriminatedUnion('kind', [certificateManagerStore, directoryStoreSchema])),
  links: z.record(name, link),
});

type ConfigFile = z.infer<typeof configFileSchema>;

export type StoreConfig = CertificateManagerConfig | DirectoryConfig;

export interface DirectoryConfig {
  readonly name: string;
  readonly kind: 'directory';
  readonly path: string;
  /** Stands in marks. */
  readonly id: string;
  readonly region: string;
  readonly quietMs?: number;
  readonly keepVersions?: number;
}

export interface CertificateManagerConfig {
  readonly name: string;
  readonly kind: 'certificate-manager';
  readonly instance: string;
  readonly region: string;
  /** A reference where it is read only when the store is opened. */
  readonly apiKey: Secret | SecretReference;
  readonly endpoint?: string;
  readonly iam?: string;
  readonly settlesMs?: number;
  readonly listingLagMs?: number;
  readonly readSettlesMs?: number;
  /** Absent: what the service is known to allow. */
  readonly writesPerCertificatePerMinute?: number | 'unlimited';
  readonly requestsPerSecond?: number;
}

export interface LinkConfig {
  readonly name: string;
  readonly primary: string;
  readonly backups: readonly string[];
  readonly filter: { readonly names: readonly string[]; readonly domains: readonly string[] };
  readonly policy: {
    readonly regions?: readonly string[];
    readonly requireChain: boolean;
    readonly onward: boolean;
    /** `false`: it is meant that no backup gives private keys back. */
    readonly restorable?: boolean;
    /** Absent: copies of deleted certificates stay. */
    readonly removal?: { readonly afterMs: number; readonly maxShare: number };
    readonly brakeShare?: number;
    /** Self-signed and temporary certificates are copied like any other. */
    readonly standIns?: boolean;
  };
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

export const defaultServe: ServeConfig = {
  behindProxy: false,
  metrics: { host: '127.0.0.1', port: 9464 },
  stopWithinMs: 20_000,
};

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

export const defaultDrill: DrillConfig = { folder: 'drills' };

export interface Config {
  readonly table: TableConfig;
  readonly receiver: { readonly host: string; readonly port: number };
  readonly worker: { readonly concurrency: number; readonly sweepEveryMs: number; readonly reconcileEveryMs: number };
  /** Absent: `defaultServe`. */
  readonly serve?: ServeConfig;
  /** Absent: `defaultDrill`. */
  readonly drill?: DrillConfig;
  readonly stores: readonly StoreConfig[];
  readonly links: readonly LinkConfig[];
}

/** Where functions are deployed to. */
export const platforms = ['aws', 'openwhisk'] as const;
export type Platform = (typeof platforms)[number];

/** Where references lead. Given, not read from the process, so that tests decide. */
export interface ConfigSources {
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly readFile: (path: string) => string;
  /** Given when it is parsed for functions that run there: secrets are not read, and what cannot be had there is a mistake. */
  readonly platform?: Platform;
}

/** Reads and parses a configuration file, for this machine or for functions on a platform. Throws `configuration_missing`, what `regular-file.ts` throws, or `configuration_invalid` with every mistake named. */
export function loadConfig(path: string, env: ConfigSources['env'], platform?: Platform): Config {
  let text: string;
  try {
    text = readConfigFile(path);
  } catch (cause) {
    const why = fileError(path, cause);
    const words = `the configuration file ${path} cannot be read (${whyUnreadable(path, cause)})`;
    if (why.code === 'file_missing') throw new CodedError('configuration_missing', words, { cause: why.cause });
    throw new CodedError(why.code, words, { cause, fields: why.fields });
  }
  const sources = { path, env, readFile: readConfigFile };
  return parseConfig(text, platform === undefined ? sources : { ...sources, platform });
}

/** The text of a configuration file, or of a file that one names. Throws what `regular-file.ts` throws. */
export function readConfigFile(path: string): string {
  return readTextFileSync(path, { maxBytes: limits.textFileBytes });
}

/** Parses the text of a configuration file. Throws `configuration_invalid` with every mistake named. */
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
  mistakes.push(...crossMistakes(raw));
  if (sources.platform !== undefined) mistakes.push(...platformMistakes(raw, sources.platform));
  if (!parsed.success || mistakes.length > 0) throw invalid(sources.path, [...new Set(mistakes)]);
  return toConfig(parsed.data, references, dirname(sources.path));
}

function invalid(path: string, mistakes: readonly string[]): CodedError {
  const list = mistakes.map((mistake) => `\n  - ${visible(mistake)}`).join('');
  const count = mistakes.length === 1 ? 'one mistake' : `${mistakes.length} mistakes`;
  return new CodedError('configuration_invalid', `${visible(path)} has ${count}:${list}`, {
    fields: { path, mistakes },
  });
}

/** The values of the document. Its aliases are followed, as far as they lead somewhere and no bomb is built of them. */
function withoutAliases(document: Document.Parsed, path: string): unknown {
  try {
    return document.toJS() ?? {};
  } catch {
    throw invalid(path, ['an alias (*name) leads nowhere, or to too much']);
  }
}

/** What stands in a configuration file: each setting by its path (`worker.concurrency`), as written, and on which line. */
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
      return 'is not a known key';
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

type Tree = Readonly<Record<string, unknown>>;
const tree = (value: unknown): Tree => (typeof value === 'object' && value !== null ? (value as Tree) : {});
const strings = (value: unknown): string[] =>
  Array.isArray(value) ? value.filter((item) => typeof item === 'string') : [];

const schemes = /^(env|file|ssm|secretsmanager):(.+)$/;

/** Follows every reference in the file that can be followed at once. Leaves out what is none: the schema has said so. */
function readReferences(raw: unknown, sources: ConfigSources & { path: string }, mistakes: string[]) {
  const { env, readFile, path, platform } = sources;
  const values = new Map<string, string | SecretReference>();
  const follow = (place: string, reference: unknown) => {
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
  for (const [store, value] of Object.entries(tree(tree(raw).stores))) {
    const { apiKey } = tree(value);
    // A file that is not deployed is not read: that it cannot be had there is said elsewhere.
    if (platform === undefined || !String(apiKey).startsWith('file:')) follow(`stores.${store}.apiKey`, apiKey);
  }
  for (const [link, value] of Object.entries(tree(tree(raw).links))) {
    const { verificationKey } = tree(value);
    if (String(verificationKey).startsWith('file:')) follow(`links.${link}.verificationKey`, verificationKey);
  }
  return values;
}

/** Where secrets of a platform's functions may be, and in words. */
const platformSecrets: Readonly<Record<Platform, { readonly schemes: readonly string[]; readonly words: string }>> = {
  aws: { schemes: ['ssm', 'secretsmanager'], words: 'ssm:PARAMETER or secretsmanager:SECRET' },
  openwhisk: { schemes: ['env'], words: 'env:NAME, a parameter that is bound when it is deployed' },
};

/** What cannot be had where functions run. */
function platformMistakes(raw: unknown, platform: Platform): string[] {
  const mistakes: string[] = [];
  const { table, stores } = tree(raw);
  const { kind: tableKind } = tree(table);
  if (tableKind === 'lmdb') mistakes.push(`table.kind: functions on ${platform} keep their records in dynamodb`);
  if (platform === 'openwhisk' && table === undefined)
    mistakes.push('table: must name a DynamoDB table: { kind: dynamodb, name: certstandby, region: eu-west-1 }');
  const { schemes: allowed, words } = platformSecrets[platform];
  for (const [store, value] of Object.entries(tree(stores))) {
    const { kind, apiKey } = tree(value);
    if (kind === 'directory') mistakes.push(`stores.${store}.kind: functions on ${platform} have no directory`);
    const [, scheme] = schemes.exec(typeof apiKey === 'string' ? apiKey : '') ?? [];
    if (scheme !== undefined && !allowed.includes(scheme))
      mistakes.push(`stores.${store}.apiKey: functions on ${platform} cannot read ${scheme}: here; use ${words}`);
  }
  return mistakes;
}

/** Mistakes between parts of the file. Works on whatever is there, so that they are named together with all others. */
function crossMistakes(raw: unknown): string[] {
  const stores = tree(tree(raw).stores);
  const links = tree(tree(raw).links);
  const mistakes: string[] = [];
  /** What a store is in itself: an instance, or a folder by its id. */
  const identityOf = (store: string) => {
    const { kind, instance, id } = tree(stores[store]);
    return kind === 'directory' ? (typeof id === 'string' ? `directory:${id}` : undefined) : instance;
  };
  const known = (store: string) => Object.hasOwn(stores, store);

  const owners = new Map<unknown, string>();
  const paths = new Map<unknown, string>();
  for (const [store, value] of Object.entries(stores)) {
    const { kind, path, endpoint, iam } = tree(value);
    const identity = identityOf(store);
    const owner = typeof identity === 'string' ? owners.get(identity) : undefined;
    const what = kind === 'directory' ? 'has the same id' : 'is the same instance';
    if (owner !== undefined) mistakes.push(`stores.${store}: ${what} as stores.${owner}`);
    else owners.set(identity, store);
    const besides = kind === 'directory' && typeof path === 'string' ? paths.get(path) : undefined;
    if (besides !== undefined) mistakes.push(`stores.${store}: is the same folder as stores.${besides}`);
    else if (kind === 'directory') paths.set(path, store);
    for (const [key, address] of Object.entries({ endpoint, iam })) {
      if (typeof address === 'string' && isPlainHttpOffLoopback(address)) {
        mistakes.push(
          `stores.${store}.${key}: plain http:// is allowed on loopback only; keys would travel in the clear`,
        );
      }
    }
  }

  const serve = tree(tree(raw).serve);
  if (serve.tls !== undefined && serve.behindProxy === true) {
    mistakes.push('serve: tls and behindProxy: true exclude each other: either it ends TLS here, or in front');
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
  return mistakes;
}

/** The region of a directory on a machine that nobody has named one for. */
const defaultRegion = 'local';

/** Segment 5 of a CRN; what is written, for a directory. */
function regionOf(store: unknown): string | undefined {
  const { kind, instance, region = defaultRegion } = tree(store);
  if (kind === 'directory') return typeof region === 'string' ? region : undefined;
  return typeof instance === 'string' ? instance.split(':')[5] : undefined;
}

/** Whether an address is `http://` and its host is not loopback. */
function isPlainHttpOffLoopback(address: string): boolean {
  if (!URL.canParse(address)) return false;
  const { protocol, hostname } = new URL(address);
  const loopback = hostname === 'localhost' || hostname === '[::1]' || /^127(\.\d{1,3}){3}$/.test(hostname);
  return protocol === 'http:' && !loopback;
}

function milliseconds(text: string | undefined): number | undefined {
  const [, count, unit] = durationPattern.exec(text ?? '') ?? [];
  return count === undefined ? undefined : Number(count) * unitMs[unit as keyof typeof unitMs];
}

function toConfig(file: ConfigFile, references: ReadonlyMap<string, string | SecretReference>, folder: string): Config {
  const stores = Object.entries(file.stores).map(([name, store]): StoreConfig => {
    if (store.kind === 'directory') {
      const { quiet, path, region = defaultRegion, ...plain } = store;
      const given = { ...plain, name, region, path: resolve(folder, path), quietMs: milliseconds(quiet) };
      return withoutUndefined(given) as StoreConfig;
    }
    const { settles, listingLag, readSettles, apiKey: _reference, ...plain } = store;
    return withoutUndefined({
      ...plain,
      name,
      region: regionOf(store) ?? '',
      apiKey: asSecret(references.get(`stores.${name}.apiKey`)),
      settlesMs: milliseconds(settles),
      listingLagMs: milliseconds(listingLag),
      readSettlesMs: milliseconds(readSettles),
    }) as StoreConfig;
  });
  const links = Object.entries(file.links).map(([name, { primary, backups, filter, policy }]): LinkConfig => {
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
        ...(policy?.restorable === undefined ? {} : { restorable: policy.restorable }),
        ...(policy?.regions === undefined ? {} : { regions: policy.regions }),
        ...(policy?.onDelete === 'remove' ? { removal: toRemoval(policy) } : {}),
        ...(policy?.brakeShare === undefined ? {} : { brakeShare: policy.brakeShare }),
        ...(policy?.standIns === undefined ? {} : { standIns: policy.standIns }),
      },
      ...(verificationKey === undefined ? {} : { verificationKey }),
    };
  });
  const table = file.table ?? { kind: 'lmdb', path: 'certstandby-data' };
  return {
    table:
      table.kind === 'lmdb'
        ? { kind: 'lmdb', path: resolve(folder, table.path) }
        : (withoutUndefined(table) as TableConfig),
    receiver: { host: file.receiver?.host ?? '127.0.0.1', port: file.receiver?.port ?? 8480 },
    worker: {
      concurrency: file.worker?.concurrency ?? 16,
      sweepEveryMs: milliseconds(file.worker?.sweepEvery) ?? 60_000,
      reconcileEveryMs: milliseconds(file.worker?.reconcileEvery) ?? 3_600_000,
    },
    ...(file.serve === undefined ? {} : { serve: toServe(file.serve, folder) }),
    drill: toDrill(file.drill ?? {}, folder),
    stores,
    links,
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
  { folder: reports = 'drills', trust, every, sample }: NonNullable<ConfigFile['drill']>,
  folder: string,
) {
  return withoutUndefined({
    folder: resolve(folder, reports),
    trust: trust === undefined ? undefined : resolve(folder, trust),
    everyMs: milliseconds(every),
    sample,
  }) as DrillConfig;
}

/** Copies of deleted certificates go after 30 days, a twentieth of all copies at once, unless the policy says otherwise. */
function toRemoval({
  removeAfter,
  removeShare,
}: {
  removeAfter?: string | undefined;
  removeShare?: number | undefined;
}) {
  return { afterMs: milliseconds(removeAfter) ?? 30 * unitMs.d, maxShare: removeShare ?? 0.05 };
}

function withoutUndefined<T extends object>(value: T): Partial<T> {
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined)) as Partial<T>;
}
