// Deploys to Apache OpenWhisk, or removes what was deployed:
//   npm run deploy:openwhisk -- [--config certstandby.yaml] [--kind nodejs:20] [--without-alarms] [--create-table]
//   npm run remove:openwhisk
// The platform's address and key are OW_APIHOST and OW_AUTH, or those of ~/.wskprops; the
// credentials for the table are AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY; the secrets of the
// stores are the variables that the configuration names. All of it is checked before anything is
// sent. Secrets stand on no command line and in no file. Exit codes are those of the program: 3 for
// mistakes in configuration and environment, 4 when the platform could not be asked or refused.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { homedir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { zipSync } from 'fflate';
import { end, exitCodes, Stop } from '../stop.mjs';
import { askPlatform } from './platform.mjs';

const root = fileURLToPath(new URL('../..', import.meta.url));
const here = join(root, 'infra/openwhisk');
const built = join(root, 'dist/openwhisk');
const packageName = 'certstandby';
const functionNames = ['callback', 'replicate', 'sweep', 'reconcile'];
const triggers = ['certstandby-sweep', 'certstandby-reconcile'];

/**
 * Runs one of our scripts, or npm's programs, with Node. Answers what it wrote and how it ended.
 * @param {string[]} command
 * @param {{ env?: Record<string, string | undefined>, cwd?: string, output?: 'inherit' | 'pipe', errors?: 'inherit' | 'pipe' }} [options]
 */
function node(command, { env = {}, cwd = root, output = 'pipe', errors = 'inherit' } = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, command, {
    cwd,
    stdio: ['ignore', output, errors],
    env: { ...process.env, ...env },
    encoding: 'utf8',
  });
  return { status: status ?? 1, stdout: stdout ?? '', stderr: stderr ?? '' };
}

/**
 * As `node`, where anything but 0 ends the deployment.
 * @param {string[]} command
 */
function must(command) {
  const { status, stdout } = node(command);
  if (status !== 0) throw new Stop(status);
  return stdout;
}

/**
 * Address, key and namespace of the platform: from the environment, or else as `wsk property set`
 * left them.
 */
function platformSettings() {
  const file = process.env.WSK_CONFIG_FILE ?? join(homedir(), '.wskprops');
  const lines = existsSync(file) ? readFileSync(file, 'utf8').split('\n') : [];
  const kept = new Map(lines.map((line) => [line.split('=')[0]?.trim(), line.slice(line.indexOf('=') + 1).trim()]));
  const { OW_APIHOST, OW_AUTH, OW_NAMESPACE } = process.env;
  return {
    apiHost: OW_APIHOST || kept.get('APIHOST') || '',
    auth: OW_AUTH || kept.get('AUTH') || '',
    namespace: OW_NAMESPACE || kept.get('NAMESPACE') || '_',
  };
}

/**
 * What is wrong with the address and the key of the platform.
 * @param {ReturnType<typeof platformSettings>} settings
 */
function platformMistakes({ apiHost, auth }) {
  const mistakes = [];
  if (apiHost === '')
    mistakes.push('OW_APIHOST is not set: the address of the platform, such as openwhisk.example.com');
  if (auth === '') mistakes.push('OW_AUTH is not set: the key of the namespace, <user>:<password>');
  else if (!/^[^:\s]+:\S+$/.test(auth)) mistakes.push('OW_AUTH is not of the form <user>:<password>');
  if (/^http:\/\/(?!(localhost|127\.0\.0\.1|\[::1\])(:\d+)?\/?$)/.test(apiHost))
    mistakes.push(`OW_APIHOST is ${apiHost}: keys and secrets go there, so plain http:// is for loopback alone`);
  return mistakes;
}

/**
 * What of the environment is missing that is bound to actions.
 * @param {readonly { setting: string, name: string }[]} secrets what the configuration refers to
 */
function environmentMistakes(secrets) {
  const wanted = new Map([
    ['AWS_ACCESS_KEY_ID', 'the credentials with which actions use the table'],
    ['AWS_SECRET_ACCESS_KEY', 'the credentials with which actions use the table'],
    ...secrets.map(
      ({ name, setting }) => /** @type {const} */ ([name, `the configuration refers to it as ${setting}`]),
    ),
  ]);
  const missing = [...wanted].filter(([name]) => !process.env[name]).map(([name, why]) => `${name} is not set: ${why}`);
  const names = [...new Set(secrets.map(({ name }) => name))];
  const reserved = names.filter((name) => name === 'config' || name.startsWith('__ow_'));
  return [
    ...missing,
    ...reserved.map((name) => `env:${name} cannot be bound: the platform or the program uses that name`),
  ];
}

/**
 * The checked deployment as text, and as a value. Throws with every mistake named: of the file, of
 * the environment, of the platform's address.
 * @param {string} config
 * @param {ReturnType<typeof platformSettings>} settings
 */
function check(config, settings) {
  must(['infra/build.mjs']);
  const exported = node(['dist/certstandby.js', 'config', 'export', '--platform', 'openwhisk', '--config', config], {
    errors: 'pipe',
  });
  const deployment = exported.status === 0 ? JSON.parse(exported.stdout) : undefined;
  const mistakes = [...platformMistakes(settings), ...environmentMistakes(deployment?.config.secrets ?? [])];
  process.stderr.write(exported.stderr);
  if (deployment === undefined || mistakes.length > 0) throw new Stop(exitCodes.configuration, ...mistakes);
  return { text: exported.stdout, deployment };
}

/**
 * Builds the actions, and puts each where the plugin takes it from: in a zip that holds one file,
 * under the name that the plugin gives it.
 */
function buildActions() {
  must(['infra/build-functions.mjs', '--for', 'openwhisk', '--configuration', join(built, 'certstandby.json')]);
  const folder = join(built, 'package');
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  for (const name of functionNames) {
    const code = readFileSync(join(built, `${name}.cjs`));
    // The plugin knows no other ending, and wants to see the file beside the zip.
    writeFileSync(join(folder, `${name}.js`), code);
    const zip = zipSync({ [`dist/openwhisk/package/${name}.js`]: [code, { mtime: new Date(1980, 0, 2) }] });
    writeFileSync(join(folder, `${name}.zip`), zip);
  }
}

/**
 * Runs the Serverless Framework with the plugin, which are installed first if they are not there as
 * the lock file says.
 * @param {'deploy' | 'remove'} command
 * @param {ReturnType<typeof platformSettings>} settings
 * @param {{ kind?: string, alarms?: boolean }} [options]
 */
function serverless(command, settings, { kind = 'nodejs:default', alarms = true } = {}) {
  must(['infra/install.mjs', 'infra/openwhisk']);
  const env = {
    CERTSTANDBY_KIND: kind,
    CERTSTANDBY_ALARMS: String(alarms),
    OW_APIHOST: settings.apiHost,
    OW_AUTH: settings.auth,
    OW_NAMESPACE: settings.namespace,
    // What was checked is what is used.
    WSK_CONFIG_FILE: join(built, 'no-wskprops'),
    // The framework would tell its makers about each run.
    SLS_TELEMETRY_DISABLED: '1',
    SLS_NOTIFICATIONS_MODE: 'off',
  };
  const said = node(['node_modules/serverless/bin/serverless.js', command], { env, cwd: here, errors: 'pipe' });
  // Of what the framework says only what went wrong is of use, and it says that on either.
  if (said.status === 0) return;
  process.stderr.write(`${said.stdout}${said.stderr}`);
  throw new Stop(
    exitCodes.service,
    `the platform did not take what was to be ${command === 'deploy' ? 'deployed' : 'removed'}`,
  );
}

/**
 * @param {{ config: string, kind: string, alarms: boolean, createTable: boolean }} options
 * @param {ReturnType<typeof platformSettings>} found
 */
async function deploy({ config, kind, alarms, createTable }, found) {
  const { text, deployment } = check(config, found);
  mkdirSync(built, { recursive: true });
  writeFileSync(join(built, 'certstandby.json'), text);
  buildActions();
  if (process.env.AWS_SESSION_TOKEN)
    console.error(
      'certstandby: these AWS credentials are temporary: when they end, so does the replication. Deploy again before, or use a key of a user of its own.',
    );

  const platform = askPlatform(found);
  const namespace = await platform.namespace();
  if (alarms && !(await platform.exists('whisk.system', 'packages/alarms')))
    throw new Stop(
      exitCodes.service,
      'the platform has no package /whisk.system/alarms, so nothing would run sweep and reconcile. With --without-alarms they are left to a schedule of your own',
    );
  if (createTable) process.stdout.write(must(['dist/certstandby.js', 'table', 'create', '--config', config]));
  serverless('deploy', { ...found, namespace }, { kind, alarms });
  // The alarm lets the first one wait for a period, and copies with it.
  await platform.invoke(namespace, `${packageName}/reconcile`);

  const base = `${platform.url}/api/v1/web/${namespace}/${packageName}/callback.http`;
  /** @type {{ name: string }[]} */
  const links = deployment.config.links;
  process.stdout.write(
    `The first reconcile has begun. Callback URLs, by link:\n${links.map(({ name }) => `  ${name}  ${base}/callback/${name}\n`).join('')}\n` +
      (alarms
        ? ''
        : `Nothing runs them here: have ${packageName}/sweep invoked each minute, and ${packageName}/reconcile each hour.\n\n`) +
      `Next, have the primaries tell it what changes:\n  node dist/certstandby.js doctor --config ${config} --register ${base}\n`,
  );
}

/** @param {ReturnType<typeof platformSettings>} found */
async function remove(found) {
  const mistakes = platformMistakes(found);
  if (mistakes.length > 0) throw new Stop(exitCodes.configuration, ...mistakes);
  const platform = askPlatform(found);
  const namespace = await platform.namespace();
  rmSync(join(built, 'certstandby.json'), { force: true });
  serverless('remove', { ...found, namespace });
  // The plugin tells of deletions that failed, and ends as if they had not.
  const things = [`packages/${packageName}`, ...triggers.flatMap((name) => [`triggers/${name}`, `rules/${name}`])];
  const left = [];
  for (const thing of things) if (await platform.exists(namespace, thing)) left.push(thing);
  if (left.length > 0)
    throw new Stop(
      exitCodes.service,
      `these are still in namespace ${namespace}: ${left.join(', ')}. Run it again, or look with wsk list`,
    );
  process.stdout.write('Removed. The copies stay where they are, in the backups, and the records in their table.\n');
}

/** What stands on the command line. */
function commandLine() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        config: { type: 'string', default: 'certstandby.yaml' },
        kind: { type: 'string', default: 'nodejs:20' },
        'without-alarms': { type: 'boolean', default: false },
        'create-table': { type: 'boolean', default: false },
      },
    });
  } catch (error) {
    throw new Stop(exitCodes.usage, /** @type {Error} */ (error).message);
  }
}

try {
  const { values, positionals } = commandLine();
  const { config, kind, 'without-alarms': withoutAlarms, 'create-table': createTable } = values;
  const found = platformSettings();
  if (positionals.join() === 'deploy') await deploy({ config, kind, alarms: !withoutAlarms, createTable }, found);
  else if (positionals.join() === 'remove') await remove(found);
  else throw new Stop(exitCodes.usage, 'say deploy or remove');
} catch (error) {
  end(error);
}
