import type { CallbackRequest, CallbackResponse, Parameters } from '../../src/compose/openwhisk-callback.ts';

/** What a web action answers (Apache OpenWhisk, "Web actions"). */
export interface WebActionResult {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: object;
}

/** The request to the callback in the parameters of a web action with `raw-http`. */
export function requestOf(parameters: Parameters): CallbackRequest {
  const { __ow_method: method, __ow_headers: given, __ow_path: path } = parameters;
  const headers = new Map<string, string>();
  for (const [name, value] of Object.entries((given ?? {}) as Record<string, unknown>))
    headers.set(name.toLowerCase(), Array.isArray(value) ? value.join(', ') : String(value));
  return {
    // The platform says it in small letters.
    method: String(method ?? '').toUpperCase(),
    path: pathOf(String(path ?? '')),
    header: (name) => headers.get(name.toLowerCase()),
    body: bodyOf(parameters.__ow_body),
  };
}

/**
 * The body is a value, which the platform writes as JSON. A text of Content-Type JSON is read as
 * base64 by its older versions, and by services built on them: then the sender would be told 400,
 * whatever was answered.
 */
export const resultOf = ({ status, headers, body }: CallbackResponse): WebActionResult => ({
  statusCode: status,
  headers,
  body: JSON.parse(body),
});

/**
 * What follows the name of the action in the URL is the link: `…/certstandby/callback.http/<link>`.
 * An API in front may hand on the whole path.
 */
function pathOf(path: string): string {
  return path.startsWith('/callback/') ? path : `/callback${path}`;
}

const base64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/;

/**
 * The bytes of the body. The platform hands JSON and whatever is not text on in base64, and other
 * text as it is, and does not say which: what begins like a JSON object cannot be base64, and
 * everything that is no JSON object is refused, whatever it was.
 */
function bodyOf(body: unknown): Buffer {
  if (typeof body !== 'string') return Buffer.alloc(0);
  return base64.test(body) ? Buffer.from(body, 'base64') : Buffer.from(body, 'utf8');
}
