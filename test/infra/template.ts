import { spawnSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type ConfigSources, parseConfig } from '../../src/config.ts';
import { deploymentOf, type FunctionConfig } from '../../src/deployment.ts';
import { root } from '../support/root.ts';

/** A CloudFormation template, as far as tests read it. */
export interface Template {
  readonly Resources: Readonly<Record<string, Resource>>;
  readonly Outputs: Readonly<Record<string, { readonly Value: unknown }>>;
}

export interface Resource {
  readonly Type: string;
  readonly Properties: Readonly<Record<string, unknown>>;
  readonly DeletionPolicy?: string;
  readonly UpdateReplacePolicy?: string;
}

/** The configuration of the page for AWS. */
export const tenLines =
  /<!-- readme-test: aws-config -->\n```yaml\n([\s\S]*?)```/.exec(
    readFileSync(join(root, 'docs/aws.md'), 'utf8'),
  )?.[1] ?? '';

/**
 * What is deployed, made by osls without AWS, in a folder of its own: the template, and what osls
 * said of it.
 */
export function synthesise({
  config = tenLines,
  stage = 'acceptance',
  args = [] as readonly string[],
  policies = undefined as FunctionConfig['policies'],
} = {}) {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-template-'));
  try {
    cpSync(join(root, 'serverless.yml'), join(folder, 'serverless.yml'));
    cpSync(join(root, 'infra/aws'), join(folder, 'infra/aws'), { recursive: true });
    mkdirSync(join(folder, 'dist/aws'), { recursive: true });
    const sources: ConfigSources & { path: string } = { path: 'c.yaml', env: {}, readFile: () => '', platform: 'aws' };
    const deployment = deploymentOf(parseConfig(config, sources), 'aws', policies);
    writeFileSync(join(folder, 'dist/aws/certstandby.json'), JSON.stringify(deployment));
    for (const name of ['callback', 'events', 'replicate', 'sweep', 'reconcile'])
      writeFileSync(join(folder, `dist/aws/${name}.zip`), name);
    const command = ['package', '--stage', stage, '--region', 'eu-west-1', '--package', 'out', ...args];
    const { stdout, stderr } = spawnSync(
      process.execPath,
      [join(root, 'node_modules/osls/bin/serverless.js'), ...command],
      {
        cwd: folder,
        encoding: 'utf8',
        env: { PATH: process.env.PATH, HOME: folder, AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED: 'true' },
      },
    );
    const said = stdout + stderr;
    if (!said.includes('Service packaged')) throw new Error(`osls did not package: ${said}`);
    const text = readFileSync(join(folder, 'out/cloudformation-template-update-stack.json'), 'utf8');
    return { template: JSON.parse(text) as Template, text, said };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
