import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { type ProcessTable, processOwner } from '../src/process-owner.ts';

// A `/proc` of our own: what Linux would show, as files.
const boot = '11111111-2222-4333-8444-555555555555';
let root: string;
let number = 0;

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'certstandby-proc-'));
});
afterEach(() => rmSync(root, { recursive: true, force: true }));

interface Machine {
  readonly bootId?: string;
  readonly pids?: string;
  readonly times?: string | undefined;
  readonly host?: string;
  readonly pid?: number;
  /** Start time and state of each process that is there, by its number. */
  readonly there?: Readonly<Record<number, readonly [start: string, state?: string]>>;
  /** What a probe of a process throws that is there. */
  readonly probing?: string;
  readonly self?: string;
}

function machine(given: Machine = {}): ProcessTable {
  const { bootId = boot, pids = 'pid:[4026531836]', host = 'web-1', pid = 100, there = { 100: ['5000'] } } = given;
  const times = 'times' in given ? given.times : 'time:[4026531834]';
  number += 1;
  const proc = join(root, String(number));
  mkdirSync(join(proc, 'sys/kernel/random'), { recursive: true });
  writeFileSync(join(proc, 'sys/kernel/random/boot_id'), `${bootId}\n`);
  for (const [each, [start, state = 'S']] of Object.entries(there)) {
    mkdirSync(join(proc, each, 'ns'), { recursive: true });
    symlinkSync(pids, join(proc, each, 'ns/pid'));
    if (times !== undefined) symlinkSync(times, join(proc, each, 'ns/time'));
    const before = `${each} (a (bad) name) ${state} ${'1 '.repeat(18)}`;
    writeFileSync(join(proc, each, 'stat'), `${before}${start} 0 0\n`);
  }
  symlinkSync(given.self ?? String(pid), join(proc, 'self'));
  const probe = (each: number) => {
    const code = each in there ? given.probing : 'ESRCH';
    if (code !== undefined) throw Object.assign(new Error(code), { code });
  };
  return { proc, pid, host, probe };
}

const ownerOn = (given?: Machine) => processOwner(() => 'new-id', machine(given));
/** What the process 7, which started at 900, was called when it lived. */
const seven = (given: Machine = {}) => ownerOn({ ...given, pid: 7, there: { 7: ['900'] } }).id;

describe('a process', () => {
  it('is named by boot, namespaces, number, start time and host', () => {
    expect(ownerOn().id).toBe(`process:1 ${boot} pid:[4026531836] time:[4026531834] 100 5000 web-1`);
    expect(ownerOn({ times: undefined }).id).toBe(`process:1 ${boot} pid:[4026531836] - 100 5000 web-1`);
  });

  it.each<[string, readonly [string, string?] | undefined]>([
    ['is not there any more', undefined],
    ['has left its number to another one', ['901']],
    ['is over, and nobody has collected it', ['900', 'Z']],
  ])('of this machine that %s has died', (_, found) => {
    const there = { 100: ['5000'] as const, ...(found && { 7: found }) };
    expect(ownerOn({ there }).hasDied(seven())).toBe(true);
  });

  it('that had our own number has died, and we have not', () => {
    const here = ownerOn({ pid: 7, there: { 7: ['901'] } });
    expect(here.hasDied(seven())).toBe(true);
    expect(here.hasDied(here.id)).toBe(false);
  });

  it('that is there lives, whoever it belongs to, and whether or not it can be looked at', () => {
    const there = { 100: ['5000'], 7: ['900'] } as const;
    expect(ownerOn({ there }).hasDied(seven())).toBe(false);
    expect(ownerOn({ there, probing: 'EPERM' }).hasDied(seven())).toBe(false);
    expect(ownerOn({ there: { 100: ['5000'], 7: ['?'] } }).hasDied(seven())).toBe(false);
  });

  it.each<[string, Machine]>([
    ['before this boot, or on another machine', { bootId: boot.replaceAll('1', '9') }],
    ['in another container', { pids: 'pid:[4026532999]' }],
    ['by another clock', { times: 'time:[4026532998]' }],
    ['of another host of the same memory', { host: 'web-2' }],
  ])('%s is one of which nobody knows', (_, elsewhere) => {
    expect(ownerOn().hasDied(seven(elsewhere))).toBe(false);
  });

  it.each([
    'web-1 7 0f0b8f0e-1111-4222-8333-444455556666',
    '0f0b8f0e-1111-4222-8333-444455556666',
    '',
    `process:1 ${boot} pid:[4026531836] time:[4026531834] 0 900 web-1`,
    `process:2 ${boot} pid:[4026531836] time:[4026531834] 7 900 web-1`,
  ])('that was written down otherwise, as by the version before, is one of which nobody knows: %j', (owner) => {
    expect(ownerOn().hasDied(owner)).toBe(false);
  });
});

describe('where the system does not say who we are', () => {
  it.each<[string, ProcessTable | (() => ProcessTable)]>([
    ['there is no /proc', { proc: '/nowhere', pid: 1, host: 'web-1', probe: () => {} }],
    ['it is that of another namespace', () => machine({ self: '4711', there: { 100: ['5000'], 4711: ['1'] } })],
    ['the host has no name', () => machine({ host: '' })],
  ])('we are a new id, and know nobody: %s', (_, given) => {
    const owner = processOwner(() => 'new-id', typeof given === 'function' ? given() : given);
    expect(owner.id).toBe('new-id');
    expect(owner.hasDied(seven())).toBe(false);
  });
});
