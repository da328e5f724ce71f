import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { testCertificate } from '../support/certificates.ts';
import { type BundledScript, bundleScript } from '../support/child.ts';
import { runCommand } from '../support/command.ts';
import { exchangeToken } from '../support/instance.ts';
import { requirePeer } from './peer.ts';

// What is on disk when an import is answered, as the kernel saw it asked for.
const version = requirePeer('strace', ['strace', '--version'], 'apt-get install strace');

const calls = 'openat,write,writev,pwrite64,pwritev,fdatasync,fsync,msync,sendto,sendmsg';
const imports = 5;

/**
 * What was not flushed before each answer with 200 that follows a write to the data file. LMDB
 * writes pages, flushes them, and then writes its one meta page by a descriptor that flushes by
 * itself (O_DSYNC): only with that are the pages in force.
 */
function unflushedAnswers(trace: string): { readonly answers: number; readonly wrong: readonly string[] } {
  const selfFlushing = new Set<string>();
  const wrong: string[] = [];
  let [answers, unflushed, inForce, wrote] = [0, 0, true, false];
  for (const line of trace.split('\n')) {
    const [, call = '', fd = ''] = /(?:^|\s)(?:<\.\.\. )?(\w+)(?: resumed>|\((\d+)?)/.exec(line) ?? [];
    const opened = /openat\(.*data\.mdb.*O_DSYNC.*\) = (\d+)/.exec(line)?.[1];
    if (opened !== undefined) selfFlushing.add(opened);
    const begins = line.includes('data.mdb>');
    const ends = !line.includes('<unfinished');
    if (/^p?writev?(64)?$/.test(call) && begins) {
      wrote = true;
      if (selfFlushing.has(fd)) inForce = unflushed === 0;
      else [unflushed, inForce] = [unflushed + 1, false];
    } else if (/^(fdatasync|fsync|msync)$/.test(call) && ends) {
      unflushed = 0;
    } else if (line.includes('"HTTP/1.1 200') && wrote) {
      answers += 1;
      if (unflushed > 0) wrong.push(`${unflushed} writes not flushed before: ${line}`);
      else if (!inForce) wrong.push(`flushed pages not in force before: ${line}`);
      wrote = false;
    }
  }
  return { answers, wrong };
}

describe('the reader of traces', () => {
  const opened = '7 openat(3, "/x/data.mdb", O_WRONLY|O_DSYNC|O_CLOEXEC) = 20</x/data.mdb>';
  const pages = '8 writev(19</x/data.mdb>, [...], 1) = 4096';
  const flush = '8 fdatasync(19</x/data.mdb>) = 0';
  const meta = '8 pwrite64(20</x/data.mdb>, "..."..., 128, 40) = 128';
  const answer = '7 writev(23<TCP:[a]>, [{iov_base="HTTP/1.1 200 OK"}], 2) = 594';
  test.each([
    ['all in order', [pages, flush, meta, answer], 0],
    ['no flush', [pages, meta, answer], 1],
    ['the flush comes late', [pages, meta, answer, flush], 1],
    ['the flush has not ended', [pages, '8 fdatasync(19</x/data.mdb> <unfinished ...>', meta, answer], 1],
    [
      'it has',
      [pages, '8 fdatasync(19</x/data.mdb> <unfinished ...>', '8 <... fdatasync resumed>) = 0', meta, answer],
      0,
    ],
    ['no meta page', [pages, flush, answer], 1],
  ])('%s', (_, lines, wrong) => {
    const found = unflushedAnswers([opened, ...lines].join('\n'));
    expect([found.answers, found.wrong.length]).toEqual([1, wrong]);
  });
});

describe.skipIf(version === undefined)('a system-call trace', () => {
  let script: BundledScript;
  let folder: string;
  beforeAll(async () => {
    script = await bundleScript('src/cli/main.ts');
    folder = mkdtempSync(join(tmpdir(), 'certstandby-flush-'));
  });
  afterAll(async () => {
    await script.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  test('shows a flush between the writes of an import and its 200', async () => {
    const at = join(folder, 'instances');
    const { output } = await runCommand(['instance', 'create', '--folder', at, '--json']);
    const [{ crn, apiKey }] = output
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line))
      .filter((line) => line.crn !== undefined);
    const trace = join(folder, 'trace');
    const program = [process.execPath, script.file, 'instance', 'run', '--folder', at, '--port', '0', '--log', 'error'];
    const strace = spawn('strace', ['-f', '-yy', '-s', '40', '-e', `trace=${calls}`, '-o', trace, ...program]);
    const ended = once(strace, 'exit');
    try {
      const [url] = String((await once(strace.stdout, 'data'))[0])
        .trim()
        .split('\n');
      const token = await exchangeToken(url ?? '', apiKey);
      const { certificate, privateKey } = await testCertificate({ domains: ['flush.example.test'] });
      for (let index = 0; index < imports; index += 1) {
        const response = await fetch(`${url}/api/v3/${encodeURIComponent(crn)}/certificates/import`, {
          method: 'POST',
          headers: { authorization: `Bearer ${token}` },
          body: JSON.stringify({ name: 'flush', data: { content: certificate, priv_key: privateKey.reveal() } }),
        });
        expect(response.status).toBe(200);
        await response.arrayBuffer();
      }
    } finally {
      // Whom it traces, by the first line of the trace: strace ends with it.
      process.kill(Number.parseInt(readFileSync(trace, 'utf8'), 10), 'SIGTERM');
      await ended;
    }
    const found = unflushedAnswers(readFileSync(trace, 'utf8'));
    expect(found.wrong).toEqual([]);
    expect(found.answers).toBeGreaterThanOrEqual(imports);
  });
});
