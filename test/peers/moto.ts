import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { WithLibrary } from './pypi.ts';
import { requireLibrary } from './pypi.ts';

/** AWS played by moto, from PyPI: in all tests the same version. */
export const requireMoto = (): WithLibrary | undefined => requireLibrary('moto', '5.2.1', { extra: '[server]' });

export interface Moto {
  readonly url: string;
  /** As whom programs take it for AWS. */
  readonly key: { readonly accessKeyId: string; readonly secretAccessKey: string };
  close(): Promise<void>;
}

/** The account that moto plays. */
export const motoAccount = '123456789012';

/** Starts moto on loopback. It takes any credentials and keeps everything in memory. */
export async function startMoto(withMoto: WithLibrary): Promise<Moto> {
  const [program, ...args] = withMoto('python3', '-m', 'moto.server', '-H', '127.0.0.1', '-p', '0');
  const server = spawn(program, args, { stdio: ['ignore', 'ignore', 'pipe'] });
  const lines = createInterface({ input: server.stderr });
  for await (const line of lines) {
    const [, url] = /Running on (http:\/\/127\.0\.0\.1:\d+)/.exec(line) ?? [];
    if (url === undefined) continue;
    // It goes on to write a line for each request.
    server.stderr.resume();
    return {
      url,
      key: { accessKeyId: 'testing', secretAccessKey: 'testing' },
      async close() {
        const ended = once(server, 'exit');
        server.kill('SIGKILL');
        await ended;
      },
    };
  }
  throw new Error('moto ended before it could be asked');
}
