import { createServer, type Server, type ServerResponse } from 'node:http';
import { createServer as createTlsServer } from 'node:https';
import type { AddressInfo } from 'node:net';
import type { TLSSocket } from 'node:tls';
import { afterEach, describe, expect, test } from 'vitest';
import type { CertificatePem } from '../../src/certificate/certificate.ts';
import { connections, httpClient } from '../../src/http/client.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { testCertificate } from '../support/certificates.ts';

const closers: (() => unknown)[] = [];
afterEach(async () => {
  for (const close of closers.splice(0).reverse()) await close();
});

async function server(answer: (path: string, response: ServerResponse) => void) {
  const paths: string[] = [];
  const started: Server = createServer((request, response) => {
    paths.push(request.url ?? '');
    request.resume();
    request.on('end', () => answer(request.url ?? '', response));
  });
  await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
  closers.push(() => {
    started.closeAllConnections();
    return new Promise((resolve) => started.close(resolve));
  });
  return { url: `http://127.0.0.1:${(started.address() as AddressInfo).port}`, paths };
}

function client(options: { answerBytes?: number; againOnReset?: boolean } = {}) {
  const { send, close } = connections({ againOnReset: options.againOnReset ?? false });
  closers.push(close);
  const ask = httpClient({ runtime: systemRuntime, requestTimeoutMs: 10_000, answerBytes: 100, ...options, send });
  return (url: string) => ask({ method: 'POST', url, headers: {}, body: 'x' });
}

describe('what is known of a request that got no whole answer', () => {
  test('nobody was reached: it was not sent', async () => {
    const { url } = await server(() => {});
    await closers.pop()?.();
    expect(await client()(url)).toMatchObject({ failure: 'network', sent: false, cause: { code: 'ECONNREFUSED' } });
  });

  test('the connection ends without an answer: it was sent, and nothing began', async () => {
    const { url } = await server((_, response) => response.destroy());
    const outcome = await client()(url);
    expect(outcome).toMatchObject({ failure: 'network', sent: true });
    expect(outcome).not.toHaveProperty('head');
  });

  test('the answer is cut off: what stood before its body is there', async () => {
    const { url } = await server((_, response) => {
      response.writeHead(503, { 'retry-after': '7', 'content-length': '50' });
      response.write('half', () => response.destroy());
    });
    const head = { status: 503, headers: { 'retry-after': '7' } };
    expect(await client()(url)).toMatchObject({ failure: 'network', sent: true, head });
  });

  test('the answer is one byte longer than it may be', async () => {
    const { url } = await server((path, response) => response.end('x'.repeat(Number(path.slice(1)))));
    const ask = client();
    expect(await ask(`${url}/100`)).toMatchObject({ answer: { status: 200, text: 'x'.repeat(100) } });
    expect(await ask(`${url}/101`)).toMatchObject({ failure: 'oversized', head: { status: 200 } });
  });
});

test('a request into a kept connection that is reset is sent once more only where that was asked for', async () => {
  // A connection answers one request, and is reset when the next one comes.
  const used = new WeakSet<object>();
  const { url, paths } = await server((_, response) => {
    const { socket } = response;
    if (socket === null || used.has(socket)) return void socket?.resetAndDestroy();
    used.add(socket);
    response.end('first');
  });
  for (const [againOnReset, second] of [
    [false, { failure: 'network', sent: true, cause: { code: 'ECONNRESET' } }],
    [true, { answer: { text: 'first' } }],
  ] as const) {
    const ask = client({ againOnReset });
    expect(await ask(`${url}/a`)).toMatchObject({ answer: { text: 'first' } });
    expect(await ask(`${url}/b`)).toMatchObject(second);
  }
  expect(paths).toEqual(['/a', '/b', '/a', '/b', '/b']);
});

describe('who the two sides are', () => {
  test('the certificate of the client is shown to a server that asks for one, and its name may be another', async () => {
    const own = await testCertificate({ domains: ['store.example.test'], includeRoot: true });
    const theirs = await testCertificate({ domains: ['worker.example.test'], includeRoot: true });
    const pem = ({ certificate, intermediate = '' }: CertificatePem) => certificate + intermediate;
    const root = (of: CertificatePem) => of.intermediate?.split(/(?=-----BEGIN)/).at(-1) ?? '';
    const started = createTlsServer(
      { cert: pem(own), key: own.privateKey.reveal(), requestCert: true, rejectUnauthorized: false },
      (request, response) => response.end((request.socket as TLSSocket).getPeerCertificate().subject?.CN ?? 'nobody'),
    );
    await new Promise<void>((resolve) => started.listen(0, '127.0.0.1', resolve));
    closers.push(() => new Promise((resolve) => started.close(resolve)));
    const url = `https://127.0.0.1:${(started.address() as AddressInfo).port}`;
    const asking = async (options: Parameters<typeof connections>[0]) => {
      const { send, close } = connections({ trust: root(own), serverName: 'store.example.test', ...options });
      const ask = httpClient({ runtime: systemRuntime, requestTimeoutMs: 10_000, send });
      const outcome = await ask({ method: 'PATCH', url, headers: {} });
      close();
      return outcome;
    };
    const client = { certificate: pem(theirs), key: theirs.privateKey };
    expect(await asking({ client })).toMatchObject({ answer: { status: 200, text: 'worker.example.test' } });
    expect(await asking({})).toMatchObject({ answer: { text: 'nobody' } });
    expect(await asking({ client, serverName: undefined })).toMatchObject({
      failure: 'network',
      sent: false,
      cause: { code: 'ERR_TLS_CERT_ALTNAME_INVALID' },
    });
  });
});
