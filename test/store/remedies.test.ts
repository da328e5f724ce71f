import { createServer } from 'node:https';
import type { AddressInfo, Server } from 'node:net';
import { createServer as createTcpServer } from 'node:net';
import { afterEach, describe, expect, test } from 'vitest';
import { asCodedError } from '../../src/errors.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { certificateManagerStore } from '../../src/services/certificate-manager/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { instanceCrn as instance } from '../support/notifications.ts';
import { type Step, startScriptedServer } from './scripted-server.ts';

// What a person reads when a store does not answer as it should, with real servers that really fail
// in that way.

const ends: (() => unknown)[] = [];
afterEach(async () => {
  for (const end of ends.splice(0)) await end();
});

async function listening(server: Server): Promise<number> {
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  ends.push(() => server.close());
  return (server.address() as AddressInfo).port;
}

async function remedyAt(endpoint: string) {
  const store = certificateManagerStore({
    instance,
    endpoint,
    apiKey: new Secret('key'),
    runtime,
    requestTimeoutMs: 15_000,
  });
  const error = asCodedError(await store.list({}).catch((thrown: unknown) => thrown));
  return { code: error.code, reason: error.reason, remedy: error.remedy };
}

async function tlsServer(options: Parameters<typeof testCertificate>[0], withChain = true): Promise<number> {
  const { certificate, intermediate = '', privateKey } = await testCertificate(options);
  return listening(createServer({ cert: certificate + (withChain ? intermediate : ''), key: privateKey.reveal() }));
}

describe('nobody answers', () => {
  test('nothing listens there', async () => {
    const closed = createTcpServer();
    const port = await listening(closed);
    await new Promise((resolve) => closed.close(resolve));
    expect(await remedyAt(`http://127.0.0.1:${port}`)).toMatchObject({
      code: 'store_unavailable',
      reason: 'ECONNREFUSED',
      remedy: expect.stringContaining('Nothing listens at that address'),
    });
  });

  test('the connection is closed in the middle', async () => {
    const port = await listening(createTcpServer((socket) => socket.destroy()));
    expect(await remedyAt(`http://127.0.0.1:${port}`)).toMatchObject({
      reason: 'ECONNRESET',
      remedy: expect.stringContaining('closed in the middle'),
    });
  });
});

describe('the TLS of the other side', () => {
  test('is of an authority that is not trusted', async () => {
    const port = await tlsServer({ domains: ['127.0.0.1'] });
    const { reason, remedy } = await remedyAt(`https://127.0.0.1:${port}`);
    expect([
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
      'SELF_SIGNED_CERT_IN_CHAIN',
    ]).toContain(reason);
    expect(remedy).toContain('NODE_EXTRA_CA_CERTS=');
  });

  test('is none: plain HTTP answers on that port', async () => {
    const plain = await startScriptedServer();
    ends.push(() => plain.close());
    expect(await remedyAt(plain.url.replace('http:', 'https:'))).toMatchObject({
      remedy: expect.stringMatching(/speaks no TLS|TLS could not be agreed on/),
    });
  });
});

describe('something answers', () => {
  const list = (...steps: Step[]) => ({ iam: [] as Step[], steps });
  test.each([
    [
      'IAM does not know the API key',
      { iam: [{ status: 400, body: { errorCode: 'BXNIM0415E' } }], steps: [] },
      'IAM does not know this API key',
    ],
    [
      'IAM refuses without a known code',
      { iam: [{ status: 400, body: {} }], steps: [] },
      'IAM does not take this API key',
    ],
    ['the token is not taken', list({ status: 401 }, { status: 401 }), 'tokens of this IAM'],
    ['the role is lacking', list({ status: 403 }, { status: 403 }), 'Writer for a primary, Manager for a backup'],
    ['there is no such instance', list({ status: 404, body: { message: 'none' } }), 'correct stores.<name>.instance'],
    ['a proxy wants credentials', list({ status: 407 }), 'A proxy between wants credentials'],
    ['a proxy does not reach the service', list({ status: 502, body: '<html>' }), 'does not reach it'],
    ['the service is not available', list({ status: 503 }), 'not available now'],
    ['a proxy waits in vain', list({ status: 504 }), 'no answer from it in time'],
    [
      'it redirects elsewhere',
      list({ status: 302, headers: { location: 'https://login.test' } }),
      'redirects to another one',
    ],
    ['a login page answers', list({ status: 200, body: '<html>' }), 'Something that is not the store answered'],
  ])('%s', async (_, { iam, steps }, remedy) => {
    const server = await startScriptedServer();
    ends.push(() => server.close());
    server.iam(...iam);
    server.answers(...steps);
    expect((await remedyAt(server.url)).remedy).toContain(remedy);
  });
});
