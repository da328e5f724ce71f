import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test, vi } from 'vitest';
import { root } from '../support/root.ts';
import { tenLines } from './template.ts';

/** Each of them starts the program several times, and some machines are busy. */
vi.setConfig({ testTimeout: 60_000 });

/**
 * What fails before anything is built or sent. The rest is tried against an emulator:
 * test/peers/aws-deploy.test.ts.
 */

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-deploy-'));
  writeFileSync(join(folder, 'good.yaml'), tenLines);
  writeFileSync(
    join(folder, 'bad.yaml'),
    tenLines.replace('ssm:/certstandby/frankfurt', 'env:FRANKFURT').replace('[london]', '[paris]'),
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function deploy(...args: string[]) {
  // No region, no credentials, and no way to AWS.
  const env = { PATH: process.env.PATH, HOME: folder, AWS_ENDPOINT_URL: 'http://127.0.0.1:1' };
  const command = [join(root, 'infra/deploy.mjs'), ...args];
  const { status, stdout, stderr } = spawnSync(process.execPath, command, { cwd: root, env, encoding: 'utf8' });
  return { code: status, said: stdout + stderr };
}

test('a configuration that is not there', () => {
  const { code, said } = deploy('deploy', '--stage', 'dev', '--config', join(folder, 'none.yaml'));
  expect(said).toContain('none.yaml cannot be read (ENOENT)');
  expect(code).toBe(3);
});

test('a wrong one, every mistake named', () => {
  const { code, said } = deploy('deploy', '--stage', 'dev', `--config=${join(folder, 'bad.yaml')}`);
  expect(said).toContain('bad.yaml has 2 mistakes');
  expect(said).toContain('stores.frankfurt.apiKey: functions on aws cannot read env: here');
  expect(said).toContain('there is no store paris');
  expect(code).toBe(3);
});

test('no region, and two of them', () => {
  const config = join(folder, 'good.yaml');
  const none = deploy('deploy', '--config', config);
  expect(none.said).toMatch(/^certstandby: no region is named\. Name one with --region/);
  expect(none.code).toBe(3);
  const there = join(folder, 'there.yaml');
  writeFileSync(there, `${tenLines}table: { kind: dynamodb, name: certstandby-dev, region: eu-west-1 }\n`);
  const two = deploy('deploy', '--config', there, '--region', 'us-east-1');
  expect(two.said).toContain('--region says us-east-1, and table.region in the configuration eu-west-1');
  expect(two.code).toBe(3);
  expect(deploy('remove', '--config', config)).toMatchObject({ code: 3 });
});

test('parameters that are none, or not as they must be: all of them at once, before anything is built', () => {
  const wrong = ['nonsense=1', 'onRemoval=Keep', 'table=a', 'secretsKey=foo', 'alarmEmail=foo', 'lookers=1', 'table'];
  const { code, said } = deploy(
    'deploy',
    '--config',
    join(folder, 'none.yaml'),
    ...wrong.map((each) => `--param=${each}`),
  );
  expect(code).toBe(3);
  expect(said.split('\n').map((line) => line.slice(0, 64))).toEqual([
    'certstandby: there is no parameter nonsense; there are: onRemova',
    'certstandby: the parameter onRemoval must be Retain or Delete, n',
    'certstandby: the parameter table must be a name of 3 to 255 lett',
    'certstandby: the parameter secretsKey must be the ARN of a KMS k',
    'certstandby: the parameter alarmEmail must be an e-mail address,',
    'certstandby: the parameter lookers must be a whole number of at ',
    'certstandby: --param wants table=<value>',
    '',
  ]);
});

test('parameters are those of serverless.yml', async () => {
  const { parameters } = (await import('../../infra/aws/parameters.mjs')) as { parameters: Record<string, unknown> };
  const [, written = ''] =
    /^params:\n {2}default:\n((?: {4}.*\n)+)/m.exec(readFileSync(join(root, 'serverless.yml'), 'utf8')) ?? [];
  const names = [...written.matchAll(/^ {4}(\w+):/gm)].map(([, name]) => name);
  // The table has its value from the configuration.
  expect([...names, 'table'].toSorted()).toEqual(Object.keys(parameters).toSorted());
});

test('a command line that cannot be meant', () => {
  for (const args of [
    ['deploy', '--config'],
    ['destroy'],
    ['deploy', 'prod'],
    ['deploy', '--foo'],
    ['deploy', '--stage', 'Prod!'],
  ])
    expect(deploy(...args)).toMatchObject({
      code: 2,
      said: expect.stringMatching(/^certstandby: .* \(--help shows what there is\)\n$/s),
    });
});

test('a stage that npm has kept to itself is not taken for another one', () => {
  const env = { PATH: process.env.PATH, HOME: folder, npm_config_stage: 'prod' };
  const command = [join(root, 'infra/deploy.mjs'), 'deploy', 'prod'];
  const { status, stderr } = spawnSync(process.execPath, command, { cwd: root, env, encoding: 'utf8' });
  expect(stderr).toContain('npm run deploy -- --stage');
  expect(status).toBe(2);
});

test('--help says what there is, and does nothing', () => {
  for (const args of [
    ['deploy', '--help'],
    ['remove', '-h'],
  ]) {
    const { code, said } = deploy(...args);
    expect(said).toMatch(/^npm run deploy -- \[options\]/);
    expect(code).toBe(0);
  }
});
