// Which way the arrows between the rooms point: `functions, cli -> compose -> everything`; rooms
// know contracts, kinds never meet. Each rule has been seen failing: test/gates plants a fault for
// every one of them.

const { existsSync, readdirSync } = require('node:fs');

const pureGround =
  '^src/(errors|remedies-by-cause|secret|private-key-object|limits|runtime|foreign-text|words|defined|lenient|time-limit)\\.ts$';
/** With the one way to read files, for rooms that touch some. */
const ground =
  '^src/(errors|remedies-by-cause|secret|private-key-object|limits|runtime|foreign-text|words|defined|lenient|time-limit|regular-file|private-folder)\\.ts$';
const log = '^src/log\\.ts$';
/** What settings are made of, and the contract of a service. */
const settings = '^src/(settings|services/service)\\.ts$';
/** The only place where contracts meet kinds: a file for each program that is put together. */
const composition = '^src/compose/';
const tableContract = '^src/table/table\\.ts$';

/**
 * What a room may import of ours, beside its own files. A room that is not listed here fails the
 * rule `room-is-listed`.
 */
const rooms = {
  certificate: [pureGround],
  table: [ground, '^src/aws/'],
  // One client for what is asked of others, what its failures mean of any service, one way to
  // listen. What one service's own answers mean is not known here.
  http: [ground, log],
  // What the services of IBM Cloud have in common, whatever they are asked for: stores, root keys.
  'ibm-cloud': [ground, '^src/certificate/', '^src/http/'],
  store: [ground, log, '^src/certificate/'],
  // A key that verifies notifications is somebody else's, and read before the platform sees it.
  sender: [ground, log, '^src/certificate/(public-key|public-key-pem)\\.ts$', '^src/http/client\\.ts$'],
  // What the services of AWS have in common: signed calls, credentials, settings of stores, tags as
  // marks.
  aws: [ground, '^src/settings\\.ts$', '^src/http/', '^src/store/(store|mark)\\.ts$'],
  dispatch: [ground, log, '^src/aws/'],
  secrets: [ground, '^src/aws/remedies\\.ts$'],
  keys: [ground, log, tableContract, '^src/aws/(credentials|remedies)\\.ts$', '^src/http/', '^src/ibm-cloud/'],
  records: [pureGround, log, tableContract],
  replication: [
    pureGround,
    log,
    tableContract,
    '^src/certificate/',
    '^src/records/',
    '^src/store/(store|mark|own-limit)\\.ts$',
    '^src/dispatch/dispatch\\.ts$',
    '^src/sender/event\\.ts$',
  ],
  // What is wrong with a link, by name and in words: whoever tells of it says the same.
  findings: [
    pureGround,
    '^src/records/replication-record\\.ts$',
    '^src/replication/(status|standing|backup-findings|quota-forecast|vacancy)\\.ts$',
    '^src/store/store\\.ts$',
  ],
  // Who is told of what is wrong. It knows what is found as status does, and keeps its own rows.
  alerts: [
    ground,
    log,
    tableContract,
    '^src/settings\\.ts$',
    '^src/findings/status-words\\.ts$',
    '^src/http/(client|loopback)\\.ts$',
    '^src/sender/standard-webhook-(keys|message)\\.ts$',
  ],
  // What a person looks at in a browser. It reads records and findings, and changes nothing but its
  // own rows.
  console: [
    ground,
    log,
    tableContract,
    '^src/records/replication-record\\.ts$',
    '^src/replication/(link|standing|status|pass/replicate)\\.ts$',
    '^src/findings/(status-words|standing-words)\\.ts$',
    '^src/sender/event\\.ts$',
    '^src/http/(listen|loopback)\\.ts$',
  ],
  // Texts with a signature, and the keys that make one: reports of drills, checkpoints.
  signing: [ground, '^src/certificate/(public-key|public-key-pem)\\.ts$'],
  // What was done, in chains that cannot be altered unnoticed. Nothing rests on it.
  audit: [
    ground,
    log,
    tableContract,
    // What tells a row that cannot be read from a table that cannot be asked.
    '^src/table/paging\\.ts$',
    '^src/signing/',
    '^src/certificate/public-key\\.ts$',
    '^src/records/(replication-record|row-fields)\\.ts$',
    '^src/replication/pass/replicate\\.ts$',
    '^src/sender/event\\.ts$',
  ],
  receiver: [ground, log, '^src/http/', '^src/sender/(event|sender)\\.ts$'],
  // It watches: what passes report, what records say, whether the table takes writes. Nothing rests
  // on it.
  monitor: [
    ground,
    log,
    tableContract,
    '^src/records/replication-record\\.ts$',
    '^src/replication/(pass/replicate|link|vanished|backup-findings)\\.ts$',
    '^src/sender/event\\.ts$',
    '^src/http/listen\\.ts$',
  ],
  // It stands in for the servers that would use the copies, and asks nothing but the backups.
  drill: [
    ground,
    '^src/signing/',
    '^src/certificate/',
    '^src/store/(store|mark)\\.ts$',
    '^src/replication/(shared-listing|deadline|patient-read)\\.ts$',
  ],
  // It looks at one store from outside, with a certificate of its own, and knows nothing of links.
  prove: [
    ground,
    '^src/certificate/',
    '^src/store/(store|mark)\\.ts$',
    '^src/replication/(shared-listing|write-to-end)\\.ts$',
  ],
  // It takes certificates out of stores and puts them in, whatever the link is up to.
  archive: [
    ground,
    '^src/certificate/',
    '^src/store/store\\.ts$',
    '^src/replication/(shared-listing|read-in-time|patient-read|write-to-end)\\.ts$',
  ],
  // All that is known of one service, in a folder of its own; what services share lies in the rooms
  // below.
  services: [
    ground,
    log,
    settings,
    '^src/certificate/',
    '^src/http/',
    '^src/ibm-cloud/',
    '^src/aws/',
    '^src/store/(store|mark|content-facts)\\.ts$',
    '^src/sender/',
  ],
  // It plays a service of somebody else: if it shared more than HTTP with the client, a wrong
  // assumption would agree with itself.
  instance: [ground, log, tableContract, '^src/certificate/', '^src/keys/keyring\\.ts$', '^src/http/'],
  // It may ask contracts and use cases for what they are and do; kinds it gets from compose alone,
  // as the rules below say.
  cli: [
    ground,
    log,
    '^src/(config|deployment|settings)\\.ts$',
    composition,
    tableContract,
    '^src/(http|certificate|store|sender|records|replication|findings|alerts|audit|signing|archive|drill|prove|monitor|console|receiver|instance)/',
    '^src/ibm-cloud/crn\\.ts$',
  ],
};

/**
 * Rooms that are built in floors, from the bottom: each floor may use those before it, and knows
 * none of those after it. A floor is a folder of its room, or `name: files` for some of those
 * directly in the room.
 */
const floors = {
  instance: ['rows', 'tenants', 'certificates', 'notifications', 'orders/authority', 'orders', 'upkeep', 'api'],
  replication: [
    {
      shared:
        'brake-share|compact-map|copy-name|deadline|id-map|keys-read|link|listed-copies|read-in-time|refusal|shared-listing|silence|timing|unkept-id|vacancy|vanished|verify-copy|worker|write-to-end',
    },
    'pass',
    { findings: 'backup-findings|brake-finding|standing' },
    'reconcile',
    'restore',
    // What is asked of a link from outside, and what runs beside its passes.
    { 'use-cases': '[^/]+' },
  ],
  cli: [
    'output',
    // What several commands are made of. `serve` is a command too, which `up` runs.
    {
      shared:
        'ask|console-listener|drill-schedule|interrupt|named-file|one-by-one|options|program|schedule|serve|transport|version',
    },
    'instance',
    'doctor',
    'up',
    // A file for each command without a folder, and the command line, which loads them all.
    { commands: '[^/]+' },
  ],
};

/**
 * Rooms with several kinds, and the files in them that kinds may share. Every other file is a kind,
 * or a part of one (`<kind>-<part>.ts`): only compose, and tests, import it. A new helper that
 * kinds share is added here.
 */
const sharedFiles = {
  table: ['table', 'check', 'condition', 'paging'],
  store: ['store', 'mark', 'own-limit', 'content-facts'],
  dispatch: ['dispatch', 'batches', 'continuation', 'wake-message'],
  secrets: ['secret-source', 'aws-failure'],
  keys: [
    'root-key',
    'root-keys',
    'keyring',
    'keyring-upkeep',
    'data-keys',
    'data-key-rows',
    'data-key-cache',
    'sealed',
    'wrapped-text',
  ],
};

/**
 * The only kind or folder under src/ that may import a package. A package that is not listed here
 * may not be imported at all.
 */
const packages = {
  '@aws-sdk/client-dynamodb': '^src/table/dynamodb[-.]',
  '@aws-sdk/client-kms': '^src/keys/aws-kms[-.]',
  '@aws-sdk/client-lambda': '^src/dispatch/aws-lambda\\.ts$',
  '@aws-sdk/client-secrets-manager': '^src/secrets/aws-secrets-manager\\.ts$',
  '@aws-sdk/client-ssm': '^src/secrets/aws-parameter-store\\.ts$',
  '@aws-sdk/credential-provider-node': '^src/aws/caller\\.ts$',
  '@peculiar/x509': '^src/instance/orders/authority/development-ca[-.]',
  aws4: '^src/aws/signed-service\\.ts$',
  'acme-client': '^src/instance/orders/authority/acme\\.ts$',
  'age-encryption': '^src/archive/age\\.ts$',
  commander: '^src/cli/',
  fflate: '^src/archive/zip\\.ts$',
  'reflect-metadata': '^src/instance/orders/authority/development-ca[-.]',
  lmdb: '^src/table/lmdb[-.]',
  'node-forge': '^src/archive/pkcs12-(ber|unsealing)\\.ts$',
  nodemailer: '^src/alerts/channels/email\\.ts$',
  openwhisk: '^src/dispatch/openwhisk\\.ts$',
  'prom-client': '^src/monitor/metrics\\.ts$',
  'tar-stream': '^src/archive/age\\.ts$',
  yaml: '^src/(config|services/kubernetes/kubeconfig)\\.ts$',
  yauzl: '^src/archive/zip\\.ts$',
  zod: '^src/',
};

const anyPackage = '(^|/)node_modules/';
const inPackage = (name) => `${anyPackage}${name}/`;
const rule = (name, comment, from, to) => ({ name, severity: 'error', comment, from, to });

const roomRules = Object.entries(rooms).map(([room, allowed]) =>
  rule(
    `${room}-imports-only`,
    `src/${room} may import its own files and: ${allowed.join(' ')}`,
    { path: `^src/${room}/` },
    { path: '^(src|test|functions|infra)/', pathNot: [`^src/${room}/`, ...allowed] },
  ),
);

const floorRules = Object.entries(floors).flatMap(([room, order]) => {
  const built = order.map((floor) => {
    if (typeof floor === 'string') return { name: floor, path: `^src/${room}/${floor}/` };
    const [[name, files]] = Object.entries(floor);
    return { name, path: `^src/${room}/(${files})\\.ts$` };
  });
  const paths = (some) => some.map(({ path }) => path);
  return [
    ...built.slice(0, -1).map(({ name, path }, at) => {
      const above = built.slice(at + 1);
      return rule(
        `${room}-${name.replace('/', '-')}-knows-no-floor-above`,
        `The floor ${name} of src/${room} may be used by ${above.map((floor) => floor.name).join(', ')}, and uses none of them.`,
        { path, pathNot: paths(built.slice(0, at)) },
        { path: paths(above), pathNot: paths(built.slice(0, at + 1)) },
      );
    }),
    rule(
      `${room}-floor-is-listed`,
      'Say in .dependency-cruiser.cjs which floors of this room it may use.',
      { path: `^src/${room}/`, pathNot: paths(built) },
      {},
    ),
  ];
});

/**
 * The kinds of a room: `a-b.ts` is a part of the kind `a` where there is an `a.ts`, else a kind of
 * its own.
 */
function kindsOf(room, shared) {
  const folder = `${__dirname}/src/${room}`;
  const files = (existsSync(folder) ? readdirSync(folder) : []).flatMap((file) => /^(.+)\.ts$/.exec(file)?.[1] ?? []);
  const own = files.filter((file) => !shared.includes(file));
  return own.filter((file) => !own.some((other) => file.startsWith(`${other}-`)));
}

const helpersOf = (room, shared) => `^src/${room}/(${shared.join('|')})\\.ts$`;
const allHelpers = Object.entries(sharedFiles).map(([room, shared]) => helpersOf(room, shared));

const kindRules = Object.entries(sharedFiles).flatMap(([room, shared]) => {
  const helpers = helpersOf(room, shared);
  const kinds = kindsOf(room, shared).join('|');
  return [
    rule(
      `${room}-kinds-apart`,
      `Kinds of src/${room} never import each other; what they share is listed in sharedFiles.`,
      { path: `^src/${room}/(${kinds})[-.]` },
      { path: `^src/${room}/`, pathNot: [helpers, `^src/${room}/$1[-.]`] },
    ),
    rule(
      `${room}-kinds-only-in-compose`,
      `Only compose chooses a kind of src/${room}; everything else knows its contract.`,
      { path: '^(src|functions|infra)/', pathNot: [composition, `^src/${room}/`] },
      { path: `^src/${room}/`, pathNot: helpers },
    ),
  ];
});

const packageRules = Object.entries(packages).map(([name, place]) =>
  rule(
    `package-${name.replace('@', '').replace('/', '-')}`,
    `${name} is imported only by ${place}`,
    { path: '^(src|functions)/', pathNot: place },
    { path: inPackage(name) },
  ),
);

module.exports = {
  forbidden: [
    ...roomRules,
    ...floorRules,
    rule(
      'room-is-listed',
      'Say in .dependency-cruiser.cjs what this room may import.',
      { path: '^src/[^/]+/', pathNot: [composition, `^src/(${Object.keys(rooms).join('|')})/`] },
      {},
    ),
    rule(
      'ground-stands-alone',
      'The files directly in src/ import no room, but what plain http is allowed for.',
      { path: '^src/[^/]+\\.ts$', pathNot: composition },
      {
        path: ['^(src/[^/]+/|test/|functions/|infra/)', composition],
        pathNot: [
          '^src/services/(service|registry)\\.ts$',
          '^src/alerts/(channel|registry)\\.ts$',
          '^src/http/loopback\\.ts$',
        ],
      },
    ),
    rule(
      'services-asked-by-configuration-alone',
      'Of the ground only the configuration asks services: for their settings.',
      { path: '^src/[^/]+\\.ts$', pathNot: [composition, '^src/config\\.ts$'] },
      { path: '^src/services/' },
    ),
    rule(
      'channels-asked-by-configuration-alone',
      'Of the ground only the configuration asks channels of alerts: for their settings.',
      { path: '^src/[^/]+\\.ts$', pathNot: [composition, '^src/config\\.ts$'] },
      { path: '^src/alerts/' },
    ),
    rule(
      'channels-met-in-the-registry-alone',
      'A kind of channel is known to the registry alone.',
      { path: '^(src|functions|infra)/', pathNot: '^src/alerts/registry\\.ts$' },
      { path: '^src/alerts/channels/' },
    ),
    rule(
      'channels-are-light',
      'Channels are loaded with every configuration: their files import nothing of the rows and rounds of alerts.',
      { path: '^src/alerts/(channels/|channel\\.ts$|channel-call\\.ts$|message\\.ts$)' },
      {
        path: ['^src/alerts/(alert-rows|alerts|deliver|evaluate|test-message)\\.ts$', tableContract, '^src/findings/'],
      },
    ),
    rule(
      'services-met-in-the-registry-alone',
      'What a service is made of is known to its own folder and to the registry.',
      { path: '^(src|functions|infra)/', pathNot: ['^src/services/[^/]+/', '^src/services/registry\\.ts$'] },
      { path: '^src/services/[^/]+/' },
    ),
    rule(
      'services-apart',
      'Services never import each other.',
      { path: '^src/services/([^/]+)/' },
      { path: '^src/services/[^/]+/', pathNot: '^src/services/$1/' },
    ),
    rule(
      'service-settings-know-zod-alone',
      'Settings are loaded with the program: they import nothing of what their service talks to.',
      { path: '^src/services/[^/]+/(settings|defaults)\\.ts$' },
      {
        path: '^src/',
        // How keys are written is read in one place, so that no key is taken which then proves nothing.
        pathNot: [
          pureGround,
          settings,
          '^src/services/[^/]+/(settings|defaults)\\.ts$',
          // What every store in AWS has for settings, and how what it holds is named.
          '^src/aws/(settings|arn)\\.ts$',
          '^src/sender/standard-webhook-keys\\.ts$',
        ],
      },
    ),
    rule(
      'compose-only-from-entry-points',
      'Only the command line, the functions and tests import compose.',
      { pathNot: ['^(src/cli/|functions/|test/)', composition] },
      { path: composition },
    ),
    rule(
      'configuration-only-at-the-edge',
      'Rooms take options; the configuration is read by compose and the entry points.',
      { path: '^src/', pathNot: [composition, '^src/cli/', '^src/(config|deployment)\\.ts$'] },
      { path: '^src/(config|deployment)\\.ts$' },
    ),
    rule(
      'functions-import-only',
      'A deployed function imports what is composed for functions, the ground, and its own platform.',
      { path: '^functions/([^/]+)/' },
      { path: '^(src|test|infra|functions)/', pathNot: ['^src/compose/', ground, log, '^functions/$1/'] },
    ),
    rule('nothing-imports-test', 'Only tests import tests.', { pathNot: '^test/' }, { path: '^test/' }),
    rule(
      'no-input-output',
      'What a certificate is, and the heart, touch no file, network or process: that is for kinds.',
      { path: '^src/(certificate|replication)/' },
      { dependencyTypes: ['core'], path: '^(node:)?(fs|http|https|http2|net|tls|dgram|child_process|worker_threads)' },
    ),
    rule('no-circle', 'Imports do not run in circles.', {}, { circular: true }),
    ...kindRules,
    rule(
      'helpers-know-no-kind',
      'What kinds share imports none of them.',
      { path: allHelpers },
      { path: `^src/(${Object.keys(sharedFiles).join('|')})/`, pathNot: allHelpers },
    ),
    ...packageRules,
    rule(
      'package-zod-is-mini',
      'zod whole is thirty times the size of zod/mini.',
      { path: '^(src|functions)/' },
      { path: inPackage('zod'), pathNot: inPackage('zod/mini') },
    ),
    rule(
      'package-is-listed',
      'Say in .dependency-cruiser.cjs who may import this package.',
      { path: '^(src|functions)/' },
      { path: anyPackage, pathNot: Object.keys(packages).map(inPackage) },
    ),
    rule(
      'package-is-shipped',
      'A development dependency, or one that package.json does not name, is not there in production.',
      { path: '^(src|functions)/' },
      { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown', 'npm-optional', 'npm-peer'] },
    ),
    rule('resolves', 'What is imported is there.', {}, { couldNotResolve: true }),
  ],
  options: {
    // With TypeScript 7 dependency-cruiser finds no TypeScript, reads no .ts file and is content.
    // swc reads them, `import type` too.
    parser: 'swc',
    doNotFollow: { path: '(^|/)(node_modules|dist|coverage|\\.git|\\.certstandby)(/|$)' },
    enhancedResolveOptions: {
      extensions: ['.ts', '.mjs', '.cjs', '.js', '.json'],
      exportsFields: ['exports'],
      conditionNames: ['import', 'node', 'default'],
    },
  },
};
