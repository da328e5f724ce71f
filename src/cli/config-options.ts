/** Every setting of the configuration in words. A test compares it with the schema: what is not explained here does not exist. */

export interface ConfigOption {
  /** `*` stands for a name that the file gives. */
  readonly path: string;
  readonly what: string;
  /** Only of this kind: of what has this `kind` beside it. */
  readonly of?: string;
  /** As it would be written; absent if there is none. */
  readonly default?: string | number | boolean;
  /** What holds where nothing is written and there is no default: `required`, or in words. */
  readonly otherwise?: string;
}

const required = 'required';
const manager = 'certificate-manager';
const directory = 'directory';

export const configOptions: readonly ConfigOption[] = [
  { path: 'version', what: 'version of this format', otherwise: required },

  { path: 'table.kind', what: 'where the records are: lmdb (files on this machine) or dynamodb', default: 'lmdb' },
  {
    path: 'table.path',
    of: 'lmdb',
    what: 'folder of its files, relative to this file',
    default: 'certstandby-data',
  },
  { path: 'table.name', of: 'dynamodb', what: 'name of the table', otherwise: required },
  { path: 'table.region', of: 'dynamodb', what: 'its region', otherwise: required },
  {
    path: 'table.endpoint',
    of: 'dynamodb',
    what: 'another address than that of the region',
    otherwise: 'that of the region',
  },

  { path: 'receiver.host', what: 'address on which the receiver listens', default: '127.0.0.1' },
  { path: 'receiver.port', what: 'its port; 0 takes any free one', default: 8480 },

  { path: 'worker.concurrency', what: 'certificates looked at in one moment', default: 16 },
  { path: 'worker.sweepEvery', what: 'how often what is due is woken', default: '1m' },
  { path: 'worker.reconcileEvery', what: 'how often everything is compared with everything', default: '1h' },

  {
    path: 'serve.tls.certificate',
    what: 'PEM file of the receiver: its certificate, then its chain; a changed file is taken over within seconds',
    otherwise: 'plain HTTP',
  },
  { path: 'serve.tls.key', what: 'PEM file with the private key of that certificate', otherwise: 'plain HTTP' },
  {
    path: 'serve.behindProxy',
    what: 'something in front ends TLS: plain HTTP is right even off loopback',
    default: false,
  },
  { path: 'serve.metrics.host', what: 'address of the listener for /metrics, /healthz, /readyz', default: '127.0.0.1' },
  { path: 'serve.metrics.port', what: 'its port; 0 takes any free one', default: 9464 },
  { path: 'serve.stopWithin', what: 'how long a stop waits for passes under way', default: '20s' },

  { path: 'drill.folder', what: 'where reports of drills and the key that signs them are', default: 'drills' },
  { path: 'drill.trust', what: 'PEM file of the authorities to trust in a drill', otherwise: 'those that Node brings' },
  { path: 'drill.every', what: 'how often serve drills', otherwise: 'never' },
  { path: 'drill.sample', what: 'so many copies of each backup in one drill', otherwise: 'all' },

  { path: 'stores.*.kind', what: 'what it is: certificate-manager or directory', otherwise: required },
  { path: 'stores.*.instance', of: manager, what: 'CRN of the instance', otherwise: required },
  {
    path: 'stores.*.apiKey',
    of: manager,
    what: 'where the API key stands: env:NAME, file:PATH, ssm:PARAMETER or secretsmanager:SECRET',
    otherwise: required,
  },
  { path: 'stores.*.endpoint', of: manager, what: 'address of the service', otherwise: 'the public one of the region' },
  {
    path: 'stores.*.iam',
    of: manager,
    what: 'where API keys are exchanged for tokens',
    otherwise: 'https://iam.cloud.ibm.com for IBM Cloud, else the endpoint',
  },
  {
    path: 'stores.*.settles',
    of: manager,
    what: 'how long an unanswered request may still take effect',
    default: '2m',
  },
  { path: 'stores.*.listingLag', of: manager, what: 'how long a listing may lag behind writes', default: '10s' },
  { path: 'stores.*.readSettles', of: manager, what: 'how long a direct read may lag behind writes', default: '0s' },
  {
    path: 'stores.*.writesPerCertificatePerMinute',
    of: manager,
    what: 'writes of one certificate in a minute to stay under, or unlimited',
    default: 5,
  },
  {
    path: 'stores.*.requestsPerSecond',
    of: manager,
    what: 'requests in a second to stay under',
    otherwise: 'no limit',
  },
  { path: 'stores.*.path', of: directory, what: 'the folder, relative to this file', otherwise: required },
  {
    path: 'stores.*.id',
    of: directory,
    what: 'names it among all folders of all machines, for ever; stands in the marks on copies',
    otherwise: required,
  },
  { path: 'stores.*.region', of: directory, what: 'where it lies, for policy.regions', default: 'local' },
  { path: 'stores.*.quiet', of: directory, what: 'how long after a change the next one is waited for', default: '2s' },
  { path: 'stores.*.keepVersions', of: directory, what: 'versions that stay beside the one in force', default: 3 },

  { path: 'links.*.primary', what: 'the store that is the truth', otherwise: required },
  { path: 'links.*.backups', what: 'the stores that hold the copies', otherwise: required },
  { path: 'links.*.filter.names', what: 'copy only these names; * for any characters', otherwise: 'all names' },
  { path: 'links.*.filter.domains', what: 'copy only these domains; * for any characters', otherwise: 'all domains' },
  { path: 'links.*.policy.regions', what: 'regions in which copies may lie', otherwise: 'any region' },
  { path: 'links.*.policy.requireChain', what: 'refuse a leaf without its chain', default: false },
  { path: 'links.*.policy.onward', what: 'copy certificates that are copies themselves', default: false },
  {
    path: 'links.*.policy.restorable',
    what: 'whether a backup must give private keys back, so that the link can be restored from it',
    default: true,
  },
  { path: 'links.*.policy.onDelete', what: 'copies of deleted certificates: retain or remove', default: 'retain' },
  {
    path: 'links.*.policy.removeAfter',
    what: 'with onDelete: remove, how long such a copy stays all the same',
    otherwise: '30d',
  },
  {
    path: 'links.*.policy.removeShare',
    what: 'with onDelete: remove, the share of the copies that may be removed at once, 0 to 1',
    otherwise: '0.05',
  },
  {
    path: 'links.*.policy.brakeShare',
    what: 'the share of the copies that one reconcile may change, or an hour take back in time, without a person, 0 to 1',
    default: 0.2,
  },
  {
    path: 'links.*.policy.standIns',
    what: 'let self-signed certificates replace those of an authority, and copy temporary ones of cert-manager',
    default: false,
  },
  {
    path: 'links.*.verificationKey',
    what: 'file: with the public key that verifies notifications',
    otherwise: 'fetched from the primary',
  },
];

/** Settings by their paths, each as it is written and where. */
export type Written = ReadonlyMap<string, { readonly value: string; readonly line: number }>;

/** A setting that is in force, as `config explain` shows it. */
export interface Setting {
  readonly path: string;
  /** As it would be written; absent where only `otherwise` holds. */
  readonly value?: string;
  /** The line of the file; absent for a default. */
  readonly line?: number;
}

/** What holds for an option: one setting for each name that its `*` stands for. */
export function settingsOf(option: ConfigOption, written: Written): readonly Setting[] {
  const [before, after] = option.path.split('*') as [string, string?];
  const paths = after === undefined ? [option.path] : namesUnder(before, written).map((name) => before + name + after);
  return paths.flatMap((path) => {
    const found = written.get(path);
    if (found !== undefined) return { path, ...found };
    if (option.of !== undefined && kindBeside(path, written) !== option.of) return [];
    return option.default === undefined ? { path } : { path, value: JSON.stringify(option.default) };
  });
}

function kindBeside(path: string, written: Written): string {
  const kind = path.replace(/[^.]+$/, 'kind');
  const standard = configOptions.find((option) => option.path === kind)?.default;
  return JSON.parse(written.get(kind)?.value ?? JSON.stringify(standard ?? ''));
}

function namesUnder(prefix: string, written: Written): readonly string[] {
  const names = [...written.keys()].flatMap((path) => (path.startsWith(prefix) ? [path.slice(prefix.length)] : []));
  return [...new Set(names.map((rest) => rest.split('.')[0] ?? ''))];
}

/** The whole configuration as a tree, defaults filled in. */
export function effectiveSettings(written: Written): Record<string, unknown> {
  const whole: Record<string, unknown> = {};
  for (const option of configOptions) {
    for (const { path, value } of settingsOf(option, written)) {
      if (value === undefined) continue;
      const keys = path.split('.');
      const last = keys.pop() ?? '';
      let at = whole;
      for (const key of keys) {
        at[key] ??= {};
        at = at[key] as Record<string, unknown>;
      }
      at[last] = JSON.parse(value);
    }
  }
  return whole;
}
