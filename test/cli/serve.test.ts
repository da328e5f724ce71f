import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { stopWithin } from '../../src/cli/serve.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { runCommand, testHost } from '../support/command.ts';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-serve-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** Runs `serve` on a configuration that it refuses, and says what a person then reads. */
async function refused(more: string): Promise<{ readonly code: number; readonly errors: string }> {
  const crn = (region: string, digit: string) =>
    `crn:v1:bluemix:public:cloudcerts:${region}:a/00000000000000000000000000000001:${digit.repeat(8)}-2222-4333-8444-555555555555::`;
  const file = join(folder, 'certstandby.yaml');
  writeFileSync(
    file,
    `version: 1
${more}
stores:
  one: { kind: certificate-manager, instance: "${crn('eu-de', '1')}", apiKey: env:KEY, endpoint: http://127.0.0.1:9 }
  two: { kind: certificate-manager, instance: "${crn('eu-gb', '2')}", apiKey: env:KEY, endpoint: http://127.0.0.1:9 }
links: { shop: { primary: one, backups: [two] } }
`,
  );
  const { code, errors } = await runCommand(['serve', '--config', file], testHost({ env: { KEY: 'k' } }));
  return { code, errors };
}

test('off loopback without TLS it does not start, and says what to write', async () => {
  const { code, errors } = await refused('receiver: { host: 0.0.0.0 }');
  expect(code).toBe(3);
  expect(errors).toBe(`certstandby: the receiver would speak plain HTTP on 0.0.0.0
  Write serve: { tls: { certificate: <file>, key: <file> } }, or serve: { behindProxy: true } if something in front of it ends TLS, or receiver: { host: 127.0.0.1 }. [receiver_not_private]
`);
});

test('with TLS files that are not there it does not start, and leaves nothing behind', async () => {
  const { code, errors } = await refused('serve: { tls: { certificate: tls.pem, key: tls.key } }');
  expect(code).toBe(3);
  expect(errors).toContain(`certstandby: ${folder}/tls.pem cannot be read (ENOENT)\n`);
  expect(errors).toContain('[tls_unusable]');
});

test('TLS here and TLS in front exclude each other; a port that is taken is named', async () => {
  const both = await refused('serve: { behindProxy: true, tls: { certificate: tls.pem, key: tls.key } }');
  expect(both.errors).toContain('serve: tls and behindProxy: true exclude each other');
  const { createServer } = await import('node:net');
  const taken = createServer();
  await new Promise<void>((resolve) => taken.listen(0, '127.0.0.1', resolve));
  const { port } = taken.address() as { port: number };
  const { code, errors } = await refused(`receiver: { port: ${port} }\nserve: { metrics: { port: 0 } }`);
  taken.close();
  expect(errors).toContain(`cannot listen on 127.0.0.1, port ${port}: already taken`);
  expect(code).toBe(3);
});

test('a stop closes one after the other; what takes longer than allowed is left, and the process ends with 0 all the same', async () => {
  const lines: string[] = [];
  const log = (_: string, event: string) => void lines.push(event);
  const closed: string[] = [];
  const close = (name: string, ms: number) => async () => {
    await systemRuntime.wait(ms);
    closed.push(name);
  };
  await stopWithin([close('intake', 20), close('table', 0)], 10_000, log, testHost());
  expect([closed, lines]).toEqual([['intake', 'table'], ['stopped']]);

  const never = () => new Promise<void>(() => undefined);
  await expect(stopWithin([never, close('late', 0)], 10, log, testHost())).rejects.toThrow('exit 0');
  expect(closed).not.toContain('late');
  expect(lines.at(-1)).toBe('stopped_with_work_under_way');
});
