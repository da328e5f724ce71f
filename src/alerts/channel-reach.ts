import { CodedError } from '../errors.ts';
import { unlessAborted } from '../runtime.ts';
import type { ChannelConfig, ChannelMeans } from './channel.ts';

/** Where somebody is reached, and what is said of it. */
interface Place {
  /** Of `http:` or `https:`. It may be a secret: nothing of it is in what is thrown. */
  readonly url: string;
  /** Who it is, in words, and what it is about in logs. */
  readonly who: string;
  readonly about: string;
  readonly signal: AbortSignal;
}

/**
 * Opens a connection to where a URL leads, with TLS where it says so, and closes it: nothing is
 * sent over it, as a webhook might take any request for a message. Throws `alert_unavailable`.
 */
export async function connectTo({ url, who, about, signal }: Place): Promise<void> {
  const { protocol, hostname, port: given } = new URL(url);
  const host = hostname.replace(/^\[(.*)\]$/, '$1');
  const isTls = protocol === 'https:';
  const port = given === '' ? (isTls ? 443 : 80) : Number(given);
  const [{ connect, isIP }, { connect: connectTls }] = await Promise.all([import('node:net'), import('node:tls')]);
  // An address is no name that a certificate is asked for by (RFC 6066, section 3).
  const servername = isIP(host) === 0 ? { servername: host } : {};
  const socket = isTls ? connectTls({ host, port, ...servername }) : connect({ host, port });
  const connected = new Promise<void>((resolve, reject) => {
    socket.once(isTls ? 'secureConnect' : 'connect', resolve).once('error', reject);
  });
  try {
    await unlessAborted(signal, connected);
  } catch (thrown) {
    // What Node says of a failure may quote the URL: its code does not.
    const code = thrown instanceof Error ? (thrown as NodeJS.ErrnoException).code : undefined;
    const reason = typeof code === 'string' ? code : undefined;
    throw new CodedError('alert_unavailable', `${who} was not reached: ${reason ?? 'it did not answer in time'}`, {
      fields: { channel: about, notTaken: true, ...(reason !== undefined && { reason }) },
    });
  } finally {
    // What comes after this is nobody's.
    socket.on('error', () => undefined).destroy();
  }
}

/** The same for a channel that is posted to: somebody listens there, and more is not known. */
export async function reachUrl(
  { name, kind }: Pick<ChannelConfig, 'name' | 'kind'>,
  url: string,
  { signal }: Pick<ChannelMeans, 'signal'>,
): Promise<string> {
  await connectTo({ url, who: `the channel ${name} (${kind})`, about: name, signal });
  return reachedWords(url);
}

/** What is known where somebody listens. */
export const reachedWords = (url: string): string =>
  url.startsWith('https:') ? 'can be reached, by TLS' : 'can be reached';
