import 'reflect-metadata';

import { createPublicKey, type KeyObject, randomUUID, webcrypto } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import * as x509 from '@peculiar/x509';
import { newPrivateKey } from '../../src/instance/orders/authority/development-keys.ts';

/** What goes wrong. Each is looked at anew for each request. */
export interface AcmeFaults {
  /**
   * An answer in the place of the next requests to a resource: a status, with its body and headers;
   * `hang` never answers, `drop` ends the connection.
   */
  answer?: (resource: Resource) => Answer | 'hang' | 'drop' | undefined;
  /** The authority finds that a record is not there, whatever is there. */
  refusesProofs?: boolean;
  /**
   * Issues for a key of its own, for another domain, a certificate that has expired, or something
   * that is none.
   */
  issues?: 'for another key' | 'for another domain' | 'expired' | 'nonsense';
  /** How often an order that was finalized is still processing when it is looked at. */
  processing?: number;
  /** What it calls the domain that is to be proven, in the place of its name. */
  namesDomain?: string;
  /** Forgets an order once it is ready. */
  forgets?: boolean;
}

export type Resource =
  | 'directory'
  | 'nonce'
  | 'account'
  | 'newOrder'
  | 'order'
  | 'authz'
  | 'challenge'
  | 'finalize'
  | 'certificate';
interface Answer {
  readonly status: number;
  readonly body?: object;
  readonly headers?: Readonly<Record<string, string>>;
}

/**
 * An authority that speaks just enough ACME, checks no signature and no proof, and does whatever
 * goes wrong: for faults alone.
 */
export interface FakeAcme {
  readonly directory: string;
  readonly faults: AcmeFaults;
  /** The resources that were asked for, in order. */
  readonly asked: Resource[];
  /** How many certificates it has issued. */
  issued(): number;
  close(): Promise<void>;
}

interface Order {
  status: 'pending' | 'ready' | 'processing' | 'valid';
  readonly domains: readonly string[];
  readonly proofs: ('pending' | 'valid' | 'invalid')[];
  looks: number;
  pem?: string;
}

export async function startFakeAcme(): Promise<FakeAcme> {
  const faults: AcmeFaults = {};
  const asked: Resource[] = [];
  const orders = new Map<string, Order>();
  let issued = 0;
  const authority = await newAuthority();
  let url = '';

  const server = createServer((request, response) => void handle(request, response));
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;

  async function handle(request: IncomingMessage, response: ServerResponse): Promise<void> {
    let text = '';
    for await (const chunk of request) text += chunk;
    const [resource = 'directory', id = '', index = ''] = (request.url ?? '').split('/').slice(1) as [Resource];
    asked.push(resource);
    const planned = faults.answer?.(resource);
    if (planned === 'hang') return;
    if (planned === 'drop') return void request.socket.destroy();
    const payload = text === '' ? '' : Buffer.from(JSON.parse(text).payload, 'base64url').toString();
    const answer =
      planned ?? (await answerTo(resource, id, Number(index), payload === '' ? undefined : JSON.parse(payload)));
    response.writeHead(answer.status, {
      'replay-nonce': randomUUID(),
      'content-type': 'application/json',
      ...answer.headers,
    });
    response.end('pem' in answer ? answer.pem : JSON.stringify(answer.body ?? {}));
  }

  const viewOf = (id: string, order: Order) => ({
    status: order.proofs.includes('invalid') ? 'invalid' : order.status,
    identifiers: order.domains.map((value) => ({ type: 'dns', value })),
    authorizations: order.domains.map((_, index) => `${url}/authz/${id}/${index}`),
    finalize: `${url}/finalize/${id}`,
    ...(order.status === 'valid' && { certificate: `${url}/certificate/${id}` }),
  });

  async function answerTo(resource: Resource, id: string, index: number, payload: Record<string, unknown> | undefined) {
    const order = orders.get(id);
    switch (resource) {
      case 'directory':
        return {
          status: 200,
          body: { newNonce: `${url}/nonce`, newAccount: `${url}/account`, newOrder: `${url}/newOrder` },
        };
      case 'nonce':
        return { status: 200 };
      case 'account':
        return { status: 201, headers: { location: `${url}/account/1` }, body: { status: 'valid' } };
      case 'newOrder': {
        const identifiers = payload?.identifiers as readonly { readonly value: string }[];
        const domains = identifiers.map(({ value }) => value);
        const made: Order = { status: 'pending', domains, proofs: domains.map(() => 'pending'), looks: 0 };
        const name = randomUUID();
        orders.set(name, made);
        return { status: 201, headers: { location: `${url}/order/${name}` }, body: viewOf(name, made) };
      }
    }
    if (order === undefined) return problem(404, 'malformed', 'there is no such order');
    switch (resource) {
      case 'order':
        if (faults.forgets === true && order.status === 'ready') orders.delete(id);
        if (order.status === 'processing' && order.looks++ >= (faults.processing ?? 0)) order.status = 'valid';
        return { status: 200, body: viewOf(id, order) };
      case 'authz':
      case 'challenge': {
        if (resource === 'challenge') {
          order.proofs[index] = faults.refusesProofs === true ? 'invalid' : 'valid';
          if (order.proofs.every((proof) => proof === 'valid')) order.status = 'ready';
        }
        const error = { type: 'urn:ietf:params:acme:error:unauthorized', detail: 'Incorrect TXT record found' };
        const proof = order.proofs[index];
        const challenge = {
          type: 'dns-01',
          url: `${url}/challenge/${id}/${index}`,
          status: proof,
          token: `token-of-${index}`,
          ...(proof === 'invalid' && { error }),
        };
        if (resource === 'challenge') return { status: 200, body: challenge };
        const value = faults.namesDomain ?? order.domains[index]?.replace('*.', '');
        return { status: 200, body: { identifier: { type: 'dns', value }, status: proof, challenges: [challenge] } };
      }
      case 'finalize':
        order.pem = await issue(authority, String(payload?.csr), order.domains, faults.issues);
        order.status = 'processing';
        issued += 1;
        return { status: 200, body: viewOf(id, order) };
      default:
        return { status: 200, pem: order.pem ?? '' };
    }
  }

  return {
    directory: `${url}/directory`,
    faults,
    asked,
    issued: () => issued,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}

/** A problem document, as authorities answer. */
export function problem(status: number, type: string, detail: string, headers: Readonly<Record<string, string>> = {}) {
  return { status, headers, body: { type: `urn:ietf:params:acme:error:${type}`, detail } };
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' };

async function newAuthority() {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify']);
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    name: 'CN=Fake ACME',
    keys,
    signingAlgorithm: algorithm,
    extensions: [new x509.BasicConstraintsExtension(true, undefined, true)],
    notAfter: new Date(Date.now() + 3650 * 86_400_000),
  });
  return { keys, certificate };
}

async function issue(
  { keys, certificate }: Awaited<ReturnType<typeof newAuthority>>,
  csr: string,
  ordered: readonly string[],
  fault: AcmeFaults['issues'],
): Promise<string> {
  if (fault === 'nonsense') return 'this is no certificate';
  const request = new x509.Pkcs10CertificateRequest(Buffer.from(csr, 'base64url'));
  const domains = fault === 'for another domain' ? ['elsewhere.example.test'] : ordered;
  const dayMs = 86_400_000;
  const leaf = await x509.X509CertificateGenerator.create(
    {
      subject: `CN=${domains[0]}`,
      issuer: certificate.subject,
      publicKey: fault === 'for another key' ? publicKeyOf(await newPrivateKey('p-256')) : request.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: algorithm,
      notBefore: new Date(Date.now() - dayMs),
      notAfter: new Date(Date.now() + (fault === 'expired' ? -dayMs / 2 : 90 * dayMs)),
      extensions: [
        new x509.BasicConstraintsExtension(false),
        new x509.SubjectAlternativeNameExtension(domains.map((value) => ({ type: 'dns', value }))),
      ],
    },
    webcrypto,
  );
  return `${leaf.toString('pem')}\n${certificate.toString('pem')}\n`;
}

function publicKeyOf(key: KeyObject): x509.PublicKey {
  return new x509.PublicKey(createPublicKey(key).export({ type: 'spki', format: 'der' }));
}
