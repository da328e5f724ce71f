// Deploys to AWS, or removes what was deployed:
//   npm run deploy -- --stage dev [--config certstandby.yaml] [--region eu-west-1] [--param="name=value"]
//   npm run remove -- --stage dev [--region eu-west-1]
// Configuration and parameters are checked before anything is built, and everything is built before
// anything is sent. Exit codes are those of the program: 2 for mistakes in the command line, 3 in
// configuration and parameters, 4 when AWS could not be asked or refused.
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { configurationFile, packFunctions } from './aws/pack.mjs';
import { parameterMistakes, parameters } from './aws/parameters.mjs';
import { end, exitCodes, Stop } from './stop.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));
const osls = fileURLToPath(new URL('../node_modules/osls/bin/serverless.js', import.meta.url));
const program = fileURLToPath(new URL('../dist/certstandby.js', import.meta.url));
/** The template, as it is sent. */
const packaged = 'dist/aws/package';

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

const help = `npm run deploy -- [options]     deploys certstandby to AWS, or brings changes to what is deployed
npm run remove -- [options]     removes it; the copies stay in the backups

  --stage <name>          which deployment: each has resources of its own (default dev)
  --region <region>       where; otherwise that of table.region in the configuration, or AWS_REGION
  --config <file>         the configuration (default certstandby.yaml)
  --param <name=value>    one of: ${Object.keys(parameters).join(', ')}
  --aws-profile <name>    a profile of ~/.aws with the credentials
  --verbose               what AWS does, as it does it

Nothing is sent before configuration and parameters are good. docs/aws.md says what each means.
`;

/** What stands on the command line. Throws where it cannot be meant. */
function commandLine() {
  // Without the dashes in between npm keeps options to itself, and a stage would be another one
  // than was said.
  const kept = ['stage', 'region', 'param'].filter((name) => process.env[`npm_config_${name}`]);
  if (kept.length > 0)
    throw new Stop(
      exitCodes.usage,
      `npm took --${kept[0]} for an option of its own. Put two dashes before what is meant for the deployment: npm run deploy -- --${kept[0]} …`,
    );
  try {
    const { values, positionals } = parseArgs({
      allowPositionals: true,
      options: {
        stage: { type: 'string', default: 'dev' },
        region: { type: 'string' },
        config: { type: 'string', default: 'certstandby.yaml' },
        param: { type: 'string', multiple: true, default: [] },
        'aws-profile': { type: 'string' },
        verbose: { type: 'boolean', default: false },
        help: { type: 'boolean', short: 'h', default: false },
      },
    });
    const [command, ...rest] = positionals;
    if (rest.length > 0) throw new Error(`${rest.join(' ')} is no option; a stage is named with --stage`);
    if (!values.help && command !== 'deploy' && command !== 'remove') throw new Error('say deploy or remove');
    if (!/^[a-z][a-z0-9-]{0,31}$/.test(values.stage))
      throw new Error('--stage must be a name of lower-case letters, digits and dashes, at most 32');
    return { command, ...values };
  } catch (error) {
    throw new Stop(exitCodes.usage, `${/** @type {Error} */ (error).message} (--help shows what there is)`);
  }
}

/**
 * The region to deploy to. The commands of the program look for the table where the configuration
 * says, so another one cannot be meant.
 * @param {string | undefined} given
 * @param {string | undefined} configured
 */
function regionOf(given, configured) {
  if (given !== undefined && configured !== undefined && given !== configured)
    throw new Stop(
      exitCodes.configuration,
      `--region says ${given}, and table.region in the configuration ${configured}: let them say the same`,
    );
  const region = given ?? configured ?? process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION;
  if (region) return region;
  const ways = '--region eu-west-1, AWS_REGION, or table: { kind: dynamodb, name: certstandby-dev, region: eu-west-1 }';
  throw new Stop(exitCodes.configuration, `no region is named. Name one with ${ways} in the configuration`);
}

/** @typedef {ReturnType<typeof commandLine>} Options */

/**
 * What every command of osls is told.
 * @param {Options} options
 * @param {string} region
 */
function told({ stage, param, 'aws-profile': profile }, region) {
  const parts = ['--stage', stage, '--region', region, ...param.map((each) => `--param=${each}`)];
  return profile === undefined ? parts : [...parts, '--aws-profile', profile];
}

/** @param {Options} options */
function checkParameters({ param }) {
  const mistakes = parameterMistakes(param);
  if (mistakes.length > 0) throw new Stop(exitCodes.configuration, ...mistakes);
}

/** @param {Options} options */
function deploy(options) {
  checkParameters(options);
  const { config, stage, verbose } = options;
  const exported = check(config);
  const { links, table } = JSON.parse(exported).config;
  const region = regionOf(options.region, table?.region);
  const everywhere = told(options, region);
  mkdirSync(dirname(configurationFile), { recursive: true });
  writeFileSync(configurationFile, exported);
  run(['infra/build-functions.mjs', '--for', 'aws', '--configuration', configurationFile]);
  packFunctions();
  // What is left of mistakes is found here: nothing has been sent yet.
  run([osls, 'package', ...everywhere, '--package', packaged], { code: exitCodes.configuration });
  const sending = { code: exitCodes.service, output: /** @type {const} */ ('inherit') };
  run([osls, 'deploy', ...everywhere, ...(verbose ? ['--verbose'] : []), '--package', packaged], sending);

  const said = run([osls, 'info', '--verbose', ...everywhere], { code: exitCodes.service });
  const [, url = ''] = /HttpApiUrl: (\S+)/.exec(said) ?? [];
  if (url === '') throw new Stop(exitCodes.service, 'the stack was deployed, but does not say where its API is');
  // The schedule would let the first one wait for up to a period, and copies with it.
  run([osls, 'invoke', '--function', 'reconcile', '--type', 'Event', ...everywhere], { code: exitCodes.service });
  const lines = links.map((/** @type {{ name: string }} */ { name }) => `  ${name}  ${url}/callback/${name}`);
  const named = options.param.findLast((each) => each.startsWith('table='))?.slice('table='.length);
  const tableName = named ?? `certstandby-${stage}`;
  process.stdout.write(
    `\nThe first reconcile has begun. Callback URLs, by link:\n${lines.join('\n')}\n\n` +
      `Next, have the primaries tell it what changes:\n  AWS_REGION=${region} node dist/certstandby.js doctor --config ${config} --register ${url}\n` +
      (table === undefined
        ? `\nTo look at its records from here (status, verify, doctor), write into ${config}:\n  table: { kind: dynamodb, name: ${tableName}, region: ${region} }\n`
        : ''),
  );
}

/** @param {Options} options */
function remove(options) {
  checkParameters(options);
  // What is removed is in AWS; a configuration is of use only where it names the region, and need
  // not be there.
  const configured = existsSync(options.config) ? JSON.parse(check(options.config)).config.table?.region : undefined;
  const parts = told(options, regionOf(options.region, configured));
  run([osls, 'remove', ...parts, ...(options.verbose ? ['--verbose'] : [])], {
    code: exitCodes.service,
    output: 'inherit',
  });
  process.stdout.write(
    '\nThe copies stay where they are, in the backups. So do the table of records and its key, but for stage dev: ' +
      'docs/aws.md says how to\ndelete them, and how to deploy again beside them.\n',
  );
}

try {
  const options = commandLine();
  if (options.help) process.stdout.write(help);
  else if (options.command === 'deploy') deploy(options);
  else remove(options);
} catch (error) {
  end(error);
}
