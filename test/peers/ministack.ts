import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '../support/free-port.ts';
import type { WithLibrary } from './pypi.ts';

/** AWS, played by ministack on loopback. */
export interface Ministack {
  readonly url: string;
  /** The environment in which programs take it for AWS, as someone who may do everything. */
  readonly env: Readonly<Record<string, string>>;
  /**
   * Kills the processes of a function, as a machine that dies does. Answers how many there were.
   */
  kill(functionName: string): number;
  /** The end of what it has said, for whoever looks for the reason of a failure. */
  said(): string;
  close(): Promise<void>;
}

export const region = 'eu-west-1';
const startMs = 60_000;

/**
 * Starts ministack with its checks of rights on: a function may do what its role says and nothing
 * else. Functions run as Node processes of its own, with the `node` of the path.
 */
export async function startMinistack(withLibrary: WithLibrary): Promise<Ministack> {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-ministack-'));
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const [program, ...args] = withLibrary('python3', '-c', 'from ministack.app import main; main()');
  const server = spawn(program, args, {
    cwd: folder,
    env: {
      PATH: process.env.PATH,
      HOME: folder,
      TMPDIR: folder,
      BIND_HOST: '127.0.0.1',
      MINISTACK_HOST: '127.0.0.1',
      GATEWAY_PORT: String(port),
      MINISTACK_REGION: region,
      AUTH: 'true',
      // Listeners of services that are not used here.
      IOT_MTLS_ENABLED: '0',
      SFTP_ENABLED: '0',
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let said = '';
  const keep = (chunk: Buffer) => {
    said = (said + chunk.toString()).slice(-20_000);
  };
  server.stdout.on('data', keep);
  server.stderr.on('data', keep);
  await answers(url, server, () => said);

  return {
    url,
    env: { AWS_ENDPOINT_URL: url, AWS_REGION: region, AWS_ACCESS_KEY_ID: 'test', AWS_SECRET_ACCESS_KEY: 'test' },
    kill(functionName) {
      const workers = childrenOf(server.pid ?? 0).filter((pid) => runs(pid, functionName));
      for (const pid of workers) process.kill(pid, 'SIGKILL');
      return workers.length;
    },
    said: () => said,
    async close() {
      const ended = once(server, 'exit');
      server.kill('SIGTERM');
      const gone = await Promise.race([ended.then(() => true), sleep(10_000).then(() => false)]);
      if (!gone) {
        server.kill('SIGKILL');
        await ended;
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function answers(url: string, server: ChildProcess, said: () => string): Promise<void> {
  for (const until = Date.now() + startMs; Date.now() < until; await sleep(100)) {
    if (server.exitCode !== null) break;
    const answer = await fetch(`${url}/_ministack/health`).catch(() => undefined);
    if (answer?.ok) return;
  }
  server.kill('SIGKILL');
  throw new Error(`ministack did not start: ${said()}`);
}

/** The processes that this one has started, and those that they have. */
function childrenOf(pid: number): readonly number[] {
  const parents = readdirSync('/proc').flatMap((entry) => {
    if (!/^\d+$/.test(entry)) return [];
    try {
      const [, parent] = /\) \S (\d+) /.exec(readFileSync(`/proc/${entry}/stat`, 'utf8')) ?? [];
      return [{ pid: Number(entry), parent: Number(parent) }];
    } catch {
      return [];
    }
  });
  const below = (of: number): number[] =>
    parents.filter(({ parent }) => parent === of).flatMap((child) => [child.pid, ...below(child.pid)]);
  return below(pid);
}

function runs(pid: number, functionName: string): boolean {
  try {
    const environment = readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0');
    return (
      /\/node$/.test(readlinkSync(`/proc/${pid}/exe`)) &&
      environment.includes(`AWS_LAMBDA_FUNCTION_NAME=${functionName}`)
    );
  } catch {
    return false;
  }
}
