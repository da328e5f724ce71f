import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type ConfigSources, loadConfig, parseConfig, type StoreConfig } from '../src/config.ts';
import { deploymentOf } from '../src/deployment.ts';
import { CodedError } from '../src/errors.ts';
import { Secret, type SecretReference } from '../src/secret.ts';
import type { CertificateManagerConfig } from '../src/services/certificate-manager/settings.ts';
import * as registry from '../src/services/registry.ts';
import type { Service } from '../src/services/service.ts';

const account = 'a/00000000000000000000000000000001';
const frankfurt = `crn:v1:bluemix:public:cloudcerts:eu-de:${account}:11111111-2222-4333-8444-555555555555::`;
const london = `crn:v1:bluemix:public:cloudcerts:eu-gb:${account}:66666666-7777-4888-9999-aaaaaaaaaaaa::`;

const files: Readonly<Record<string, string>> = {
  '/etc/certstandby/london.key': 'key of london\n',
  '/keys/shop.pem': 'PEM of shop\n',
  '/etc/certstandby/empty': ' \n',
};

const sources: ConfigSources & { readonly path: string } = {
  path: '/etc/certstandby/certstandby.yaml',
  env: { FRANKFURT_KEY: 'key of frankfurt', EMPTY: '' },
  readFile(path) {
    const text = files[path];
    if (text === undefined) throw Object.assign(new Error(`no ${path}`), { code: 'ENOENT' });
    return text;
  },
};

/** What may stand as the kind of a store. */
const storeKinds = (Object.values(registry) as readonly Service[])
  .flatMap(({ kind, settings }) => (settings === undefined ? [] : [kind]))
  .join(' or ');

const managers = (stores: readonly StoreConfig[]) =>
  stores.filter((store): store is CertificateManagerConfig => store.kind === 'certificate-manager');

const revealed = (apiKey: Secret | SecretReference) => (apiKey instanceof Secret ? apiKey.reveal() : apiKey);

const smallest = `version: 1
stores:
  frankfurt: { kind: certificate-manager, instance: "${frankfurt}", apiKey: env:FRANKFURT_KEY }
  london: { kind: certificate-manager, instance: "${london}", apiKey: file:london.key }
links:
  shop: { primary: frankfurt, backups: [london] }
`;

/** The mistakes found in a file. */
function mistakesIn(text: string): readonly string[] {
  try {
    parseConfig(text, sources);
  } catch (thrown) {
    if (thrown instanceof CodedError && thrown.code === 'configuration_invalid')
      return thrown.fields.mistakes as readonly string[];
    throw thrown;
  }
  return [];
}

/** The smallest file with one line changed, or with lines added. */
const changed = (from: string, to: string): string => {
  if (!smallest.includes(from)) throw new Error(`${from} is not in the file`);
  return smallest.replace(from, to);
};

describe('a good file', () => {
  it('needs no more than stores and links', () => {
    const { stores, ...rest } = parseConfig(smallest, sources);
    expect(rest).toEqual({
      table: { kind: 'lmdb', path: '/etc/certstandby/certstandby-data' },
      drill: { folder: '/etc/certstandby/drills' },
      audit: {
        write: true,
        folder: '/etc/certstandby/audit',
        checkpointEveryMs: 3_600_000,
        keepMs: 400 * 86_400_000,
      },
      receiver: { host: '127.0.0.1', port: 8480 },
      worker: { concurrency: 16, sweepEveryMs: 60_000, reconcileEveryMs: 3_600_000 },
      links: [
        {
          name: 'shop',
          primary: 'frankfurt',
          backups: ['london'],
          filter: { names: [], domains: [] },
          policy: { requireChain: false, onward: false },
        },
      ],
    });
    expect(managers(stores).map(({ apiKey, ...plain }) => ({ ...plain, key: revealed(apiKey) }))).toEqual([
      {
        name: 'frankfurt',
        kind: 'certificate-manager',
        instance: frankfurt,
        region: 'eu-de',
        key: 'key of frankfurt',
      },
      { name: 'london', kind: 'certificate-manager', instance: london, region: 'eu-gb', key: 'key of london' },
    ]);
  });

  it('may say everything', () => {
    const config = parseConfig(
      `version: 1
table: { kind: dynamodb, name: certstandby, region: eu-central-1, endpoint: "http://127.0.0.1:8000" }
receiver: { host: 0.0.0.0, port: 0 }
worker: { concurrency: 4, sweepEvery: 30s, reconcileEvery: 2h }
stores:
  frankfurt:
    kind: certificate-manager
    instance: "${frankfurt}"
    apiKey: env:FRANKFURT_KEY
    endpoint: https://private.eu-de.certificate-manager.example.test
    iam: http://[::1]:8471
    settles: 90s
    listingLag: 500ms
    readSettles: 1d
    writesPerCertificatePerMinute: unlimited
    requestsPerSecond: 0.5
  london:
    kind: certificate-manager
    instance: "${london}"
    apiKey: file:london.key
    writesPerCertificatePerMinute: 5
links:
  shop:
    primary: frankfurt
    backups: [london]
    filter: { names: ["shop*"], domains: ["*.example.test"] }
    policy: { regions: [eu-gb], requireChain: true, onward: true }
    verificationKey: file:/keys/shop.pem
`,
      sources,
    );
    const [first, second] = managers(config.stores).map(({ apiKey: _key, ...plain }) => plain);
    expect(config).toMatchObject({
      table: { kind: 'dynamodb', name: 'certstandby', region: 'eu-central-1', endpoint: 'http://127.0.0.1:8000' },
      receiver: { host: '0.0.0.0', port: 0 },
      worker: { concurrency: 4, sweepEveryMs: 30_000, reconcileEveryMs: 7_200_000 },
    });
    expect(first).toEqual({
      name: 'frankfurt',
      kind: 'certificate-manager',
      instance: frankfurt,
      region: 'eu-de',
      endpoint: 'https://private.eu-de.certificate-manager.example.test',
      iam: 'http://[::1]:8471',
      settlesMs: 90_000,
      listingLagMs: 500,
      readSettlesMs: 86_400_000,
      writesPerCertificatePerMinute: 'unlimited',
      requestsPerSecond: 0.5,
    });
    expect(second).toMatchObject({ writesPerCertificatePerMinute: 5 });
    expect(config.links).toEqual([
      {
        name: 'shop',
        primary: 'frankfurt',
        backups: ['london'],
        filter: { names: ['shop*'], domains: ['*.example.test'] },
        policy: { regions: ['eu-gb'], requireChain: true, onward: true },
        verificationKey: 'PEM of shop',
      },
    ]);
  });

  it('shows no secret when it is printed or serialised', () => {
    const config = parseConfig(smallest, sources);
    for (const shown of [
      JSON.stringify(config),
      inspect(config, { depth: 9, showHidden: true }),
      String(config.stores),
    ])
      expect(shown).not.toMatch(/key of/);
  });

  it('may link both ways, and two primaries to one backup', () => {
    const third = london.replace('eu-gb', 'us-south').replace('aaaaaaaaaaaa', 'bbbbbbbbbbbb');
    const text = `${smallest}  back: { primary: london, backups: [frankfurt] }
  other: { primary: dallas, backups: [london, frankfurt] }
`.replace('links:', `  dallas: { kind: certificate-manager, instance: "${third}", apiKey: env:FRANKFURT_KEY }\nlinks:`);
    expect(mistakesIn(text)).toEqual([]);
  });
});

describe('a file with mistakes', () => {
  it('is refused with all of them at once, in words that a person can use', () => {
    const text = `version: one
table: { kind: sqlite, path: 3 }
receiver: { port: 70000, hst: x }
worker: { concurrency: 0, sweepEvery: 5 minutes, reconcileEvery: 5 }
stores:
  Prim: { kind: certificate-manager, instance: "${frankfurt}", apiKey: env:FRANKFURT_KEY }
  acm: { kind: acm }
  frankfurt:
    kind: certificate-manager
    instance: "${frankfurt}"
    apiKey: s3cr3t-api-key
    endpoint: http://certificates.example.test
    requestsPerSecond: 0
    writesPerCertificatePerMinute: often
    settles: 1.5h
  london:
    kind: certificate-manager
    instance: "${london}"
    apiKey: env:LONDON_KEY
    iam: http://10.0.0.1
  again:
    kind: certificate-manager
    instance: "${london}"
    apiKey: file:again.key
  unknown:
    instance: crn:v1
links:
  main:
    primary: frankfurt
    backups: [frankfurt, london, london, paris]
    policy: { regions: [us-south], requireChain: maybe }
    filter: { names: shop }
  other:
    primary: frankfurt
    backups: [london]
    verificationKey: env:SHOP_PEM
  third:
    backups: []
extra: true
`;
    let thrown: unknown;
    try {
      parseConfig(text, sources);
    } catch (error) {
      thrown = error;
    }
    expect(thrown).toBeInstanceOf(CodedError);
    expect(thrown).toMatchObject({ code: 'configuration_invalid' });
    expect((thrown as CodedError).message).toBe(
      `/etc/certstandby/certstandby.yaml has 31 mistakes:
  - version (line 1): must be 1
  - table.kind (line 2): must be lmdb or dynamodb
  - receiver.port (line 3): must be at most 65535
  - receiver.hst (line 3): is not a known key; there are host, port
  - worker.concurrency (line 4): must be at least 1
  - worker.sweepEvery (line 4): must be a duration such as 500ms, 30s, 5m, 2h or 7d
  - worker.reconcileEvery (line 4): must be a duration such as 500ms, 30s, 5m, 2h or 7d
  - stores.Prim (line 6): must be a name of lower-case letters, digits and dashes, at most 63
  - stores.acm.kind (line 7): must be ${storeKinds}
  - stores.frankfurt.apiKey (line 11): must be a reference (env:NAME, file:PATH, ssm:PARAMETER or secretsmanager:SECRET), never the secret itself
  - stores.frankfurt.settles (line 15): must be a duration such as 500ms, 30s, 5m, 2h or 7d
  - stores.frankfurt.writesPerCertificatePerMinute (line 14): must be a whole number of at least 1, or unlimited
  - stores.frankfurt.requestsPerSecond (line 13): must be above 0
  - stores.unknown.kind (line 26): must be ${storeKinds}
  - links.main.filter.names (line 32): must be a list
  - links.main.policy.requireChain (line 31): must be true or false
  - links.other.verificationKey (line 36): must be file:PATH of a public key in PEM
  - links.third.primary (line 38): is missing
  - links.third.backups (line 38): must name at least one backup
  - extra (line 39): is not a known key; there are version, table, receiver, worker, serve, console, drill, alerts, audit, stores, links, senders
  - stores.london.apiKey: the environment variable LONDON_KEY is not set
  - stores.again.apiKey: the file again.key cannot be read (ENOENT)
  - stores.frankfurt: is the same instance as stores.Prim
  - stores.frankfurt.endpoint: must begin with https://; plain http:// is allowed on loopback only, for keys would travel in the clear
  - stores.london.iam: must begin with https://; plain http:// is allowed on loopback only, for keys would travel in the clear
  - stores.again: is the same instance as stores.london
  - links.main: there is no store paris under stores
  - links.main: the primary frankfurt is also a backup of this link
  - links.main: policy.regions forbids eu-gb, the region of backup london
  - links.main: the backup london is named twice
  - links.other: has the same primary and backup as links.main; their copies would be confused`,
    );
  });

  it('may have one only', () => {
    expect(() => parseConfig(changed('version: 1', 'version: one'), sources)).toThrow(
      /^\/etc\/certstandby\/certstandby\.yaml has one mistake:\n {2}- version \(line 1\): must be 1$/,
    );
  });

  it.each([
    ['empty', '', ['version: must be 1', 'stores: is missing', 'links: is missing']],
    ['a comment', '# nothing yet\n', ['version: must be 1', 'stores: is missing', 'links: is missing']],
    ['a word', 'hello', ['the file (line 1): must be a mapping of keys to values']],
    ['a list', '- a', ['the file (line 1): must be a mapping of keys to values']],
    [
      'no YAML',
      'version: 1\nlinks: [',
      ['line 2: not YAML: Flow sequence in block collection must be sufficiently indented and end with a ]'],
    ],
    [
      'no YAML, with a secret',
      'version: 1\nstores: ]s3cr3t',
      [
        'line 2: not YAML: Unexpected flow-seq-end token in YAML stream',
        'line 2: not YAML: Unexpected scalar token in YAML stream',
      ],
    ],
    ['a key twice', 'version: 1\nversion: 1', ['line 2: not YAML: Map keys must be unique']],
    ['an alias of nothing', 'version: *s3cr3t', ['an alias (*name) leads nowhere, or to too much']],
  ])('may be %s', (_what, text, mistakes) => {
    expect(mistakesIn(text)).toEqual(mistakes);
  });

  it('may be a bomb of aliases', () => {
    const levels = Array.from(
      { length: 12 },
      (_, level) =>
        `l${level}: &l${level} [${Array(9)
          .fill(level === 0 ? 'x' : `*l${level - 1}`)
          .join()}]`,
    );
    expect(mistakesIn(levels.join('\n'))).toEqual(['an alias (*name) leads nowhere, or to too much']);
  });

  it.each([
    ['env:NOT_THERE', 'the environment variable NOT_THERE is not set'],
    ['env:EMPTY', 'the environment variable EMPTY is not set'],
    ['file:nowhere.key', 'the file nowhere.key cannot be read (ENOENT)'],
    ['file:empty', 'the file empty is empty'],
  ])('may refer to a secret that is not there: %s', (reference, mistake) => {
    expect(mistakesIn(changed('env:FRANKFURT_KEY', reference))).toEqual([`stores.frankfurt.apiKey: ${mistake}`]);
  });

  it.each([
    ['0ms', undefined],
    ['24d', undefined],
    ['25d', 'must be at most 24d'],
    ['-1s', 'must be a duration such as 500ms, 30s, 5m, 2h or 7d'],
    ['1 s', 'must be a duration such as 500ms, 30s, 5m, 2h or 7d'],
    ['1S', 'must be a duration such as 500ms, 30s, 5m, 2h or 7d'],
    ['10', 'must be a duration such as 500ms, 30s, 5m, 2h or 7d'],
  ])('may give a duration of %s', (duration, mistake) => {
    const found = mistakesIn(changed('apiKey: env:FRANKFURT_KEY', `apiKey: env:FRANKFURT_KEY, settles: ${duration}`));
    expect(found).toEqual(mistake === undefined ? [] : [`stores.frankfurt.settles (line 3): ${mistake}`]);
  });

  it.each([
    ['1s', []],
    ['999ms', ['worker.sweepEvery (line 1): must be at least 1s']],
    ['0d', ['worker.sweepEvery (line 1): must be at least 1s']],
    ['30d', ['worker.sweepEvery (line 1): must be at most 24d']],
  ])('may give a period of %s: a timer of 0, or beyond its range, never rests', (period, mistakes) => {
    expect(mistakesIn(`worker: { sweepEvery: ${period} }\n${smallest}`)).toEqual(mistakes);
  });

  it.each([
    [{ concurrency: 1 }, 0],
    [{ concurrency: 256 }, 0],
    [{ concurrency: 257 }, 1],
    [{ concurrency: 1.5 }, 1],
  ])('may give a bad concurrency: %o', (worker, count) => {
    expect(mistakesIn(`worker: ${JSON.stringify(worker)}\n${smallest}`)).toHaveLength(count);
  });

  it.each([
    ['crn:v1:bluemix:public:kms:eu-de:a/1:1::', 1],
    [frankfurt.slice(0, -1), 1],
    [`${frankfurt}certificate:1`, 1],
    [frankfurt, 0],
  ])('may give a CRN that is none of an instance: %s', (crn, count) => {
    expect(mistakesIn(changed(frankfurt, crn))).toHaveLength(count);
  });

  it.each([
    ['ftp://host', 1],
    ['https://host/path', 1],
    ['https://host?query', 1],
    ['host', 1],
    ['https://host:8443/', 0],
    ['http://localhost:1', 0],
  ])('may give an address that is none: %s', (endpoint, count) => {
    const text = changed('apiKey: env:FRANKFURT_KEY', `apiKey: env:FRANKFURT_KEY, endpoint: "${endpoint}"`);
    expect(mistakesIn(text)).toHaveLength(count);
  });
});

it('may say how drills are made, with paths beside the file', () => {
  const text = `drill: { folder: reports, trust: /ca.pem, every: 7d, sample: 50 }\n${smallest}`;
  const everyMs = 7 * 86_400_000;
  const drill = { folder: '/etc/certstandby/reports', trust: '/ca.pem', everyMs, sample: 50 };
  expect(parseConfig(text, sources).drill).toEqual(drill);
});

describe('a directory', () => {
  const withDirectories = (first: string, second: string, policy = '') => `version: 1
stores:
  live: { kind: directory${first} }
  copies: { kind: directory${second} }
links: { web: { primary: live, backups: [copies]${policy} } }
`;
  const live = ', path: /etc/letsencrypt/live, id: web-1';

  it('has a path beside the file, an id, and a region that may be left out', () => {
    const text = withDirectories(live, ', path: copies, id: web-1-copies, region: eu-gb, quiet: 5s, keepVersions: 10');
    expect(parseConfig(text, sources).stores).toEqual([
      { name: 'live', kind: 'directory', path: '/etc/letsencrypt/live', id: 'web-1', region: 'local' },
      {
        name: 'copies',
        kind: 'directory',
        path: '/etc/certstandby/copies',
        id: 'web-1-copies',
        region: 'eu-gb',
        quietMs: 5_000,
        keepVersions: 10,
      },
    ]);
  });

  it.each([
    [', path: a', '', ['stores.copies.id (line 4): is missing']],
    [
      ', path: a, id: web-1',
      '',
      ['stores.copies: has the same id as stores.live', 'links.web: the primary copies is also a backup of this link'],
    ],
    [', path: /etc/letsencrypt/live, id: b', '', ['stores.copies: is the same folder as stores.live']],
    [', path: /etc/letsencrypt/live/, id: b', '', ['stores.copies: is the same folder as stores.live']],
    [
      ', path: /etc/letsencrypt/live/copies, id: b',
      '',
      ['stores.copies: lies in the folder of stores.live; one would take the other for copies'],
    ],
    [
      ', path: /etc/letsencrypt, id: b',
      '',
      ['stores.live: lies in the folder of stores.copies; one would take the other for copies'],
    ],
    [', path: /etc/letsencrypt/live-copies, id: b', '', []],
    [
      ', path: a, id: "a b"',
      '',
      [
        'stores.copies.id (line 4): must be a name for this folder among all folders, of letters, digits and .@_-, at most 100',
      ],
    ],
    [
      ', path: a, id: b',
      ', policy: { regions: [eu-gb] }',
      ['links.web: policy.regions forbids local, the region of backup copies'],
    ],
    [
      ', path: a, id: b, apiKey: "env:FRANKFURT_KEY"',
      '',
      [
        'stores.copies.apiKey (line 4): is not a known key of directory: that is a setting of certificate-manager and secrets-manager; there are path, id, region, quiet, keepVersions',
      ],
    ],
  ])('with mistakes: %s%s', (second, policy, mistakes) => {
    expect(mistakesIn(withDirectories(live, second, policy))).toEqual(mistakes);
  });
});

describe('plain http off loopback', () => {
  it.each([
    ['http://127.0.0.1', false],
    ['http://127.1.2.3:80', false],
    ['http://localhost', false],
    ['http://[::1]:8471', false],
    ['https://example.test', false],
    ['http://example.test', true],
    ['http://127.0.0.1.example.test', true],
    ['http://localhost.example.test', true],
    ['http://0.0.0.0', true],
    ['http://[::2]', true],
  ])('%s: %s', (address, expected) => {
    const found = mistakesIn(changed('apiKey: env:FRANKFURT_KEY', `apiKey: env:FRANKFURT_KEY, iam: "${address}"`));
    const mistake =
      'stores.frankfurt.iam: must begin with https://; plain http:// is allowed on loopback only, for keys would travel in the clear';
    expect(found).toEqual(expected ? [mistake] : []);
  });
});

describe('secrets', () => {
  it('are in no message, whatever else is wrong', () => {
    const secrets = 'env:FRANKFURT_KEY, extra: s3cr3t';
    for (const text of [
      changed('env:FRANKFURT_KEY', secrets),
      changed('version: 1', 'version: 2'),
      changed('env:FRANKFURT_KEY', 's3cr3t'),
      changed('env:FRANKFURT_KEY', '"s3cr3t'),
      changed('env:FRANKFURT_KEY', '|s3cr3t'),
      changed('env:FRANKFURT_KEY', '"\\s3cr3t"'),
      changed('env:FRANKFURT_KEY', '!s3cr3t !s3cr3t x'),
      changed('env:FRANKFURT_KEY', '&s3cr3t *s3cr3t'),
      changed('env:FRANKFURT_KEY', '@s3cr3t'),
    ]) {
      const mistakes = mistakesIn(text).join('\n');
      expect(mistakes).not.toBe('');
      expect(mistakes).not.toMatch(/s3cr3t|key of/);
    }
  });
});

describe('loading', () => {
  let folder: string;

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'certstandby-config-'));
    writeFileSync(join(folder, 'certstandby.yaml'), smallest);
    writeFileSync(join(folder, 'london.key'), 'from the file\n');
  });
  afterAll(() => rmSync(folder, { recursive: true }));

  it('reads the file, and others beside it', () => {
    const config = loadConfig(join(folder, 'certstandby.yaml'), { FRANKFURT_KEY: 'from the environment' });
    expect(managers(config.stores).map(({ apiKey }) => revealed(apiKey))).toEqual([
      'from the environment',
      'from the file',
    ]);
    expect(config.table).toEqual({ kind: 'lmdb', path: join(folder, 'certstandby-data') });
  });

  it('says that the file is missing', () => {
    const path = join(folder, 'nowhere.yaml');
    expect(() => loadConfig(path, {})).toThrow(`the configuration file ${path} cannot be read (ENOENT)`);
  });
});

describe('what becomes of copies', () => {
  const policyOf = (policy: string) =>
    parseConfig(changed('backups: [london] }', `backups: [london], policy: ${policy} }`), sources).links[0]?.policy;
  const dayMs = 86_400_000;

  it.each([
    ['{ onDelete: retain }', undefined],
    ['{ onDelete: remove }', { afterMs: 30 * dayMs, maxShare: 0.05 }],
    ['{ onDelete: remove, removeAfter: 90d, removeShare: 0.5 }', { afterMs: 90 * dayMs, maxShare: 0.5 }],
    ['{ onDelete: remove, removeAfter: 12h }', { afterMs: dayMs / 2, maxShare: 0.05 }],
  ])('of deleted certificates: %s', (policy, removal) => {
    expect(policyOf(policy)?.removal).toEqual(removal);
  });

  it('the brake is as wide as it says', () => {
    expect(policyOf('{ brakeShare: 0.5 }')?.brakeShare).toBe(0.5);
    expect(policyOf('{ onward: true }')).not.toHaveProperty('brakeShare');
  });

  it.each([
    ['{ onDelete: burn }', 'links.shop.policy.onDelete (line 6): must be retain or remove'],
    ['{ onDelete: remove, removeShare: 0 }', 'links.shop.policy.removeShare (line 6): must be above 0'],
    ['{ onDelete: remove, removeShare: 2 }', 'links.shop.policy.removeShare (line 6): must be at most 1'],
    ['{ brakeShare: -1 }', 'links.shop.policy.brakeShare (line 6): must be at least 0'],
    [
      '{ onDelete: remove, removeAfter: soon }',
      'links.shop.policy.removeAfter (line 6): must be a duration such as 12h or 30d',
    ],
    ['{ removeAfter: 30d }', 'links.shop: policy.removeAfter and removeShare say nothing without onDelete: remove'],
  ])('mistakes are named: %s', (policy, mistake) => {
    expect(mistakesIn(changed('backups: [london] }', `backups: [london], policy: ${policy} }`))).toEqual([mistake]);
  });
});

describe('what copies are called, and whether they give way', () => {
  const linkOf = (more: string) =>
    parseConfig(changed('backups: [london] }', `backups: [london]${more} }`), sources).links[0];

  it('is as the link says', () => {
    expect(linkOf(', naming: exact')).toMatchObject({ naming: 'exact' });
    expect(linkOf(', naming: derived')).not.toHaveProperty('naming');
    expect(linkOf(', policy: { replace: never }')?.policy).toMatchObject({ neverReplace: true });
    expect(linkOf(', policy: { replace: refused }')?.policy).not.toHaveProperty('neverReplace');
  });

  it.each([
    [', naming: mine', 'links.shop.naming (line 6): must be derived or exact'],
    [', policy: { replace: always }', 'links.shop.policy.replace (line 6): must be refused or never'],
  ])('mistakes are named: %s', (more, mistake) => {
    expect(mistakesIn(changed('backups: [london] }', `backups: [london]${more} }`))).toEqual([mistake]);
  });
});

describe('links in a circle', () => {
  /**
   * Links among folders `a`, `b`, `c` and `d`, each as `primary>backup`, and `!` behind it where it
   * copies onward.
   */
  const withLinks = (...links: readonly string[]) => {
    const stores = ['a', 'b', 'c', 'd'].map(
      (name) => `  ${name}: { kind: directory, path: /srv/${name}, id: ${name} }`,
    );
    const lines = links.map((link, index) => {
      const [, primary, backups, onward] = /^(\w)>([\w,]+)(!?)$/.exec(link) ?? [];
      return `  l${index + 1}: { primary: ${primary}, backups: [${backups}], policy: { onward: ${onward === '!'} } }`;
    });
    return ['version: 1', 'stores:', ...stores, 'links:', ...lines, ''].join('\n');
  };
  const words = 'copy onward in a circle, so that each copies what it has written; take onward off one of them';

  it.each([
    [['a>b!', 'b>a!'], ['links.l1, links.l2']],
    [['a>b!', 'b>c!', 'c>a!'], ['links.l1, links.l2, links.l3']],
    [
      ['a>b,c!', 'c>d!', 'd>a!', 'b>a!'],
      ['links.l1, links.l4', 'links.l2, links.l3, links.l1'],
    ],
    [['a>b!', 'b>a'], []],
    [['a>b!', 'b>c!', 'c>a'], []],
    [['a>b!', 'b>c!', 'a>c!'], []],
    [['a>b,c!', 'b>d!', 'c>d!'], []],
  ])('%j', (links, circles) => {
    const text = withLinks(...links);
    const expected = circles.map((names) => `${names}: ${words}`);
    if (expected.length === 0) expect(parseConfig(text, sources).links).toHaveLength(links.length);
    else expect(mistakesIn(text)).toEqual(expected);
  });
});

describe('for functions on a platform', () => {
  const remote = smallest
    .replace('env:FRANKFURT_KEY', '"ssm:/certstandby/frankfurt"')
    .replace('file:london.key', '"secretsmanager:certstandby/london#apiKey"');
  const aws = { ...sources, platform: 'aws' } as const;

  it('keeps references to secrets, and reads none of them', () => {
    const { stores } = parseConfig(remote, { ...aws, env: {} });
    expect(managers(stores).map(({ apiKey }) => apiKey)).toEqual([
      { from: 'ssm', name: '/certstandby/frankfurt' },
      { from: 'secretsmanager', name: 'certstandby/london#apiKey' },
    ]);
    // On one machine too they are read only when the stores are opened.
    expect(parseConfig(remote, sources).stores).toEqual(stores);
  });

  it('keeps what OpenWhisk binds as a parameter, whether it is in the environment here or not', () => {
    const text = `${smallest.replace('file:london.key', 'env:LONDON_KEY')}\ntable: { kind: dynamodb, name: records, region: eu-west-1 }\n`;
    const { stores } = parseConfig(text, { ...sources, env: {}, platform: 'openwhisk' });
    expect(managers(stores).map(({ apiKey }) => apiKey)).toEqual([
      { from: 'env', name: 'FRANKFURT_KEY' },
      { from: 'env', name: 'LONDON_KEY' },
    ]);
  });

  const mistakesFor = (text: string, platform: 'aws' | 'openwhisk') => {
    try {
      parseConfig(text, { ...sources, platform });
    } catch (error) {
      return (error as CodedError).fields.mistakes;
    }
    return [];
  };

  it('names all that cannot be had there', () => {
    const folder = '  copies: { kind: directory, path: /srv, id: copies }\nlinks:';
    const text = `table: { kind: lmdb, path: x }\n${smallest.replace('links:', folder)}`;
    expect(mistakesFor(text, 'aws')).toEqual([
      'table.kind: functions on aws keep their records in dynamodb',
      'stores.frankfurt.apiKey: functions on aws cannot read env: here; use ssm:PARAMETER or secretsmanager:SECRET',
      'stores.london.apiKey: functions on aws cannot read file: here; use ssm:PARAMETER or secretsmanager:SECRET',
      'stores.copies.kind: functions on aws have no directory',
    ]);
    expect(mistakesFor(remote, 'openwhisk')).toEqual([
      'table: must name a DynamoDB table: { kind: dynamodb, name: certstandby, region: eu-west-1 }',
      'stores.frankfurt.apiKey: functions on openwhisk cannot read ssm: here; use env:NAME, a parameter that is bound when it is deployed',
      'stores.london.apiKey: functions on openwhisk cannot read secretsmanager: here; use env:NAME, a parameter that is bound when it is deployed',
    ]);
    expect(mistakesFor(remote, 'aws')).toEqual([]);
  });
});

describe('senders', () => {
  const secret = `whsec_${Buffer.alloc(32, 7).toString('base64')}`;
  const publicKey = `whpk_${Buffer.alloc(32, 9).toString('base64')}`;
  const withSender = (sender: string, name = 'hook') => `${smallest}senders:\n  ${name}: { ${sender} }\n`;
  const [long, spelled] = [
    `whsec_${Buffer.alloc(65, 7).toString('base64')}`,
    `whsec_${Buffer.alloc(32).toString('base64').replace('A=', 'B=')}`,
  ];
  const given = {
    ...sources,
    env: { ...sources.env, HOOK_SECRET: secret, SHORT: 'whsec_c2hvcnQ=', LONG: long, SPELLED: spelled },
  };
  const parse = (sender: string) => parseConfig(withSender(sender), given);

  it('are taken with the keys that prove them, secrets as secrets', () => {
    const { senders } = parse(
      `kind: standard-webhooks, store: frankfurt, secret: env:HOOK_SECRET, publicKey: ${publicKey}`,
    );
    expect(senders).toEqual([
      { kind: 'standard-webhooks', name: 'hook', store: 'frankfurt', secret: expect.any(Secret), publicKey },
    ]);
    expect(inspect(senders, { depth: 9 })).not.toContain(secret.slice(6));
    expect(parseConfig(smallest, sources)).not.toHaveProperty('senders');
  });

  it.each([
    ['kind: standard-webhooks, store: frankfurt', /^senders\.hook\.secret: is missing, and so is publicKey/],
    [`kind: standard-webhooks, store: paris, publicKey: ${publicKey}`, /there is no store paris under stores/],
    [`kind: standard-webhooks, store: london, publicKey: ${publicKey}`, /london is the primary of no link/],
    ['kind: standard-webhooks, store: frankfurt, publicKey: x', /publicKey \(line 8\): must be an Ed25519 public key/],
    [
      `kind: standard-webhooks, store: frankfurt, publicKey: whpk_${'A'.repeat(43)}=`,
      /publicKey \(line 8\): must be a public key as .*--new-key prints it; anybody could sign/,
    ],
    [`kind: standard-webhooks, store: frankfurt, publicKey: whpk_${'B'.repeat(43)}=`, /publicKey.*or nobody/],
    ['kind: standard-webhooks, store: frankfurt, secret: env:LONG', /secret: must lead to whsec_/],
    ['kind: standard-webhooks, store: frankfurt, secret: env:SPELLED', /secret: must lead to whsec_/],
    ['kind: standard-webhooks, store: frankfurt, secret: env:SHORT', /secret: must lead to whsec_.*openssl rand/],
    ['kind: standard-webhooks, store: frankfurt, secret: "ssm:x"', /is read with the configuration/],
    [`kind: standard-webhooks, store: frankfurt, secret: ${secret}`, /must be a reference/],
    [`kind: standard-webhooks, store: frankfurt, apiKey: x, publicKey: ${publicKey}`, /apiKey.*is not a known key/],
    ['kind: other, store: frankfurt', /senders\.hook\.kind/],
  ])('are refused where they could not be proven, or nobody would hear: %s', (sender, words) => {
    let mistakes: readonly string[] = [];
    try {
      parse(sender);
    } catch (thrown) {
      mistakes = (thrown as CodedError).fields.mistakes as readonly string[];
    }
    expect(mistakes.join('\n')).toMatch(words);
    expect(mistakes.join('\n')).not.toContain(secret.slice(6));
  });

  it('of one kind have nothing in common that proves both: each would take what is meant for the other', () => {
    const digest = 'a'.repeat(64);
    const text = `${smallest}senders:
  a: { kind: standard-webhooks, store: frankfurt, secret: env:HOOK_SECRET, publicKey: ${publicKey} }
  b: { kind: standard-webhooks, store: frankfurt, nextSecret: "file:same", nextPublicKey: ${publicKey} }
  c: { kind: shared-secret, store: frankfurt, digest: ${digest} }
  d: { kind: shared-secret, store: frankfurt, digest: ${'b'.repeat(64)}, nextDigest: ${digest} }
`;
    let mistakes: readonly string[] = [];
    try {
      parseConfig(text, { ...given, readFile: () => `${secret}\n` });
    } catch (thrown) {
      mistakes = (thrown as CodedError).fields.mistakes as readonly string[];
    }
    const words = 'so that each would take what is meant for the other';
    expect(mistakes).toEqual([
      `senders.b.nextSecret: is that of senders.a.secret, ${words}`,
      `senders.b.nextPublicKey: is that of senders.a.publicKey, ${words}`,
      `senders.d.nextDigest: is that of senders.c.digest, ${words}`,
    ]);
  });

  it('have addresses that begin with https', () => {
    const text = withSender(
      'kind: oidc-token, store: frankfurt, issuer: "https://i.example", jwks: "http://i.example/keys", audience: a, bearer: { sub: x }',
    );
    expect(mistakesIn(text)).toEqual([expect.stringMatching(/^senders\.hook\.jwks: must begin with https:\/\//)]);
  });

  it('and links have names of their own, for each is a callback URL', () => {
    const text = withSender(`kind: standard-webhooks, store: frankfurt, publicKey: ${publicKey}`, 'shop');
    expect(mistakesIn(text)).toEqual(['senders.shop: has the name of links.shop, and so the same callback URL']);
  });

  it('of functions have public keys only: their callback knows no secret', () => {
    const text = smallest.replaceAll(/apiKey: [^ }]+/g, 'apiKey: "ssm:/key"');
    const of = (key: string) => () =>
      parseConfig(`${text}senders:\n  hook: { kind: standard-webhooks, store: frankfurt, ${key} }\n`, {
        ...given,
        platform: 'aws',
      });
    expect(of('secret: env:HOOK_SECRET')).toThrow(/the callback of functions knows no secret/);
    const { config } = deploymentOf(of(`publicKey: ${publicKey}`)(), 'aws');
    expect(JSON.parse(JSON.stringify(config))).toMatchObject({ senders: [{ name: 'hook', publicKey }] });
  });
});

describe('the console', () => {
  const withConsole = (settings: string) => `${smallest}console: ${settings}\n`;

  it('is there where the file asks for it, on this machine alone', () => {
    expect(parseConfig(smallest, sources).console).toBeUndefined();
    expect(parseConfig(withConsole('{}'), sources).console).toEqual({ host: '127.0.0.1', port: 9480 });
    expect(parseConfig(withConsole('{ host: "::1", port: 9500 }'), sources).console).toEqual({
      host: '::1',
      port: 9500,
    });
  });

  it.each(['0.0.0.0', '::', '192.168.0.1', 'console.example'])('is refused on %s', (host) => {
    expect(mistakesIn(withConsole(`{ host: "${host}" }`))).toEqual([
      expect.stringMatching(/^console\.host: must be of this machine alone/),
    ]);
  });

  it('has a port that the command knows', () => {
    expect(mistakesIn(withConsole('{ port: 0 }'))).toEqual([expect.stringContaining('console.port')]);
  });
});
