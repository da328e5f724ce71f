import { isIP, type Socket } from 'node:net';
import { checkServerIdentity, connect, createServer, type TLSSocket } from 'node:tls';
import type { CertificateContent } from '../certificate/certificate.ts';
import { toPem } from '../certificate/pem.ts';
import { defined } from '../defined.ts';
import { clientNamesOf } from './host-names.ts';

/**
 * So many names are asked for: each is compared with all, and a certificate may hold ten thousand.
 */
const mostNames = 100;

/** Why a copy would not serve. */
export type DrillFailure =
  | 'missing-key'
  | 'wrong-key'
  | 'cut-chain'
  | 'not-trusted'
  | 'expired'
  | 'not-yet-valid'
  | 'wrong-name'
  | 'no-handshake';

export type Handshake =
  | { readonly served: true; readonly protocol: string; readonly names: string[] }
  | { readonly served: false; readonly failure: DrillFailure; readonly message: string };

/** What the errors of OpenSSL and Node mean (`openssl-verify`, X509_V_ERR_*). */
const meanings: Readonly<Record<string, readonly [DrillFailure, string]>> = {
  ERR_OSSL_X509_KEY_VALUES_MISMATCH: ['wrong-key', 'the private key is not that of the certificate'],
  CERT_HAS_EXPIRED: ['expired', 'the certificate, or one of its chain, has expired'],
  CERT_NOT_YET_VALID: ['not-yet-valid', 'the certificate, or one of its chain, is not valid yet'],
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: ['cut-chain', 'no way leads from the certificate to an authority that is trusted'],
  UNABLE_TO_GET_ISSUER_CERT: ['cut-chain', 'the chain ends before an authority that is trusted'],
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: ['cut-chain', 'the chain ends before an authority that is trusted'],
  SELF_SIGNED_CERT_IN_CHAIN: ['not-trusted', 'the root at the end of the chain is not trusted'],
  DEPTH_ZERO_SELF_SIGNED_CERT: ['not-trusted', 'the certificate is signed by itself, and not trusted'],
  ERR_TLS_CERT_ALTNAME_INVALID: ['wrong-name', 'the certificate is not for the names that it is kept for'],
};

/**
 * Serves the certificate over TLS on a free port of 127.0.0.1 and connects to it as a client would:
 * the chain must lead to one of `trust` (PEM; the authorities that Node brings, if absent), the
 * dates must hold, the names that clients compare with it must be accepted (RFC 9525; the first
 * hundred), and the handshake proves that the server has the private key (RFC 8446, 4.4.3). All of
 * it ends after `timeoutMs`. Never throws.
 */
export async function proveByHandshake(
  content: CertificateContent,
  { trust, timeoutMs }: { readonly trust: readonly string[] | undefined; readonly timeoutMs: number },
): Promise<Handshake> {
  if (content.privateKey === undefined) return failed('missing-key', 'it has no private key');
  let served: Served | undefined;
  try {
    const names = namesOf(content);
    if (typeof names === 'string') return failed('wrong-name', names);
    served = await serve(content, timeoutMs);
    const socket = await connectTo(served.port, { names, trust, timeoutMs });
    const presented = socket.getPeerX509Certificate();
    const protocol = socket.getProtocol() ?? '';
    socket.destroy();
    return presented?.fingerprint256 === content.leaf.fingerprint256
      ? { served: true, protocol, names }
      : failed('no-handshake', 'another certificate was presented');
  } catch (thrown) {
    const { code = '', message } = thrown as NodeJS.ErrnoException;
    const [failure, words] = meanings[code] ?? ['no-handshake', message];
    return failed(failure, code === '' ? words : `${words} (${code})`);
  } finally {
    served?.close();
  }
}

function failed(failure: DrillFailure, message: string): Handshake {
  return { served: false, failure, message };
}

/** The names to ask for, or why there are none, in words. */
function namesOf({ leaf }: CertificateContent): string[] | string {
  const { names, alternativeNames } = clientNamesOf(leaf);
  if (names.length > 0) return names.slice(0, mostNames);
  return alternativeNames === 0
    ? 'it has no alternative names, and its common name is no host name: no client can ask for it'
    : `its alternative names (${alternativeNames}) hold no host name and no address: no client can ask for it`;
}

/** Connections that the server of one drill holds at once: its client has one. */
const drillConnections = 16;

interface Served {
  readonly port: number;
  /** Ends the server, and whatever is connected to it. */
  close(): void;
}

function serve(content: CertificateContent, timeoutMs: number): Promise<Served> {
  const { certificate, intermediate = '', privateKey } = toPem(content);
  const server = createServer({
    cert: certificate + intermediate,
    key: privateKey?.reveal() ?? '',
    handshakeTimeout: timeoutMs,
  });
  server.maxConnections = drillConnections;
  const connections = new Set<Socket>();
  server.on('connection', (connection) => {
    connections.add(connection);
    connection.once('close', () => connections.delete(connection));
  });
  // What went wrong is told by the client; a server that nobody listens to would end the process.
  server.on('tlsClientError', () => {});
  const close = () => {
    server.close();
    // Somebody else on this machine may have connected too, and would keep the server open.
    for (const connection of connections) connection.destroy();
  };
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => {
      const address = server.address();
      resolve({ port: typeof address === 'object' && address !== null ? address.port : 0, close });
    });
  });
}

function connectTo(
  port: number,
  options: {
    readonly names: readonly string[];
    readonly trust: readonly string[] | undefined;
    readonly timeoutMs: number;
  },
): Promise<TLSSocket> {
  const { names, trust, timeoutMs } = options;
  // An address may not stand in the server name (RFC 6066, 3).
  const servername = names.find((name) => isIP(name) === 0);
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      ...defined({ servername }),
      ...(trust && { ca: [...trust] }),
      checkServerIdentity: (_host, presented) =>
        names.map((name) => checkServerIdentity(name, presented)).find((error) => error !== undefined),
    });
    const end = (error: Error) => {
      clearTimeout(timer);
      socket.destroy();
      reject(error);
    };
    const timer = setTimeout(() => end(new Error(`no handshake within ${timeoutMs} ms`)), timeoutMs);
    socket.once('secureConnect', () => {
      clearTimeout(timer);
      resolve(socket);
    });
    socket.once('error', end);
    socket.once('close', () => end(new Error('the connection was closed before the handshake was done')));
  });
}
