import { chmodSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { dnsHook } from '../../../src/instance/orders/dns-hook.ts';
import { silentLog } from '../../../src/log.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-hook-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

function script(lines: string): string {
  const file = join(folder, 'hook');
  writeFileSync(file, `#!/bin/sh\n${lines}\n`);
  chmodSync(file, 0o700);
  return file;
}
const env = { PATH: process.env.PATH };

test('gets action, name and value as they are: no shell looks at them; and its own environment', async () => {
  const out = join(folder, 'out');
  const hook = dnsHook(
    {
      command: script('printf "%s\\n" "$#" "$1" "$2" "$3" "$TOKEN" >> "$OUT"'),
      env: { ...env, OUT: out, TOKEN: 't' },
    },
    silentLog,
  );
  const value = `"$(touch ${join(folder, 'planted')})"; touch ${join(folder, 'planted')} #`;
  await hook('add', '_acme-challenge.shop.example.test', value);
  await hook('remove', '_acme-challenge.shop.example.test', 'v');
  expect(readFileSync(out, 'utf8').split('\n')).toEqual([
    ...['3', 'add', '_acme-challenge.shop.example.test', value, 't'],
    ...['3', 'remove', '_acme-challenge.shop.example.test', 'v', 't'],
    '',
  ]);
  expect(existsSync(join(folder, 'planted'))).toBe(false);
});

test.each([
  ['exits with something else', 'exit 3', "ended with 3; see the server's log"],
  ['is killed', 'kill -9 $$', 'ended with SIGKILL'],
])('one that %s has failed', async (_, lines, says) => {
  const hook = dnsHook({ command: script(lines), env }, silentLog);
  await expect(hook('add', 'name', 'value')).rejects.toMatchObject({
    code: 'acme_hook_failed',
    message: expect.stringContaining(says),
  });
});

test('what it says on stderr goes into the log, its end alone, and not into the message', async () => {
  const logged: unknown[] = [];
  const command = script(`yes 'the token is t0ken' | head -c 100000 >&2; echo '; the zone is locked' >&2; exit 1`);
  const hook = dnsHook({ command, env }, (...line) => logged.push(line));
  const message = "the DNS hook (add name) ended with 1; see the server's log";
  await expect(hook('add', 'name', 'value')).rejects.toMatchObject({ code: 'acme_hook_failed', message });
  expect(logged).toEqual([
    [
      'warn',
      'instance_dns_hook_failed',
      { command, message, stderr: expect.stringMatching(/^.{0,960}t0ken.{0,40}; the zone is locked$/) },
    ],
  ]);
});

test('one that is not there has failed', async () => {
  const hook = dnsHook({ command: join(folder, 'nothing'), env }, silentLog);
  await expect(hook('add', 'name', 'value')).rejects.toMatchObject({
    code: 'acme_hook_failed',
    message: expect.stringContaining('cannot be run (ENOENT)'),
  });
});

test.each([
  ['is not done in its time', undefined, 'was not done in 0.3 s'],
  ['is still at work when the server stops', 200, 'was stopped'],
])('one that %s is killed, with what it has started', async (_, stopAfterMs, says) => {
  const [asked, alive] = [join(folder, 'asked'), join(folder, 'alive')];
  // What it starts keeps its stderr open, and would answer when it is asked.
  const started = `(until [ -e ${asked} ]; do sleep 0.05; done; touch ${alive}) & sleep 600`;
  const hook = dnsHook({ command: script(started), env, timeoutMs: 300 }, silentLog);
  const signal = stopAfterMs === undefined ? undefined : AbortSignal.timeout(stopAfterMs);
  await expect(hook('add', 'name', 'value', signal)).rejects.toMatchObject({
    code: 'acme_hook_failed',
    message: expect.stringContaining(says),
  });
  writeFileSync(asked, '');
  await new Promise((resolve) => setTimeout(resolve, 1_000));
  expect(existsSync(alive)).toBe(false);
});
