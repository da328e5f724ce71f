import type { IncomingMessage } from 'node:http';
import { finished } from 'node:stream';
import { limits } from '../limits.ts';

export interface ReceivedBody {
  readonly bytes: Uint8Array;
  /**
   * Whether the request was read to its end. Where it was not, `bytes` is over the limit, and
   * nothing of what was sent.
   */
  readonly complete: boolean;
}

const overTheLimit: ReceivedBody = { bytes: new Uint8Array(limits.notificationBytes + 1), complete: false };

/**
 * The body of a request, at most `limits.notificationBytes` of it: a larger one is not read if its
 * length says so, and given up as soon as it is known otherwise. `undefined` if the sender went
 * away. `begin` is called before anything is read.
 */
export function receiveBody(request: IncomingMessage, begin: () => void): Promise<ReceivedBody | undefined> {
  if (Number(request.headers['content-length'] ?? 0) > limits.notificationBytes) return Promise.resolve(overTheLimit);
  return new Promise((resolve) => {
    const chunks: Buffer[] = [];
    let size = 0;
    const settle = (body: ReceivedBody | undefined): void => {
      request.off('data', take);
      resolve(body);
    };
    const take = (chunk: Buffer): void => {
      size += chunk.length;
      chunks.push(chunk);
      if (size > limits.notificationBytes) settle(overTheLimit);
    };
    request.on('data', take);
    finished(request, (error) => settle(error ? undefined : { bytes: Buffer.concat(chunks), complete: true }));
    begin();
  });
}

/** Reads on and throws away what comes, until the request ends or so many milliseconds are over. */
export function drain(request: IncomingMessage, milliseconds: number): Promise<void> {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    finished(request, () => {
      clearTimeout(timer);
      resolve();
    });
    request.resume();
  });
}
