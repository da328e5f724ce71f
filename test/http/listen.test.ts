import { createServer, type Server } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { listen } from '../../src/http/listen.ts';

const servers: Server[] = [];
afterEach(async () => {
  for (const server of servers.splice(0)) await new Promise((resolve) => server.close(resolve));
});

function newServer(): Server {
  const server = createServer();
  servers.push(server);
  return server;
}

/** A server that says of so many ports in a row that they are taken, and notes which were tried. */
function crowded(taken: number, code = 'EADDRINUSE'): { readonly server: Server; readonly tried: number[] } {
  const server = newServer();
  const tried: number[] = [];
  server.listen = ((options: { port: number }) => {
    tried.push(options.port);
    const error = Object.assign(new Error(`listen ${code}`), { code });
    setImmediate(() => (tried.length <= taken ? server.emit('error', error) : server.emit('listening')));
    return server;
  }) as never;
  return { server, tried };
}

describe('listen', () => {
  it('takes any free port for 0', async () => {
    const [first, second] = await Promise.all([
      listen(newServer(), '127.0.0.1', 0, { nextFree: false }),
      listen(newServer(), '127.0.0.1', 0, { nextFree: true }),
    ]);
    expect(first.port).toBeGreaterThan(0);
    expect(first.port).not.toBe(second.port);
    expect(first.url).toBe(`http://127.0.0.1:${first.port}`);
  });

  it('leaves no listeners behind', async () => {
    const server = newServer();
    const before = server.listenerCount('error') + server.listenerCount('listening');
    await listen(server, '127.0.0.1', 0, { nextFree: false });
    expect(server.listenerCount('error') + server.listenerCount('listening')).toBe(before);
  });

  it('passes over taken ports, if it may', async () => {
    const { port } = await listen(newServer(), '127.0.0.1', 0, { nextFree: false });
    const next = await listen(newServer(), '127.0.0.1', port, { nextFree: true });
    expect(next.port).toBeGreaterThan(port);
    expect(next.port).toBeLessThan(port + 50);
    await expect(listen(newServer(), '127.0.0.1', port, { nextFree: false })).rejects.toMatchObject({
      code: 'configuration_invalid',
      message: `cannot listen on 127.0.0.1, port ${port}: already taken`,
    });
  });

  it('tries 50 ports and no more', async () => {
    const almost = crowded(49);
    await listen(almost.server, '127.0.0.1', 8000, { nextFree: true });
    expect([almost.tried.length, almost.tried[0], almost.tried.at(-1)]).toEqual([50, 8000, 8049]);
    const full = crowded(50);
    await expect(listen(full.server, '127.0.0.1', 8000, { nextFree: true })).rejects.toMatchObject({
      code: 'configuration_invalid',
      message: 'cannot listen on 127.0.0.1, ports 8000 to 8049: already taken',
    });
    expect(full.tried.length).toBe(50);
  });

  it('stops at the last port there is', async () => {
    const { server, tried } = crowded(50);
    await expect(listen(server, '127.0.0.1', 65_534, { nextFree: true })).rejects.toMatchObject({
      message: 'cannot listen on 127.0.0.1, ports 65534 to 65535: already taken',
    });
    expect(tried).toEqual([65_534, 65_535]);
  });

  it('says why else it cannot listen, and does not try other ports for that', async () => {
    const { server, tried } = crowded(50, 'EACCES');
    await expect(listen(server, '127.0.0.1', 443, { nextFree: true })).rejects.toMatchObject({
      code: 'configuration_invalid',
      message: 'cannot listen on 127.0.0.1, port 443: EACCES',
    });
    expect(tried).toEqual([443]);
    await expect(listen(newServer(), '127.0.0.1', 65_536, { nextFree: false })).rejects.toMatchObject({
      code: 'configuration_invalid',
      fields: { host: '127.0.0.1', port: 65_536 },
    });
  });
});
