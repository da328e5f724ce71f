import { join } from 'node:path';
import type { WebActionResult } from '../../functions/openwhisk/web-action.ts';
import { parseConfig } from '../../src/config.ts';
import { deploymentOf } from '../../src/deployment.ts';
import { silentLog } from '../../src/log.ts';
import { startReceiverServer } from '../../src/receiver/node-host.ts';
import { Secret } from '../../src/secret.ts';
import { dynamodbTable } from '../../src/table/dynamodb.ts';
import { createDynamodbTable } from '../../src/table/dynamodb-create.ts';
import type { Table } from '../../src/table/table.ts';
import { backupCrn, primaryCrn } from '../end-to-end/program.ts';
import { type Sides, type SidesOptions, startSides } from '../end-to-end/sides.ts';
import { startDynalite } from '../support/dynalite.ts';
import { root } from '../support/root.ts';
import { bundleFunctions } from './bundles.ts';
import type { CallbackAnswer, CallbackCase } from './callback-cases.ts';
import { type OpenwhiskApi, startOpenwhiskApi } from './openwhisk-api.ts';
import { type ActionProcess, actionProcess } from './openwhisk-process.ts';

const actionNames = ['callback', 'replicate', 'sweep', 'reconcile'] as const;
type ActionName = (typeof actionNames)[number];

/**
 * The package as it is deployed: the real bundles of its configuration, each in a runtime of its
 * own, with a table and the platform's API.
 */
export interface OpenwhiskStack {
  readonly sides: Sides;
  readonly api: OpenwhiskApi;
  readonly table: Table;
  readonly actions: Readonly<Record<ActionName, ActionProcess>>;
  /** One activation, with what is bound to the action, and what the activation brings. */
  activate(name: ActionName, parameters?: object, timeoutMs?: number): Promise<Readonly<Record<string, unknown>>>;
  /** What is bound to the actions that ask stores. */
  readonly bound: Readonly<Record<string, unknown>>;
  /** `http://127.0.0.1:<port>/callback/main` */
  readonly callbackUrl: string;
  /** Has what was invoked done, one after the other, until nothing is left. Answers the results. */
  drain(): Promise<readonly Readonly<Record<string, unknown>>[]>;
  close(): Promise<void>;
}

/**
 * What the platform makes of a request for a web action with `raw-http`. Repeated headers: the last
 * one stays.
 */
export function webActionParameters({ method, path, headers, body }: CallbackCase['request']): object {
  const flat = Object.fromEntries(headers.map(([name, value]) => [name.toLowerCase(), value]));
  const isText = (flat['content-type'] ?? '').toLowerCase().startsWith('text/');
  return {
    __ow_method: method.toLowerCase(),
    __ow_headers: flat,
    __ow_path: path.replace(/^\/callback/, ''),
    __ow_query: '',
    __ow_body: body.toString(isText ? 'utf8' : 'base64'),
  };
}

/**
 * What the platform makes of the result of a web action. A body that is a text of Content-Type JSON
 * is base64 to its older versions: those are played here, because newer ones take everything that
 * these take.
 */
export function answerOf(result: object): CallbackAnswer {
  const { statusCode, headers = {}, body } = result as Partial<WebActionResult>;
  const isText = typeof body === 'string';
  if (statusCode === undefined || (isText && !/^[A-Za-z0-9+/]+=*$/.test(body))) {
    const error = 'Response type in header did not match generated content type.';
    return { status: 400, headers: {}, body: JSON.stringify({ error }) };
  }
  return { status: statusCode, headers, body: isText ? Buffer.from(body, 'base64').toString() : JSON.stringify(body) };
}

export async function startOpenwhiskStack(options: Pick<SidesOptions, 'signingKey'> = {}): Promise<OpenwhiskStack> {
  const [dynalite, sides] = await Promise.all([startDynalite(), startSides(options)]);
  const api = await startOpenwhiskApi();
  const where = { tableName: 'certstandby-test', region: 'eu-west-1', endpoint: dynalite.endpoint };
  const access = { ...where, credentials: { accessKeyId: 'test', secretAccessKey: new Secret('test') } };
  await createDynamodbTable(access);
  const table = dynamodbTable({ ...access, connectTimeoutMs: 10_000, answerTimeoutMs: 10_000 });

  const store = (instance: string, url: string, secret: string) =>
    `{ kind: certificate-manager, instance: "${instance}", apiKey: "env:${secret}", endpoint: "${url}", iam: "${url}", ` +
    'settles: 1s, listingLag: 0s, writesPerCertificatePerMinute: unlimited }';
  const text = [
    'version: 1',
    `table: { kind: dynamodb, name: ${where.tableName}, region: ${where.region}, endpoint: "${where.endpoint}" }`,
    'stores:',
    `  primary: ${store(primaryCrn, sides.primary.proxy.url, 'PRIMARY_KEY')}`,
    `  backup: ${store(backupCrn, sides.backup.proxy.url, 'BACKUP_KEY')}`,
    'links: { main: { primary: primary, backups: [backup], policy: { requireChain: true } } }',
  ].join('\n');
  const sources = { path: join(root, 'certstandby.yaml'), env: {}, readFile: () => '' };
  const config = deploymentOf(parseConfig(text, { ...sources, platform: 'openwhisk' }), 'openwhisk');
  const bundles = await bundleFunctions('openwhisk', config);
  const forAll = { config, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' };
  const bound = { ...forAll, PRIMARY_KEY: sides.apiKey, BACKUP_KEY: sides.apiKey };
  const boundTo = (name: ActionName) => (name === 'callback' || name === 'sweep' ? forAll : bound);

  const actions = Object.fromEntries(
    actionNames.map((name) => {
      const file = join(bundles.folder, 'openwhisk', `${name}.cjs`);
      const given = { file, name: `/guest/certstandby/${name}`, apiHost: api.host, apiKey: 'user-1:very-secret' };
      return [name, actionProcess(given)];
    }),
  ) as Record<ActionName, ActionProcess>;
  const activate: OpenwhiskStack['activate'] = (name, parameters = {}, timeoutMs) =>
    actions[name].run({ ...boundTo(name), ...parameters }, timeoutMs);

  // In front stands what the platform does: a request becomes an activation of the web action, and
  // its result a response.
  const gateway = await startReceiverServer({
    async receiver({ method, path, header, body }) {
      const type = header('content-type');
      const headers: [string, string][] = type === undefined ? [] : [['content-type', type]];
      const answer = answerOf(
        await activate('callback', webActionParameters({ method, path, headers, body: Buffer.from(body) })),
      );
      return { ...answer, headers: answer.headers as Record<string, string> };
    },
    host: '127.0.0.1',
    port: 0,
    log: silentLog,
  });

  return {
    sides,
    api,
    table,
    actions,
    activate,
    bound,
    callbackUrl: `${gateway.url}/callback/main`,
    async drain() {
      const results: Readonly<Record<string, unknown>>[] = [];
      for (let count = 0; api.invocations.length > 0 && count < 100; count += 1) {
        const [invocation] = api.invocations.splice(0, 1);
        const [, name = ''] = /certstandby\/(\w+)/.exec(invocation?.url ?? '') ?? [];
        results.push(await activate(name as ActionName, invocation?.params));
      }
      return results;
    },
    async close() {
      await gateway.close();
      await Promise.all(Object.values(actions).map((each) => each.kill()));
      await Promise.all([table.close(), api.close(), sides.close()]);
      await Promise.all([dynalite.close(), bundles.dispose()]);
    },
  };
}
