import { randomInt } from 'node:crypto';
import { createServer } from 'node:net';

/**
 * Ports that no system gives to a connection, or to who asks for any: a port of those may be taken
 * by somebody else before the program that was told it listens there.
 */
const [lowest, beyond] = [10_000, 32_000];

/**
 * A port of 127.0.0.1 that nobody listened on a moment ago, for programs that cannot choose one
 * themselves.
 */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < 100; tries += 1) {
    const port = randomInt(lowest, beyond);
    const server = createServer();
    const free = await new Promise<boolean>((resolve) => {
      server.once('error', () => resolve(false)).listen(port, '127.0.0.1', () => resolve(true));
    });
    if (!free) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
  throw new Error(`a hundred ports between ${lowest} and ${beyond} were taken`);
}
