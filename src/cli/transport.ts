import { type Config, defaultServe } from '../config.ts';
import { CodedError } from '../errors.ts';
import { isLoopback } from '../http/loopback.ts';

/**
 * Notifications are signed, not secret; but plain HTTP off loopback lets anybody on the way drop or
 * hold them back, and is hardly ever meant. Throws `receiver_not_private` unless TLS ends here or,
 * as the configuration says, in front.
 */
export function checkTransport({ receiver, serve = defaultServe }: Config): void {
  if (serve.tls !== undefined || serve.behindProxy || isLoopback(receiver.host)) return;
  throw new CodedError('receiver_not_private', `the receiver would speak plain HTTP on ${receiver.host}`, {
    fields: { host: receiver.host, port: receiver.port },
  });
}
