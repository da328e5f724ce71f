import { request as httpRequest } from 'node:http';
import type { IssuedCertificate } from '../../src/instance/orders/authority/development-ca.ts';
import type { Role } from '../../src/instance/tenants/instance.ts';
import type { TestInstance } from '../support/instance.ts';

/** An answer as it came. */
export interface Received {
  readonly status: number;
  // biome-ignore lint/suspicious/noExplicitAny: tests look at any member of any answer
  readonly body: any;
  readonly headers: Headers;
}

/** Paths after `/api`, and bodies as JSON (a text as it is). */
export type Call = (method: string, path: string, body?: unknown) => Promise<Received>;

/** Calls the API with a token of this role. */
export async function clientOf(instance: TestInstance, role: Role = 'manager'): Promise<Call> {
  const token = await instance.token(role);
  return (method, path, body) => call(`${instance.url}/api${path}`, method, token, body);
}

/** One call with a token, or without one. */
export async function call(url: string, method: string, token?: string, body?: unknown): Promise<Received> {
  const response = await fetch(url, {
    method,
    headers: token === undefined ? {} : { authorization: `Bearer ${token}` },
    ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
  });
  const text = await response.text();
  return { status: response.status, body: text === '' ? undefined : JSON.parse(text), headers: response.headers };
}

/**
 * The status of a request whose target goes over the wire exactly as given: no client normalises
 * it.
 */
export function rawStatus(url: string, method: string, target: string, token: string): Promise<number | undefined> {
  const { hostname, port } = new URL(url);
  return new Promise((resolve, reject) => {
    const request = httpRequest(
      { hostname, port, method, path: target, headers: { authorization: `Bearer ${token}` } },
      (response) => {
        response.resume();
        resolve(response.statusCode);
      },
    );
    request.on('error', reject);
    request.end();
  });
}

/** The three texts of a request, as import wants them below `data` and reimport flat. */
export function dataOf(certificate: IssuedCertificate) {
  return {
    content: certificate.certificate,
    priv_key: certificate.privateKey.reveal(),
    ...(certificate.intermediate !== undefined && { intermediate: certificate.intermediate }),
  };
}

/** A CRN as one segment of a path. */
export const segment = encodeURIComponent;
