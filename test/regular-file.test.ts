import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asCodedError, type CodedError } from '../src/errors.ts';
import { ifThere, openRegularFile, readRegularFile, readRegularFileSync } from '../src/regular-file.ts';
import { asAnotherUser } from './support/another-user.ts';

let folder: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-file-'));
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));

const at = (name: string) => join(folder, name);
const maxBytes = 10_000;

/** Both ways to read, as one test wants them. */
const ways = [
  ['waiting', async (path: string, most: number) => readRegularFileSync(path, { maxBytes: most })],
  ['without waiting', (path: string, most: number) => readRegularFile(path, { maxBytes: most })],
] as const;

describe.each(ways)('a file that is read %s', (_way, read) => {
  async function refusal(path: string): Promise<CodedError> {
    try {
      await read(path, maxBytes);
    } catch (thrown) {
      return asCodedError(thrown);
    }
    throw new Error(`${path} was read`);
  }

  it('is given byte for byte, an empty one too, and through links', async () => {
    const bytes = Buffer.from(Array.from({ length: 9_000 }, (_value, index) => index % 256));
    writeFileSync(at('file'), bytes);
    symlinkSync('file', at('link'));
    writeFileSync(at('empty'), '');
    expect(bytes.equals(await read(at('link'), maxBytes))).toBe(true);
    expect((await read(at('empty'), maxBytes)).length).toBe(0);
  });

  it.each([
    [99, true],
    [100, true],
    [101, false],
  ])('of %i bytes where 100 are allowed is read: %s', async (size, allowed) => {
    writeFileSync(at('file'), Buffer.alloc(size, 'a'));
    const reading = read(at('file'), 100).then(
      ({ length }) => length,
      (thrown) => asCodedError(thrown).code,
    );
    expect(await reading).toBe(allowed ? size : 'file_too_large');
  });

  it('is bounded by what is read, not by the size that the system tells: files under /proc have none', async () => {
    expect((await read('/proc/self/status', maxBytes)).toString()).toMatch(/^Name:/);
    expect(await refusal('/proc/self/smaps')).toMatchObject({
      code: 'file_too_large',
      message: '/proc/self/smaps grows beyond that while it is read, and at most 10000 are read',
    });
  });

  it('that is a folder is named as one', async () => {
    mkdirSync(at('folder'));
    expect(await refusal(at('folder'))).toMatchObject({
      code: 'file_not_regular',
      message: `${at('folder')} is a folder`,
      fields: { path: at('folder'), found: 'a folder' },
    });
  });

  it('that is a pipe is refused at once, as nobody writes to it', async () => {
    execFileSync('mkfifo', [at('pipe')]);
    expect(await refusal(at('pipe'))).toMatchObject({ code: 'file_not_regular', fields: { found: 'a named pipe' } });
  });

  it('that is a device without end is refused, and so is a link to one', async () => {
    symlinkSync('/dev/zero', at('zero'));
    expect(await refusal(at('zero'))).toMatchObject({
      code: 'file_not_regular',
      fields: { found: 'a character device' },
    });
  });

  it('that is a socket is refused', async () => {
    const server = createServer().listen(at('socket'));
    await once(server, 'listening');
    try {
      expect(await refusal(at('socket'))).toMatchObject({ code: 'file_not_regular', fields: { found: 'a socket' } });
    } finally {
      server.close();
    }
  });

  it('whose links lead in a circle is named', async () => {
    symlinkSync('b', at('a'));
    symlinkSync('a', at('b'));
    expect(await refusal(at('a'))).toMatchObject({ code: 'file_link_loop', fields: { path: at('a') } });
  });

  it('whose link, or a link on the way, leads to nothing is not missing: what it led to may be there', async () => {
    symlinkSync('../gone/file', at('file'));
    symlinkSync('gone', at('way'));
    expect(await refusal(at('file'))).toMatchObject({
      code: 'file_link_dangling',
      fields: { found: 'a symbolic link that leads to nothing' },
    });
    expect(await refusal(at('way/file'))).toMatchObject({
      code: 'file_link_dangling',
      fields: { found: `${at('way')} is a symbolic link that leads to nothing` },
    });
  });

  it('is missing where nothing has its name, or the folder is not there', async () => {
    for (const path of [at('file'), at('no/folder/file')])
      expect(await refusal(path)).toMatchObject({ code: 'file_missing' });
  });

  it('is not missing where a file stands in place of a folder on the way', async () => {
    writeFileSync(at('file'), '');
    expect(await refusal(at('file/below'))).toMatchObject({
      code: 'file_unreadable',
      fields: { found: `${at('file')} is no folder` },
    });
  });

  it('with a name that no file system takes is not missing', async () => {
    expect(await refusal(at('a'.repeat(256)))).toMatchObject({
      code: 'file_unreadable',
      fields: { found: 'the name is longer than the file system takes' },
    });
    expect(await refusal(at('nul\0'))).toMatchObject({ code: 'file_unreadable' });
  });

  it('of another user is named with its owner and mode; a folder on the way too', async () => {
    mkdirSync(at('closed'));
    writeFileSync(at('closed/file'), 'x');
    writeFileSync(at('file'), 'x');
    chmodSync(at('file'), 0);
    chmodSync(at('closed'), 0);
    const [file, below] = await asAnotherUser(folder, async () => [
      await refusal(at('file')),
      await refusal(at('closed/file')),
    ]);
    expect(file.code).toBe('file_forbidden');
    expect(file.message).toMatch(
      /file: user \d+ may not read it, which belongs to user \d+ and has mode 0000 \(EACCES\)$/,
    );
    expect(below.code).toBe('file_forbidden');
    expect(below.message).toContain(`may not enter the folder ${at('closed')}, which belongs to user`);
    chmodSync(at('closed'), 0o700);
  });
});

describe('reading without waiting', () => {
  it('ends with the signal, before it begins and while the file system does not answer', async () => {
    writeFileSync(at('file'), 'x');
    const before = readRegularFile(at('file'), { maxBytes, signal: AbortSignal.abort('stop') });
    await expect(before).rejects.toMatchObject({ code: 'interrupted', cause: 'stop' });
    const stop = new AbortController();
    const under = readRegularFile(at('file'), { maxBytes, signal: stop.signal });
    stop.abort('stop');
    await expect(under).rejects.toMatchObject({ code: 'interrupted', cause: 'stop' });
  });

  it('says apart that nothing is there, and that something cannot be read', async () => {
    expect(await ifThere(readRegularFile(at('file'), { maxBytes }))).toBeUndefined();
    symlinkSync('gone', at('file'));
    await expect(ifThere(readRegularFile(at('file'), { maxBytes }))).rejects.toMatchObject({
      code: 'file_link_dangling',
    });
  });

  it('opens for those who read in pieces only what is a regular file', async () => {
    execFileSync('mkfifo', [at('pipe')]);
    await expect(openRegularFile(at('pipe'))).rejects.toMatchObject({ code: 'file_not_regular' });
    writeFileSync(at('file'), 'x');
    const file = await openRegularFile(at('file'));
    expect((await file.readFile()).toString()).toBe('x');
    await file.close();
  });
});
