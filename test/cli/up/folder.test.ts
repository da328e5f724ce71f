import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { takeFolder } from '../../../src/cli/up/folder.ts';

let base: string;
let workingDirectory: string;

beforeEach(() => {
  base = mkdtempSync(join(tmpdir(), 'certstandby-folder-'));
  workingDirectory = process.cwd();
  process.chdir(base);
});
afterEach(() => {
  process.chdir(workingDirectory);
  rmSync(base, { recursive: true });
});

/** The id of a process that lives as long as this test, and is not this process. */
const living = process.ppid;
/** Larger than any process id of Linux (2 ** 22). */
const dead = 5_000_000;

const lockOf = (name: string) => join(base, name, 'running.pid');
const modeOf = (path: string) => (statSync(path).mode & 0o777).toString(8);

function lockedBy(name: string, text: string): void {
  mkdirSync(join(base, name));
  writeFileSync(lockOf(name), text);
}

describe('a folder', () => {
  it('is made for its owner alone, and locked by this process', () => {
    const folder = takeFolder('data/deep');
    expect(folder.path).toBe(join(base, 'data/deep'));
    expect(modeOf(folder.path)).toBe('700');
    expect(readFileSync(lockOf('data/deep'), 'utf8')).toBe(String(process.pid));
    expect(modeOf(lockOf('data/deep'))).toBe('600');
  });

  it('is free again when it is released', () => {
    const folder = takeFolder('data');
    folder.release();
    expect(existsSync(lockOf('data'))).toBe(false);
    folder.release();
  });

  it('keeps what it writes from others, even over a file that others may read', () => {
    const folder = takeFolder('data');
    writeFileSync(join(folder.path, 'key'), 'old', { mode: 0o644 });
    folder.write('key', 'new');
    expect(readFileSync(join(folder.path, 'key'), 'utf8')).toBe('new');
    expect(modeOf(join(folder.path, 'key'))).toBe('600');
  });
});

describe('a folder that is named', () => {
  it('is refused while another process has it', () => {
    lockedBy('data', String(living));
    expect(() => takeFolder('data')).toThrow(
      expect.objectContaining({
        code: 'usage',
        message: `data is in use by the running process ${living}; stop it, or give another --folder`,
      }),
    );
    expect(readFileSync(lockOf('data'), 'utf8')).toBe(String(living));
  });

  it.each([
    ['a process that is dead', String(dead)],
    ['an earlier process of the same id', String(process.pid)],
    ['a process that died before it wrote its id', ''],
    ['nothing that is an id', 'nonsense'],
    ['an id that stands for many processes', '-1'],
    ['part of an id', '1.5'],
  ])('is taken from %s', (_who, text) => {
    lockedBy('data', text);
    takeFolder('data');
    expect(readFileSync(lockOf('data'), 'utf8')).toBe(String(process.pid));
  });

  it('is refused when it cannot be used', () => {
    writeFileSync(join(base, 'data'), 'a file');
    expect(() => takeFolder('data')).toThrow(
      expect.objectContaining({ code: 'usage', message: `the folder ${join(base, 'data')} cannot be used` }),
    );
  });
});

describe('without a name', () => {
  it('is .certstandby, or the next that is free', () => {
    lockedBy('.certstandby', String(living));
    lockedBy('.certstandby-2', String(living));
    lockedBy('.certstandby-3', String(dead));
    expect(takeFolder(undefined).path).toBe(join(base, '.certstandby-3'));
    rmSync(lockOf('.certstandby'));
    expect(takeFolder(undefined).path).toBe(join(base, '.certstandby'));
  });

  it('is refused when nine are in use', () => {
    for (let number = 1; number <= 9; number += 1)
      lockedBy(number === 1 ? '.certstandby' : `.certstandby-${number}`, String(living));
    expect(() => takeFolder(undefined)).toThrow(
      expect.objectContaining({
        code: 'usage',
        message: '9 programs run in .certstandby folders here already; give another --folder',
      }),
    );
  });
});
