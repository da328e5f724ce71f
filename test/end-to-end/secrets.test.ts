import { mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { type Search, searchFiles, searchFor, summaryOf } from '../support/canaries.ts';
import { type BundledScript, bundleScript } from '../support/child.ts';
import { memoryIsReadable, searchMemory } from '../support/process-memory.ts';
import { canariesOf, startWork, type Work, workWithSecrets } from './secrets-work.ts';

let script: BundledScript;
let folder: string;
/** Where everything lies that anybody wrote. */
let written: string;
let work: Work;
let keys: Search;
/** The certificate whose key the control spills. */
let spilt: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-secrets-'));
  written = join(folder, 'written');
  mkdirSync(written);
  script = await bundleScript('test/end-to-end/secrets-child.ts');
  work = await startWork({ script: script.file, folder: written });
  spilt = await workWithSecrets(work);
  keys = searchFor(work.keys);
}, 300_000);
afterAll(async () => {
  await work?.close();
  await script?.dispose();
  rmSync(folder, { recursive: true, force: true });
});

const textOf = (file: string) => readFileSync(join(written, file), 'utf8');

/**
 * What is found in everything that the program still holds. Whoever writes it down has collected
 * everything else before.
 */
async function searchHeld(name: string): Promise<readonly string[]> {
  const file = join(folder, name);
  await work.child.call('snapshot', file);
  return summaryOf(keys(readFileSync(file)));
}

describe('private keys, API keys and tokens, after everything that may go right and wrong around them', {
  timeout: 300_000,
}, () => {
  test('the program, its services and their errors had something to say', () => {
    const log = textOf('program.log');
    for (const event of ['copy_written', 'certificate_refused', 'backup_failed', 'primary_unreadable', '"pass"'])
      expect(log).toContain(event);
    for (const message of ['acknowledged {', 'dispatched {', 'passed {'])
      expect(textOf('messages.txt')).toContain(message);
    expect(textOf('services.log')).toContain('instance_request_refused');
    expect(textOf('answers.txt').split('\n').length).toBeGreaterThan(20);
    expect(textOf('errors.txt')).toContain('certificate_malformed');
  });

  test('none is in a log, an output, an error, an answer, a record, a wake-up or a temporary file', () => {
    expect(searchFiles(written, searchFor(canariesOf(work)))).toEqual([]);
  });

  test('nothing of a key is still held', async () => {
    expect(await searchHeld('after-work.heapsnapshot')).toEqual([]);
  });

  test('nothing of a key is in memory, but for network buffers that the C library has got back', async (context) => {
    if (!memoryIsReadable(work.child.pid)) return context.skip();
    await work.child.call('collect');
    const { findings } = searchMemory(work.child.pid, keys);
    // There they stay until they are used again: what a socket received is the runtime's, and its
    // parser may still point into it.
    const left = findings.filter(({ region, form }) => region === '[heap]' && !form.includes('reversed'));
    expect(summaryOf(findings.filter((finding) => !left.includes(finding)))).toEqual([]);
  });
});

describe('the same search, after one key was spilt', { timeout: 300_000 }, () => {
  beforeAll(() => work.child.call('spill', spilt));

  test('finds it in the log and in the temporary file', () => {
    const found = searchFiles(written, keys);
    for (const file of ['program.log', join('tmp', 'spilt')])
      for (const number of ['d', 'p', 'q', 'dp', 'dq', 'qi'])
        expect(found.some((line) => line.startsWith(`${file}: the key of spilt: ${number} `))).toBe(true);
  });

  test('finds it among what is held', async () => {
    expect((await searchHeld('spilt.heapsnapshot')).join()).toContain('the key of spilt: d as base64');
  });

  test('finds it in memory: as bytes, as text, and as the number that the platform signs with', (context) => {
    if (!memoryIsReadable(work.child.pid)) return context.skip();
    const found = summaryOf(searchMemory(work.child.pid, keys).findings).join('\n');
    for (const form of ['raw,', 'raw, reversed', 'as base64']) expect(found).toContain(`the key of spilt: d ${form}`);
  });
});
