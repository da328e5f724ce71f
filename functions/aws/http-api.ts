import type { CallbackRequest, CallbackResponse } from '../../src/compose/aws-callback.ts';

/**
 * An event of API Gateway or of a function URL, payload format 1.0 or 2.0, as far as it is used
 * (AWS, "Lambda proxy integrations for HTTP APIs").
 */
export interface HttpEvent {
  readonly version?: string;
  readonly rawPath?: string;
  readonly path?: string;
  readonly httpMethod?: string;
  readonly headers?: Readonly<Record<string, string | undefined>> | null;
  readonly multiValueHeaders?: Readonly<Record<string, readonly string[] | undefined>> | null;
  readonly body?: string | null;
  readonly isBase64Encoded?: boolean;
  readonly requestContext?: {
    readonly stage?: string;
    readonly path?: string;
    readonly http?: { readonly method?: string; readonly path?: string };
  };
}

/** What a Lambda function answers to API Gateway, in both formats. */
export interface HttpResult {
  readonly statusCode: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** The request to the callback in an event. */
export function requestOf(event: HttpEvent): CallbackRequest {
  const headers = headersOf(event);
  const { body, isBase64Encoded } = event;
  return {
    method: event.requestContext?.http?.method ?? event.httpMethod ?? '',
    path: pathOf(event),
    header: (name) => headers.get(name.toLowerCase()),
    body: Buffer.from(body ?? '', isBase64Encoded === true ? 'base64' : 'utf8'),
  };
}

export const resultOf = ({ status, headers, body }: CallbackResponse): HttpResult => ({
  statusCode: status,
  headers,
  body,
});

/**
 * The path without the stage, which stands before it where the API has one of another name than
 * `$default`.
 */
function pathOf({ rawPath, path, requestContext }: HttpEvent): string {
  const whole = rawPath ?? path ?? '';
  const stage = `/${requestContext?.stage}`;
  return whole.startsWith(`${stage}/callback/`) ? whole.slice(stage.length) : whole;
}

/**
 * Headers by their names in lower case. Format 1.0 has repeated ones in a list, 2.0 joins them
 * itself.
 */
function headersOf({ headers, multiValueHeaders }: HttpEvent): ReadonlyMap<string, string> {
  const found = new Map<string, string>();
  for (const [name, value] of Object.entries(headers ?? {}))
    if (value !== undefined) found.set(name.toLowerCase(), value);
  for (const [name, values] of Object.entries(multiValueHeaders ?? {}))
    if (values !== undefined && values.length > 0) found.set(name.toLowerCase(), values.join(', '));
  return found;
}
