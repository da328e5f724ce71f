import { readlinkSync } from 'node:fs';
import { hostname } from 'node:os';
import { readRegularFileSync } from './regular-file.ts';
import type { ProcessOwner } from './runtime.ts';

/** What the system tells of processes; tests put their own in. */
export interface ProcessTable {
  /** Where Linux shows its processes. */
  readonly proc: string;
  readonly pid: number;
  readonly host: string;
  /** Throws `ESRCH` where no process has this number, as `process.kill(pid, 0)` does. */
  readonly probe: (pid: number) => void;
}

const systemProcesses: ProcessTable = {
  proc: '/proc',
  pid: process.pid,
  host: hostname(),
  probe: (pid) => void process.kill(pid, 0),
};

const mostBytes = 4_096;
const ownerPattern = /^process:1 ([0-9a-f-]{36}) pid:\[(\d+)\] (time:\[\d+\]|-) ([1-9]\d{0,9}) (\d+) (\S+)$/;

/**
 * This process as the holder of leases. It is known again by the boot of the machine, its process
 * namespace (in two containers the same number is two processes), its time namespace (by which
 * start times are told), its number and its start time (proc_pid_stat(5), field 22); the host's
 * name tells clones of one machine apart. Where the system does not say all of that, as without
 * `/proc`, it is `newId()`, of which nobody knows whether it lives.
 */
export function processOwner(newId: () => string, processes: ProcessTable = systemProcesses): ProcessOwner {
  const here = identityHere(processes);
  if (here === undefined) return { id: newId(), hasDied: () => false };
  const { pid, host } = processes;
  const { place, start } = here;
  return {
    id: `process:1 ${place} ${pid} ${start} ${host}`,
    hasDied(owner) {
      const [, boot, pids, times, number, started, where] = ownerPattern.exec(owner) ?? [];
      if (`${boot} pid:[${pids}] ${times}` !== place || where !== host) return false;
      const found = processAt(processes, Number(number));
      if (found === 'none') return true;
      // What can be signalled and not be looked at may be somebody else's: it lives, as far as
      // anybody knows.
      return found !== 'unknown' && (found.isOver || found.start !== started);
    },
  };
}

/**
 * Boot and namespaces of this process, and when it started; `undefined` where the system does not
 * say, or says it of another one.
 */
function identityHere(processes: ProcessTable): { readonly place: string; readonly start: string } | undefined {
  const { proc, pid, host } = processes;
  try {
    // A `/proc` of another namespace shows other processes under these numbers.
    if (readlinkSync(`${proc}/self`) !== String(pid)) return undefined;
    const boot = textOf(`${proc}/sys/kernel/random/boot_id`).trim();
    const place = `${boot} ${readlinkSync(`${proc}/self/ns/pid`)} ${timeNamespace(proc)}`;
    const self = processAt(processes, pid);
    if (typeof self === 'string') return undefined;
    return ownerPattern.test(`process:1 ${place} ${pid} ${self.start} ${host}`)
      ? { place, start: self.start }
      : undefined;
  } catch {
    return undefined;
  }
}

/** Kernels before 5.6 have no time namespaces. */
function timeNamespace(proc: string): string {
  try {
    return readlinkSync(`${proc}/self/ns/time`);
  } catch {
    return '-';
  }
}

/**
 * The process of a number: when it started, and whether it is over and only waits to be collected.
 */
function processAt(
  { proc, probe }: ProcessTable,
  pid: number,
): { readonly start: string; readonly isOver: boolean } | 'none' | 'unknown' {
  try {
    probe(pid);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code === 'ESRCH') return 'none';
  }
  try {
    const stat = textOf(`${proc}/${pid}/stat`);
    // The name before this may hold anything.
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
    const [state = '', start = ''] = [fields[0], fields[19]];
    return /^\d+$/.test(start) ? { start, isOver: state === 'Z' || state === 'X' } : 'unknown';
  } catch {
    return 'unknown';
  }
}

const textOf = (path: string) => readRegularFileSync(path, { maxBytes: mostBytes }).toString('latin1');
