import { mkdirSync, renameSync, writeFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';
import { Option } from 'commander';
import * as z from 'zod/mini';
import type { Instances } from '../../compose/instances.ts';
import type { RootKeyConfig } from '../../compose/root-keys.ts';
import type { TableConfig } from '../../config.ts';
import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import { visible } from '../../foreign-text.ts';
import type { KeptInstance } from '../../instance/tenants/registry.ts';
import { limits } from '../../limits.ts';
import type { Log } from '../../log.ts';
import { readTextFileSync } from '../../regular-file.ts';
import { systemRuntime as runtime } from '../../runtime.ts';
import { Secret } from '../../secret.ts';
import type { Host } from '../output/output.ts';
import { settingsMistakes } from './settings-mistakes.ts';

/**
 * What all commands about the instances of a folder have to know: `instances.json` in it, written
 * by `instance create`. Paths are relative to the folder. Secrets do not stand in it.
 */
const settingsSchema = z.strictObject({
  version: z.literal(1),
  table: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('lmdb'), path: z.string() }),
    z.strictObject({
      kind: z.literal('dynamodb'),
      name: z.string(),
      region: z.string(),
      endpoint: z.optional(z.string()),
    }),
  ]),
  rootKeys: z.array(z.string()).check(z.minLength(1), z.maxLength(2)),
  snapshots: z.optional(
    z.strictObject({
      path: z.optional(z.string()),
      keepDays: z.optional(z.int().check(z.minimum(1), z.maximum(3650))),
    }),
  ),
  /** Who issues what is ordered, as the options of `instance run` say it; they come first. */
  ordering: z.optional(
    z.strictObject({
      acmeDirectory: z.optional(z.string()),
      acmeContact: z.optional(z.array(z.string())),
      acmeCa: z.optional(z.string()),
      acmeEabKeyId: z.optional(z.string()),
      acmeEabKeyFile: z.optional(z.string()),
      dnsHook: z.optional(z.string()),
      dnsHookEnv: z.optional(z.array(z.string())),
      dnsServer: z.optional(z.string()),
    }),
  ),
});

export type InstanceSettings = z.infer<typeof settingsSchema>;

/** Data and root key lie apart: a copy of the one must not bring the other with it. */
export const defaultSettings: InstanceSettings = {
  version: 1,
  table: { kind: 'lmdb', path: 'data' },
  rootKeys: ['file:keys/root.key'],
};

const settingsFile = 'instances.json';
/** Days for which daily snapshots are kept, unless the settings say otherwise. */
const keepDays = 7;
/** The API key for root keys in Key Protect. */
const keyProtectApiKey = 'KEY_PROTECT_API_KEY';

export interface FolderOptions {
  readonly folder: string;
}

/** `--folder`, as every command about instances takes it. */
export function folderOption(): Option {
  return new Option('--folder <path>', 'where the instances are').default('certstandby-instances');
}

/** `--instance`, as every command about one or all instances takes it. */
export function instanceOption(what: string): Option {
  return new Option('-i, --instance <crn>', `${what}: its CRN, or the GUID in it`);
}

/**
 * The settings of a folder, `undefined` if there are none. Throws `instances_settings_invalid` with
 * every mistake named.
 */
export function readSettings(folder: string): InstanceSettings | undefined {
  const file = join(folder, settingsFile);
  let raw: unknown;
  try {
    raw = JSON.parse(readTextFileSync(file, { maxBytes: limits.textFileBytes }));
  } catch (cause) {
    if (cause instanceof CodedError) {
      if (cause.code === 'file_missing') return undefined;
      throw cause;
    }
    throw new CodedError('instances_settings_invalid', `${file} cannot be read as JSON`, { cause });
  }
  const parsed = z.safeParse(settingsSchema, raw);
  if (parsed.success) return parsed.data;
  const mistakes = settingsMistakes(parsed.error.issues, raw);
  throw new CodedError(
    'instances_settings_invalid',
    `${visible(file)} has mistakes:\n  - ${mistakes.map(visible).join('\n  - ')}`,
    {
      fields: { path: file, mistakes },
    },
  );
}

export function writeSettings(folder: string, settings: InstanceSettings): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const file = join(folder, settingsFile);
  // Renamed into place: a server that reads it meanwhile finds the old one or the new one.
  writeFileSync(`${file}.${process.pid}`, `${JSON.stringify(settings, undefined, 2)}\n`, { mode: 0o600 });
  renameSync(`${file}.${process.pid}`, file);
}

/**
 * Opens the instances of a folder. Throws `instances_missing` if there are none, and what table and
 * root keys throw.
 */
export async function openFolder(
  folder: string,
  host: Host,
  log: Log,
  given?: InstanceSettings,
  { makeRootKeys = true }: { readonly makeRootKeys?: boolean } = {},
): Promise<Instances> {
  const settings = given ?? readSettings(folder);
  if (settings === undefined) {
    throw new CodedError('instances_missing', `there are no instances in ${folder}`);
  }
  const { openInstances } = await import('../../compose/instances.ts');
  return openInstances(
    {
      table: tableOf(folder, settings),
      rootKeys: rootKeysOf(folder, settings, host),
      snapshots: { folder: snapshotFolderOf(folder, settings), keepDays: settings.snapshots?.keepDays ?? keepDays },
      makeRootKeys,
    },
    { runtime, log },
  );
}

/** Where the snapshots of a folder are. */
export function snapshotFolderOf(folder: string, settings = readSettings(folder)): string {
  return resolve(folder, settings?.snapshots?.path ?? 'snapshots');
}

/** The root keys that the settings name. Throws `instances_settings_invalid`. */
export function rootKeysOf(folder: string, settings: InstanceSettings, host: Host): readonly RootKeyConfig[] {
  return settings.rootKeys.map((text) => {
    const rootKey = parseRootKey(text, folder, host);
    if (rootKey.kind !== 'file') return rootKey;
    const path = resolve(folder, rootKey.path);
    if (settings.table.kind === 'lmdb' && isInside(resolve(folder, settings.table.path), path)) {
      throw new CodedError(
        'instances_settings_invalid',
        `the root key ${path} lies among the data that it protects: whoever copies the one has the other`,
      );
    }
    return { kind: 'file', path };
  });
}

/**
 * `file:<path>`, `aws-kms:<arn>`, `key-protect:<region>/<instance>/<key>` or a PKCS #11 URI. Throws
 * `usage`.
 */
function parseRootKey(text: string, folder: string, host: Pick<Host, 'env'>): RootKeyConfig {
  const [, kind, rest = ''] = /^(file|aws-kms|key-protect|pkcs11):(.+)$/.exec(text) ?? [];
  if (kind === 'pkcs11') return { kind, uri: text, folder, env: host.env };
  if (kind === 'file') return { kind, path: rest };
  if (kind === 'aws-kms') return { kind, keyArn: rest };
  const [, region, instance, key] = /^([\w-]+)\/([\w-]+)\/([\w-]+)$/.exec(rest) ?? [];
  if (kind !== 'key-protect' || region === undefined || instance === undefined || key === undefined) {
    throw new CodedError(
      'usage',
      `${text} is no root key: file:<path>, aws-kms:<key ARN>, key-protect:<region>/<instance GUID>/<key id> or pkcs11:<token and key>`,
    );
  }
  const apiKey = host.env[keyProtectApiKey];
  if (apiKey === undefined || apiKey === '') {
    throw new CodedError('instances_settings_invalid', `the environment variable ${keyProtectApiKey} is not set`);
  }
  return { kind, region, instance, key, apiKey: new Secret(apiKey) };
}

/**
 * The instance that was asked for; the only one that is not deleted, if none was. Throws `usage`,
 * and `instance_deleted` where all are.
 */
export async function pickInstance({ registry }: Instances, asked: string | undefined): Promise<KeptInstance> {
  const all = await pickInstances(await registry.list(), asked);
  const [only, ...more] = asked === undefined ? all.filter(({ deletedAt }) => deletedAt === undefined) : all;
  if (only !== undefined && more.length === 0) return only;
  if (all.length === 0)
    throw new CodedError('usage', 'there is no instance in this folder; certstandby instance create makes one');
  if (only === undefined) {
    const which = all.length === 1 ? `the instance ${all[0]?.crn} was` : 'all instances of this folder were';
    throw new CodedError('instance_deleted', `${which} deleted; certstandby instance list shows when`);
  }
  throw new CodedError('usage', 'say which instance with --instance; certstandby instance list shows them');
}

/** The instance that was asked for, or all. Throws `usage` if it is not there. */
export async function pickInstances(
  all: readonly KeptInstance[],
  asked: string | undefined,
): Promise<readonly KeptInstance[]> {
  if (asked === undefined) return all;
  const found = all.filter(({ crn }) => crn === asked || crn.split(':')[7] === asked);
  if (found.length === 0) throw new CodedError('usage', `there is no instance ${asked} in this folder`);
  return found;
}

/** Where the table of a folder is. */
export function tableOf(folder: string, { table }: InstanceSettings): TableConfig {
  if (table.kind === 'lmdb') return { kind: 'lmdb', path: resolve(folder, table.path) };
  const { endpoint, ...rest } = table;
  return { ...rest, ...defined({ endpoint }) };
}

function isInside(folder: string, path: string): boolean {
  const from = relative(folder, path);
  return from !== '' && !from.startsWith('..');
}
