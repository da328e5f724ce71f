import type { Socket } from 'node:net';
import { checkServerIdentity, connect, createServer, type Server, type TLSSocket } from 'node:tls';
import type { CertificateContent } from '../certificate/certificate.ts';
import { factsOf } from '../certificate/facts.ts';
import { toPem } from '../certificate/pem.ts';

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
 * Serves the certificate over TLS on a free port of 127.0.0.1 and connects to it as a client would: the chain must lead to one
 * of `trust` (PEM; the authorities that Node brings, if absent), the dates must hold, every name of the certificate must be
 * accepted (RFC 9525), and the handshake proves that the server has the private key (RFC 8446, 4.4.3). Never throws.
 */
export async function proveByHandshake(
  content: CertificateContent,
  { trust, timeoutMs }: { readonly trust: readonly string[] | undefined; readonly timeoutMs: number },
): Promise<Handshake> {
  if (content.privateKey === undefined) return failed('missing-key', 'it has no private key');
  const names = namesOf(content);
  if (names.length === 0) return failed('wrong-name', 'it names no host that a client could ask for');
  let server: Server | undefined;
  const sockets = new Set<Socket>();
  try {
    server = await listen(content, { timeoutMs, sockets });
    const address = server.address();
    const port = typeof address === 'object' && address !== null ? address.port : 0;
    const socket = await connectTo(port, { names, trust, timeoutMs });
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
    server?.close();
    // Somebody else on this machine may have connected too, and would keep the server open.
    for (const socket of sockets) socket.destroy();
  }
}

function failed(failure: DrillFailure, message: string): Handshake {
  return { served: false, failure, message };
}

/** A host for each name that clients look at: those of the alternative names, the common name only where there are none. */
function namesOf(content: CertificateContent): string[] {
  const { domains } = factsOf(content);
  const { leaf } = content;
  const hosts = domains.map((domain) => domain.replace(/^\*\./, 'drill.'));
  return hosts.filter((host) => (leaf.checkHost(host, { subject: 'default' }) ?? leaf.checkIP(host)) !== undefined);
}

/** Connections that the server of one drill holds at once: its client has one. */
const drillConnections = 16;

function listen(
  content: CertificateContent,
  { timeoutMs, sockets }: { readonly timeoutMs: number; readonly sockets: Set<Socket> },
): Promise<Server> {
  const { certificate, intermediate = '', privateKey } = toPem(content);
  const server = createServer({
    cert: certificate + intermediate,
    key: privateKey?.reveal() ?? '',
    handshakeTimeout: timeoutMs,
  });
  server.maxConnections = drillConnections;
  server.on('connection', (socket) => {
    sockets.add(socket);
    socket.once('close', () => sockets.delete(socket));
  });
  // What went wrong is told by the client; a server that nobody listens to would end the process.
  server.on('tlsClientError', () => {});
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    server.listen(0, '127.0.0.1', () => resolve(server));
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
  const [first = ''] = names;
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: '127.0.0.1',
      port,
      // An address may not stand in the server name (RFC 6066, 3).
      ...(/^[\d.]+$|:/.test(first) ? {} : { servername: first }),
      ...(trust && { ca: [...trust] }),
      timeout: timeoutMs,
      checkServerIdentity: (_host, presented) =>
        names.map((name) => checkServerIdentity(name, presented)).find((error) => error !== undefined),
    });
    const end = (error: Error) => {
      socket.destroy();
      reject(error);
    };
    socket.once('secureConnect', () => resolve(socket));
    socket.once('error', end);
    socket.once('timeout', () => end(new Error(`no handshake within ${timeoutMs} ms`)));
  });
}
