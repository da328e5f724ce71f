import type { HttpEvent } from '../../functions/aws/http-api.ts';
import type { CallbackCase } from './callback-cases.ts';

type Request = CallbackCase['request'];

/**
 * What API Gateway makes of a request for an HTTP API (AWS, payload format 2.0): names in lower
 * case, repeated headers joined by a comma.
 */
export function httpApiEvent(request: Request, { stage = '$default' }: { readonly stage?: string } = {}): HttpEvent {
  const rawPath = stage === '$default' ? request.path : `/${stage}${request.path}`;
  const headers: Record<string, string> = {};
  for (const [name, value] of request.headers) {
    const key = name.toLowerCase();
    headers[key] = headers[key] === undefined ? value : `${headers[key]},${value}`;
  }
  return {
    version: '2.0',
    rawPath,
    headers,
    requestContext: { stage, http: { method: request.method, path: rawPath } },
    body: request.body.toString('base64'),
    isBase64Encoded: true,
  };
}

/**
 * The same in payload format 1.0: names as they were sent, every value in a list, the last one in
 * `headers`.
 */
export function restApiEvent(request: Request): HttpEvent {
  const headers: Record<string, string> = {};
  const multiValueHeaders: Record<string, string[]> = {};
  for (const [name, value] of request.headers) {
    headers[name] = value;
    multiValueHeaders[name] = [...(multiValueHeaders[name] ?? []), value];
  }
  return {
    version: '1.0',
    path: request.path,
    httpMethod: request.method,
    headers,
    multiValueHeaders,
    requestContext: { stage: 'dev', path: `/dev${request.path}` },
    body: request.body.toString('base64'),
    isBase64Encoded: true,
  };
}
