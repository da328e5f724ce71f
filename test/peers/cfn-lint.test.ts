import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { synthesise } from '../infra/template.ts';
import { requireLibrary } from './pypi.ts';

const withLint = requireLibrary('cfn-lint', '1.58.0', { module: 'cfnlint' });

/** Findings of cfn-lint in the text of a template, one a line. */
function findings(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-lint-'));
  try {
    writeFileSync(join(folder, 'template.json'), text);
    // W3005: osls says dependencies that follow from references anyway.
    const lint = withLint?.(
      'python3',
      '-c',
      'from cfnlint.runner import main; main()',
      '--format',
      'parseable',
      '--ignore-checks',
      'W3005',
      '--',
      'template.json',
    );
    const [program = '', ...args] = lint ?? [];
    const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, encoding: 'utf8' });
    if (status === null) throw new Error(`cfn-lint did not end: ${stderr}`);
    return stdout + stderr;
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

describe.skipIf(withLint === undefined)("the template, by AWS's own cfn-lint", () => {
  test.each(['dev', 'prod'])('nothing is found in that of stage %s', (stage) => {
    expect(findings(synthesise({ stage }).text)).toBe('');
  });

  test('with every parameter given', () => {
    const given = [
      'alarmEmail=a@example.com',
      'callbackReserved=3',
      'secretsKey=arn:aws:kms:eu-west-1:111122223333:key/k',
    ];
    expect(findings(synthesise({ args: given.map((param) => `--param=${param}`) }).text)).toBe('');
  });

  test('what is wrong is found', () => {
    const { text } = synthesise();
    expect(
      findings(text.replace('"BillingMode":', '"BilingMode":').replace('"BillingMode": ', '"BilingMode": ')),
    ).toContain('E3002');
  });
});
