import { once } from 'node:events';
import { type AddressInfo, connect, createServer, type Socket } from 'node:net';

/**
 * A port that passes everything on to another one of this machine, each way so many milliseconds
 * later: a network in between.
 */
export async function startRelay(targetPort: number, oneWayMs: number) {
  const sockets = new Set<Socket>();
  const pass = (from: Socket, to: Socket) => {
    from.setNoDelay(true);
    sockets.add(from);
    from.once('close', () => sockets.delete(from));
    from.on('data', (bytes) => setTimeout(() => to.write(bytes), oneWayMs));
    from.on('end', () => setTimeout(() => to.end(), oneWayMs));
    from.on('error', () => to.destroy());
  };
  const server = createServer({ allowHalfOpen: true }, (near) => {
    const far = connect({ host: '127.0.0.1', port: targetPort, allowHalfOpen: true });
    pass(near, far);
    pass(far, near);
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return {
    port: (server.address() as AddressInfo).port,
    async close(): Promise<void> {
      for (const socket of sockets) socket.destroy();
      server.close();
      await once(server, 'close');
    },
  };
}
