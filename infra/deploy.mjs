// Deploys to AWS, or removes what was deployed:
//   npm run deploy -- --stage dev [--config certstandby.yaml] [--region eu-west-1] [--param="name=value"]
//   npm run remove -- --stage dev [--region eu-west-1]
// The configuration is checked before anything is built, and everything is built before anything is sent. What this does not know is
// passed on to osls. Exit codes are those of the program: 3 for mistakes in the configuration, 4 when AWS could not be asked or refused.
import { spawnSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { configurationFile, packFunctions } from './aws/pack.mjs';
import { end, exitCodes, Stop } from './stop.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const osls = fileURLToPath(new URL('../node_modules/osls/bin/serverless.js', import.meta.url));
const program = fileURLToPath(new URL('../dist/certstandby.js', import.meta.url));
/** The template, as it is sent. */
const packaged = 'dist/aws/package';

/**
 * Takes an option out of the arguments. Answers its value, or undefined where it is not among them.
 * @param {string[]} args
 * @param {string} name
 */
function take(args, name) {
  const at = args.findIndex((arg) => arg === name || arg.startsWith(`${name}=`));
  if (at < 0) return undefined;
  const [given = ''] = args.splice(at, 1);
  const value = given.includes('=') ? given.slice(name.length + 1) : args.splice(at, 1)[0];
  if (!value) throw new Stop(exitCodes.usage, `${name} wants a value`);
  return value;
}

/**
 * Runs a program of ours or of npm's with Node, and answers what it wrote to its output.
 * @param {string[]} command
 * @param {{ quiet?: boolean, code?: number, output?: 'inherit' | 'pipe' }} [options]
 */
function run(command, { quiet = false, code, output = 'pipe' } = {}) {
  /** @type {import('node:child_process').StdioOptions} */
  const stdio = ['inherit', output, quiet ? 'pipe' : 'inherit'];
  // The AWS clients of osls say at each start that they will want a newer Node one day.
  const env = { AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true', ...process.env };
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: root, stdio, env, encoding: 'utf8' });
  if (status === 0) return stdout?.toString() ?? '';
  // osls says what is wrong on its output.
  process.stderr.write(`${stdout ?? ''}${stderr ?? ''}`);
  throw new Stop(code ?? status ?? 1);
}

/**
 * The checked configuration, as functions read it. Every mistake has been named when this throws.
 * @param {string} config
 */
function check(config) {
  run(['infra/build.mjs'], { quiet: true });
  const command = [program, 'config', 'export', '--platform', 'aws', '--config', config];
  return run(command, { code: exitCodes.configuration });
}

/** @param {string | undefined} given @param {string | undefined} configured */
function regionOf(given, configured) {
  const region = given ?? process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION ?? configured;
  if (region) return region;
  const ways = '--region eu-west-1, AWS_REGION, or table: { kind: dynamodb, name: certstandby, region: eu-west-1 }';
  throw new Stop(
    exitCodes.configuration,
    `no region is named to deploy to. Name one with ${ways} in the configuration`,
  );
}

/**
 * The options that every command of osls knows, out of those that were given for deployment.
 * @param {string[]} args
 */
function common(args) {
  const known = ['--param', '--aws-profile'];
  return args.filter(
    (arg, at) => known.some((name) => arg === name || arg.startsWith(`${name}=`)) || known.includes(args[at - 1] ?? ''),
  );
}

/** @param {string[]} args @param {string} config */
function deploy(args, config) {
  const exported = check(config);
  const { links, table } = JSON.parse(exported).config;
  const where = [
    '--stage',
    take(args, '--stage') ?? 'dev',
    '--region',
    regionOf(take(args, '--region'), table?.region),
  ];
  mkdirSync(dirname(configurationFile), { recursive: true });
  writeFileSync(configurationFile, exported);
  run(['infra/build-functions.mjs', '--for', 'aws']);
  packFunctions();
  const everywhere = [...where, ...common(args)];
  // Mistakes in parameters are found here: nothing has been sent yet.
  run([osls, 'package', ...everywhere, '--package', packaged], { code: exitCodes.configuration });
  const options = { code: exitCodes.service, output: /** @type {const} */ ('inherit') };
  run([osls, 'deploy', ...where, ...args, '--package', packaged], options);

  const said = run([osls, 'info', '--verbose', ...everywhere], { code: exitCodes.service });
  const [, url = ''] = /HttpApiUrl: (\S+)/.exec(said) ?? [];
  if (url === '') throw new Stop(exitCodes.service, 'the stack was deployed, but does not say where its API is');
  // The schedule would let the first one wait for up to a period, and copies with it.
  run([osls, 'invoke', '--function', 'reconcile', '--type', 'Event', ...everywhere], { code: exitCodes.service });
  const lines = links.map((/** @type {{ name: string }} */ { name }) => `  ${name}  ${url}/callback/${name}`);
  process.stdout.write(
    `\nThe first reconcile has begun. Callback URLs, by link:\n${lines.join('\n')}\n\n` +
      `Next, have the primaries tell it what changes:\n  node dist/certstandby.js doctor --config ${config} --register ${url}\n`,
  );
}

/** @param {string[]} args */
function remove(args) {
  const where = ['--stage', take(args, '--stage') ?? 'dev', '--region', regionOf(take(args, '--region'), undefined)];
  run([osls, 'remove', ...where, ...args], { code: exitCodes.service, output: 'inherit' });
  process.stdout.write(
    '\nThe copies stay where they are, in the backups. So do the table of records and its key, but for stage dev: ' +
      'README.md says how to\ndelete them, and how to deploy again beside them.\n',
  );
}

const [command, ...args] = process.argv.slice(2);
try {
  const config = take(args, '--config') ?? 'certstandby.yaml';
  if (command === 'deploy') deploy(args, config);
  else if (command === 'remove') remove(args);
  else throw new Stop(exitCodes.usage, 'say deploy or remove');
} catch (error) {
  end(error);
}
