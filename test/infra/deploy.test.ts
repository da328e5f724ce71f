import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { root } from '../support/root.ts';
import { tenLines } from './template.ts';

/** What fails before anything is built or sent. The rest is tried against an emulator: test/peers/aws-deploy.test.ts. */

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

test('no region', () => {
  const { code, said } = deploy('deploy', '--config', join(folder, 'good.yaml'));
  expect(said).toMatch(/^certstandby: no region is named to deploy to\. Name one with --region/);
  expect(code).toBe(3);
});

test('a command line that cannot be meant', () => {
  expect(deploy('deploy', '--config')).toEqual({ code: 2, said: 'certstandby: --config wants a value\n' });
  expect(deploy('destroy')).toEqual({ code: 2, said: 'certstandby: say deploy or remove\n' });
});
