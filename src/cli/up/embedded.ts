import { randomBytes } from 'node:crypto';
import { join, relative } from 'node:path';
import { createDevelopmentCa, type Instances, openInstances } from '../../compose/instances.ts';
import { type Config, loadConfig } from '../../config.ts';
import type { DevelopmentCa } from '../../instance/orders/authority/development-ca.ts';
import { limits } from '../../limits.ts';
import type { Log } from '../../log.ts';
import { readTextFileSync } from '../../regular-file.ts';
import type { Runtime } from '../../runtime.ts';
import { Secret } from '../../secret.ts';
import type { OwnFolder } from './folder.ts';

/** A primary and a backup on this machine, and the configuration that links them. */
export interface Embedded {
  readonly config: Config;
  readonly link: string;
  /** First port to try for the receiver. */
  readonly nextPort: number;
  /**
   * Registers the callback URL as a notification channel of the primary. Writes the file that the
   * README's `curl` lines source.
   */
  register(callbackUrl: string): Promise<void>;
  /**
   * Orders a certificate in the primary, or, where an earlier run has left one of this name, renews
   * it. Its id.
   */
  order(name: string, domains: readonly string[]): Promise<string>;
  /** Renews a certificate of the primary with a new key. */
  renewWithNewKey(id: string): Promise<void>;
  /** The root of the authority that issues what is ordered in the primary, PEM. */
  orderRoot(): Promise<string>;
  /** Writes the authorities that a drill is to trust. */
  trust(rootPems: readonly string[]): void;
  heading(receiverUrl: string): string;
  /**
   * Notes where the console is served, so that `certstandby console` finds it by the configuration.
   */
  servesConsole(port: number): void;
  /** `consoleLink`: signs in to the console. */
  nextSteps(consoleLink: string): string;
  close(): Promise<void>;
}

const link = 'main';
const firstPort = 8471;
const account = 'a/00000000000000000000000000000001';
const sides = {
  primary: `crn:v1:bluemix:public:cloudcerts:eu-de:${account}:11111111-2222-4333-8444-555555555555::`,
  backup: `crn:v1:bluemix:public:cloudcerts:eu-gb:${account}:66666666-7777-4888-9999-aaaaaaaaaaaa::`,
} as const;
const credentialsFile = 'credentials.env';
const authoritiesFile = 'authorities.pem';

/**
 * Starts both instances. Everything is kept in the folder: certificates sealed, in a table for each
 * side, as if they were in two regions; a root key in a folder of its own; API keys in files of
 * their own, because the configuration needs them.
 */
export async function startEmbedded(options: {
  readonly folder: OwnFolder;
  readonly port?: number;
  readonly runtime: Runtime;
  readonly log: Log;
}): Promise<Embedded> {
  const { folder, runtime, log } = options;
  const port = options.port ?? firstPort;
  let made: Promise<DevelopmentCa> | undefined;
  const developmentCa = () => {
    made ??= createDevelopmentCa({ name: 'Example Orders', now: runtime.now });
    return made;
  };
  const primary = await startSide('primary', port, { folder, runtime, log, developmentCa });
  const backup = await startSide('backup', primary.port + 1, { folder, runtime, log, developmentCa }).catch(
    async (thrown: unknown) => {
      await primary.close();
      throw thrown;
    },
  );

  const configFile = 'certstandby.yaml';
  const urls = { primary: primary.url, backup: backup.url };
  folder.write(configFile, configText(urls));
  const config = loadConfig(join(folder.path, configFile), {});
  const shown = relative(process.cwd(), folder.path) || '.';

  return {
    config,
    link,
    nextPort: backup.port + 1,
    order: primary.order,
    renewWithNewKey: async (id) =>
      void (await primary.call('POST', `/v1/certificate/${primary.segmentOf(id)}/renew`, { rotate_keys: true })),
    orderRoot: async () => (await developmentCa()).rootPem,
    trust: (rootPems) => folder.write(authoritiesFile, rootPems.join('')),
    async register(callbackUrl) {
      folder.write(credentialsFile, credentials({ primary, backup, callbackUrl }));
      await primary.notify(callbackUrl);
    },
    heading: (receiverUrl) =>
      [
        `primary   ${primary.url}   eu-de`,
        `backup    ${backup.url}   eu-gb`,
        `receiver  ${receiverUrl}/callback/${link}`,
        `certificates (sealed), records, credentials (${credentialsFile}) and log are in ${shown}`,
        '',
        '',
      ].join('\n'),
    servesConsole: (port) => folder.write(configFile, configText(urls, port)),
    nextSteps: (consoleLink) =>
      [
        '',
        'Look at both sides in a browser; this link signs one person in, once:',
        `  ${consoleLink}`,
        `  (another one: node dist/certstandby.js console --config ${join(shown, configFile)})`,
        `Both sides stay up. In another terminal:  . ${join(shown, credentialsFile)}`,
        'and import a certificate of your own with the curl lines of the README, or compare everything:',
        `  node dist/certstandby.js reconcile --config ${join(shown, configFile)}`,
        'or have every copy served to a client that checks it:',
        `  node dist/certstandby.js drill --config ${join(shown, configFile)}`,
        'Ctrl-C stops. The events of the primary appear here:',
        '',
        '',
      ].join('\n'),
    async close() {
      await Promise.all([primary.close(), backup.close()]);
    },
  };
}

type Side = Awaited<ReturnType<typeof startSide>>;

async function startSide(
  side: keyof typeof sides,
  port: number,
  {
    folder,
    runtime,
    log,
    developmentCa,
  }: {
    readonly folder: OwnFolder;
    readonly runtime: Runtime;
    readonly log: Log;
    readonly developmentCa: () => Promise<DevelopmentCa>;
  },
) {
  const apiKey = keptApiKey(folder, `${side}.apikey`);
  const crn = sides[side];
  const instances = await openInstances(
    {
      table: { kind: 'lmdb', path: join(folder.path, side) },
      rootKeys: [{ kind: 'file', path: join(folder.path, 'keys', `${side}.root-key`) }],
      tenants: [crn],
    },
    { runtime, log },
  );
  // The pair is for trying things out: nobody is asked to keep its recovery texts.
  // `instance create` shows the one it makes.
  for (const { recoveryText } of instances.made) recoveryText.wipe();
  const server = await serveSide(instances, { side, apiKey, port, developmentCa }).catch(async (thrown: unknown) => {
    await instances.close();
    throw thrown;
  });
  const I = encodeURIComponent(crn);
  const segmentOf = (id: string) => encodeURIComponent(`${crn.slice(0, -1)}certificate:${id}`);

  /** One request as a client of the instance makes it. Paths are those after `/api`. */
  async function call(method: string, path: string, body?: object): Promise<unknown> {
    const token = await fetch(`${server.url}/identity/token`, {
      method: 'POST',
      body: new URLSearchParams({ grant_type: 'urn:ibm:params:oauth:grant-type:apikey', apikey: apiKey }),
    });
    const { access_token: bearer } = (await token.json()) as { access_token: string };
    const answer = await fetch(`${server.url}/api${path}`, {
      method,
      headers: { authorization: `Bearer ${bearer}`, 'content-type': 'application/json' },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    if (!answer.ok) throw new Error(`the ${side} refused ${method} ${path} with status ${answer.status}`);
    return answer.json();
  }

  return {
    ...server,
    crn,
    apiKey,
    call,
    segmentOf,
    async close(): Promise<void> {
      await server.close();
      await instances.close();
    },
    async order(name: string, domains: readonly string[]): Promise<string> {
      const found = await call('GET', `/v3/${I}/certificates/search?q=${encodeURIComponent(`"${name}"`)}`);
      const { certificates } = found as {
        certificates: readonly { readonly _id: string; readonly imported: boolean }[];
      };
      const earlier = certificates
        .find(({ imported }) => !imported)
        ?._id.split(':')
        .at(-1);
      const order = {
        name,
        description: 'made by certstandby up',
        domains,
        domain_validation_method: 'dns-01',
        auto_renew_enabled: true,
      };
      const answer =
        earlier === undefined
          ? await call('POST', `/v1/${I}/certificates/order`, order)
          : await call('POST', `/v1/certificate/${segmentOf(earlier)}/renew`, { rotate_keys: false });
      return (answer as { _id: string })._id.split(':').at(-1) ?? '';
    },
    /**
     * Has notifications sent to this endpoint, and no longer to where earlier runs here were
     * listening.
     */
    async notify(endpoint: string): Promise<void> {
      const at = `/v1/instances/${I}/notifications`;
      const channels = (await call('GET', `${at}/channels`)) as readonly {
        readonly id: string;
        readonly endpoint: string;
      }[];
      const path = new URL(endpoint).pathname;
      for (const { id, endpoint: other } of channels) {
        if (other !== endpoint && new URL(other).pathname === path) await call('DELETE', `${at}/${id}`);
      }
      if (channels.some(({ endpoint: other }) => other === endpoint)) return;
      await call('PUT', `${at}/channels`, { type: 'url', endpoint, is_active: true });
    },
  };
}

function serveSide(
  instances: Instances,
  options: {
    readonly side: keyof typeof sides;
    readonly apiKey: string;
    readonly port: number;
    readonly developmentCa: () => Promise<DevelopmentCa>;
  },
) {
  const { side, apiKey, port, developmentCa } = options;
  return instances.serve({
    ordering: { developmentCa },
    host: '127.0.0.1',
    port,
    nextFree: true,
    instances: [
      {
        crn: sides[side],
        apiKeys: [{ name: `${side}-manager`, key: new Secret(apiKey), role: 'manager' }],
        limits: 'none',
        allowLoopbackChannels: true,
      },
    ],
  });
}

/**
 * The API key of an earlier run, so that sourced credentials stay good; a new one the first time.
 */
function keptApiKey(folder: OwnFolder, name: string): string {
  try {
    const kept = readTextFileSync(join(folder.path, name), { maxBytes: limits.textFileBytes }).trim();
    if (/^[\w-]{40,}$/.test(kept)) return kept;
  } catch {
    // The first run here.
  }
  const made = randomBytes(33).toString('base64url');
  folder.write(name, `${made}\n`);
  return made;
}

function configText(urls: Readonly<Record<keyof typeof sides, string>>, consolePort?: number): string {
  const store = (side: keyof typeof sides) =>
    [
      `  ${side}:`,
      '    kind: certificate-manager',
      `    instance: "${sides[side]}"`,
      `    apiKey: file:${side}.apikey`,
      `    endpoint: ${urls[side]}`,
      `    iam: ${urls[side]}`,
      '    settles: 5s                              # an instance of our own on this machine is known better than a cloud',
      '    listingLag: 0s',
      '    writesPerCertificatePerMinute: unlimited',
    ].join('\n');
  return [
    '# Written by certstandby up. Copy it, and put your own stores in.',
    'version: 1',
    'table: { kind: lmdb, path: records }',
    `drill: { trust: ${authoritiesFile} }             # the authorities of the certificates that it makes itself`,
    ...(consolePort === undefined ? [] : [`console: { port: ${consolePort} }`]),
    'stores:',
    store('primary'),
    store('backup'),
    'links:',
    `  ${link}:`,
    '    primary: primary',
    '    backups: [backup]',
    '    policy: { regions: [eu-gb] }',
    '',
  ].join('\n');
}

function credentials({ primary, backup, callbackUrl }: { primary: Side; backup: Side; callbackUrl: string }): string {
  const side = (prefix: string, { url, crn, apiKey }: Side) => [
    `export ${prefix}='${url}'`,
    `export ${prefix}_CRN='${crn}'`,
    `# the CRN as one segment of a path`,
    `export ${prefix}_INSTANCE='${encodeURIComponent(crn)}'`,
    `export ${prefix}_API_KEY='${apiKey}'`,
  ];
  return [
    '# Written by certstandby up. Mode 0600: it holds API keys. Use it with:  . credentials.env',
    ...side('PRIMARY', primary),
    ...side('BACKUP', backup),
    `export CALLBACK='${callbackUrl}'`,
    '',
  ].join('\n');
}
