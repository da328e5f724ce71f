import { connect } from 'node:net';

export interface RawAnswer {
  readonly status: number;
  /** Names in lower case. */
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
  /** Whether the server ended the connection, and did not leave that to us. */
  readonly closed: boolean;
}

/**
 * Sends bytes as they are over a connection of its own, and gives the first answer that comes back.
 * After it, waits up to `waitMs` for the server to end the connection.
 */
export async function sendRaw(port: number, chunks: readonly (string | Buffer)[], waitMs = 20): Promise<RawAnswer> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  let received = '';
  let closed = false;
  socket.setEncoding('latin1').on('data', (text: string) => {
    received += text;
  });
  const ended = new Promise<void>((resolve) => {
    socket.once('close', () => {
      closed = true;
      resolve();
    });
  });
  for (const chunk of chunks) socket.write(chunk);
  const deadline = Date.now() + 5_000;
  while (!isWhole(received) && !closed && Date.now() < deadline) await pause(5);
  await Promise.race([ended, pause(waitMs)]);
  socket.destroy();
  return { ...parse(received), closed };
}

/**
 * Sends a header that never ends, a byte now and then. Answers what the server said when it ended
 * the connection, or `still open` where it has not within ten seconds.
 */
export async function sendSlowHeader(port: number): Promise<string> {
  const socket = connect(port, '127.0.0.1');
  socket.on('error', () => {});
  let received = '';
  socket.setEncoding('latin1').on('data', (text: string) => {
    received += text;
  });
  let closed = false;
  const ended = new Promise<void>((resolve) => {
    socket.once('close', () => {
      closed = true;
      resolve();
    });
  });
  socket.write('GET /healthz HTTP/1.1\r\nhost: 127.0.0.1\r\nx-slow: ');
  const writing = setInterval(() => socket.writable && socket.write('x'), 25);
  await Promise.race([ended, pause(10_000)]);
  clearInterval(writing);
  socket.destroy();
  return closed ? received : 'still open';
}

function pause(milliseconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, milliseconds));
}

function isWhole(text: string): boolean {
  const { status, headers, body } = parse(text);
  return status > 0 && body.length >= Number(headers['content-length'] ?? 0);
}

function parse(text: string): { status: number; headers: Record<string, string>; body: string } {
  const end = text.indexOf('\r\n\r\n');
  if (end < 0) return { status: 0, headers: {}, body: '' };
  const [first = '', ...lines] = text.slice(0, end).split('\r\n');
  const headers = Object.fromEntries(
    lines.map((line) => [line.slice(0, line.indexOf(':')).toLowerCase(), line.slice(line.indexOf(':') + 1).trim()]),
  );
  return { status: Number(first.split(' ')[1]), headers, body: text.slice(end + 4) };
}
