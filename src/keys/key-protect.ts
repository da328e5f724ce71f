import * as z from 'zod/mini';
import { defined } from '../defined.ts';
import { asCodedError, CodedError, type ErrorCode, type ErrorFields } from '../errors.ts';
import { type HttpAnswer, type HttpSend, httpClient, serviceBase } from '../http/client.ts';
import { parseJson } from '../http/service-failure.ts';
import { iamOf, iamTokens } from '../ibm-cloud/iam.ts';
import type { RemediesByReason } from '../remedies-by-cause.ts';
import type { Runtime } from '../runtime.ts';
import type { Secret } from '../secret.ts';
import type { KeyContext, RootKey } from './root-key.ts';

export interface KeyProtectOptions {
  readonly region: string;
  /** The GUID of the Key Protect instance. */
  readonly instance: string;
  /** The id (UUID) of the root key. No alias: that may lead to another key tomorrow. */
  readonly key: string;
  /** The ring it lies in, if not `default`. */
  readonly keyRing?: string;
  readonly apiKey: Secret;
  /**
   * Default `https://<region>.kms.cloud.ibm.com`; `https://private.<region>.kms.cloud.ibm.com`
   * inside of IBM Cloud.
   */
  readonly endpoint?: string;
  /** Default: see `iamOf`. */
  readonly iamUrl?: string;
  readonly runtime: Runtime;
  readonly send?: HttpSend;
  /**
   * How long one attempt may take. Default 5 s. There are three, with pauses of at most 2 s
   * between.
   */
  readonly requestTimeoutMs?: number;
}

type Action = 'wrap' | 'unwrap' | 'rewrap';

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const regionNames = /^[a-z]{2,}(-[a-z]+)+$/;
const ringNames = /^[\w-]{2,100}$/;
const mediaType = 'application/vnd.ibm.kms.key_action+json';
const wrappedCharacters = 8 * 1024;
const attempts = 3;
/** No attempt begins later: with its tokens, a call ends within half a minute. */
const lastAttemptMs = 8_000;
const longestPauseMs = 2_000;
const shortestPauseMs = 200;

const base64 = z.string().check(z.regex(/^[A-Za-z0-9+/]+={0,2}$/));
const wrapAnswer = z.object({ ciphertext: base64 });
const unwrapAnswer = z.object({ plaintext: base64, ciphertext: z.optional(base64) });
const errorAnswer = z.object({
  resources: z.array(z.object({ reasons: z.array(z.object({ code: z.string().check(z.regex(/^\w{1,60}$/)) })) })),
});

/** What each reason means (Key Protect, "Error messages"). Any other goes by its status. */
const reasons: Readonly<Record<string, ErrorCode>> = {
  // Wrong key, wrong context, or damaged; the second one where it is not even base64 of the right
  // shape.
  UNPROCESSABLE_CIPHERTEXT_ERR: 'keys_unreadable',
  INVALID_FIELD_ERR: 'keys_unreadable',
  KEY_INVALID_STATE_ERR: 'keys_refused',
  KEY_ACTION_INVALID_STATE_ERR: 'keys_refused',
  KEY_DELETED_ERR: 'keys_refused',
  KEY_EXPIRED_ERR: 'keys_refused',
  KEY_ROOT_REQ_ERR: 'keys_refused',
  UNAUTHORIZED_ERR: 'keys_refused',
};

const gone =
  'The root key is not there any more, or is about to be deleted. Restore it before its data is lost for good.';
const off = 'The root key is switched off, expired or not active. Enable it at its service.';
const remedies: RemediesByReason = {
  KEY_DELETED_ERR: gone,
  KEY_INVALID_STATE_ERR: off,
  KEY_ACTION_INVALID_STATE_ERR: off,
  KEY_EXPIRED_ERR: off,
  KEY_ROOT_REQ_ERR: 'That key is a standard key, and a root key is wanted. Name a root key of the instance.',
  UNAUTHORIZED_ERR: 'Give the owner of the API key the service role ReaderPlus (or above) on the Key Protect instance.',
};

/**
 * A root key of IBM Key Protect (or of Hyper Protect Crypto Services, which speaks the same API),
 * by an API key that IAM exchanges for tokens. The context goes as additional authenticated data,
 * one `name=value` for each. After the root key was rotated, `unwrap` gives a renewed text. It
 * takes the role ReaderPlus of the service. Throws `configuration_invalid` if an option is wrong.
 */
export function keyProtectRootKey(options: KeyProtectOptions): RootKey {
  const { region, instance, key, keyRing, apiKey, runtime, send, requestTimeoutMs = 5_000 } = options;
  checkOptions(options);
  const base = serviceBase(options.endpoint ?? `https://${region}.kms.cloud.ibm.com`, 'endpoint of the root key');
  const shared = { runtime, requestTimeoutMs, ...defined({ send }) };
  const client = httpClient(shared);
  const tokens = iamTokens({ ...shared, url: options.iamUrl ?? iamOf(base), apiKey });
  const id = `key-protect:${region}/${instance}/${key}`;

  async function once(action: Action, body: string, token: Secret): Promise<HttpAnswer | CodedError> {
    const outcome = await client({
      method: 'POST',
      url: `${base}/api/v2/keys/${key}/actions/${action}`,
      headers: {
        authorization: `Bearer ${token.reveal()}`,
        'bluemix-instance': instance,
        'content-type': mediaType,
        accept: mediaType,
        ...defined({ 'x-kms-key-ring': keyRing }),
      },
      body,
    });
    if ('answer' in outcome) return outcome.answer;
    const cause = 'cause' in outcome ? outcome.cause : undefined;
    return failed('keys_unavailable', id, action, `no answer came (${outcome.failure})`, {}, cause);
  }

  /** One attempt, and one more with a new token where the token may be to blame. */
  async function attempt(action: Action, body: string): Promise<HttpAnswer | CodedError> {
    try {
      const token = await tokens.token();
      const answer = await once(action, body, token);
      if (answer instanceof CodedError || (answer.status !== 401 && answer.status !== 403)) return answer;
      return await once(action, body, await tokens.refresh(token));
    } catch (thrown) {
      return tokenError(id, action, asCodedError(thrown));
    }
  }

  /**
   * Asks until there is an answer that would not be another one a moment later. Asking twice does
   * no harm.
   */
  async function ask<Schema extends z.ZodMiniType>(action: Action, input: object, schema: Schema) {
    const body = JSON.stringify(input);
    const begunAt = runtime.now();
    for (let tries = 1; ; tries += 1) {
      const answer = await attempt(action, body);
      const error = answer instanceof CodedError ? answer : errorOf(id, action, answer);
      if (error === undefined) return parsed(id, action, answer as HttpAnswer, schema);
      const pauseMs = error.retryAfterMs ?? (0.5 + runtime.random() / 2) * shortestPauseMs * 4 ** (tries - 1);
      const last = tries === attempts || runtime.now() - begunAt > lastAttemptMs;
      if (error.code !== 'keys_unavailable' || last || pauseMs > longestPauseMs) throw error;
      await runtime.wait(pauseMs);
    }
  }

  return {
    id,

    async wrap(dataKey, context) {
      const plaintext = Buffer.from(dataKey).toString('base64');
      return (await ask('wrap', { plaintext, aad: aadOf(context) }, wrapAnswer)).ciphertext;
    },

    async unwrap(wrapped, context) {
      checkWrapped(id, 'unwrap', wrapped);
      const input = { ciphertext: wrapped, aad: aadOf(context) };
      const { plaintext, ciphertext } = await ask('unwrap', input, unwrapAnswer);
      const bytes = Buffer.from(plaintext, 'base64');
      const dataKey = Uint8Array.from(bytes);
      bytes.fill(0);
      return { dataKey, ...(ciphertext !== undefined && ciphertext !== wrapped && { renewed: ciphertext }) };
    },

    async rewrap(wrapped, context) {
      checkWrapped(id, 'rewrap', wrapped);
      return (await ask('rewrap', { ciphertext: wrapped, aad: aadOf(context) }, wrapAnswer)).ciphertext;
    },

    async close() {},
  };
}

function checkOptions({ region, instance, key, keyRing }: KeyProtectOptions): void {
  const invalid = (found: string) => new CodedError('configuration_invalid', `root key of Key Protect: ${found}`);
  if (!regionNames.test(region)) throw invalid(`"${region}" is no region, such as eu-de`);
  if (!uuid.test(instance)) throw invalid(`"${instance}" is not the GUID of an instance`);
  if (!uuid.test(key)) throw invalid(`"${key}" is not the id of a key`);
  if (keyRing !== undefined && !ringNames.test(keyRing)) throw invalid(`"${keyRing}" is no name of a key ring`);
}

/**
 * At most 255 characters each: names are short, and values at most 200. In the order of the names,
 * since order counts there.
 */
function aadOf(context: KeyContext): string[] {
  return Object.entries(context)
    .map(([name, value]) => `${name}=${value}`)
    .sort();
}

/**
 * Key Protect gives base64, and a few hundred characters of it. What else the service would make of
 * another text is left open.
 */
function checkWrapped(id: string, action: Action, wrapped: string): void {
  const known = wrapped !== '' && wrapped.length <= wrappedCharacters;
  if (!known || Buffer.from(wrapped, 'base64').toString('base64') !== wrapped)
    throw failed('keys_unreadable', id, action, 'this is no text that Key Protect wrapped');
}

/** `undefined` for a success. */
function errorOf(id: string, action: Action, { status, text, retryAfterMs }: HttpAnswer): CodedError | undefined {
  if (status >= 200 && status <= 299) return undefined;
  const reason = z.safeParse(errorAnswer, parseJson(text)).data?.resources[0]?.reasons[0]?.code;
  const known = reasons[reason ?? ''] ?? byStatus(status, reason !== undefined);
  // What was given to be wrapped was made here: if something is wrong with it, no stored text is.
  const code = known === 'keys_unreadable' && action === 'wrap' ? 'keys_refused' : known;
  const found = `it answered ${status}${reason === undefined ? '' : ` ${reason}`}`;
  return failed(code, id, action, found, { status, serviceCode: reason, retryAfterMs });
}

/**
 * A request that Key Protect finds fault with was refused. All else is no word about the key: what
 * is no error of its own comes from a proxy.
 */
function byStatus(status: number, itsOwn: boolean): ErrorCode {
  if (status === 401 || status === 403) return 'keys_refused';
  return itsOwn && status >= 400 && status < 500 && status !== 408 && status !== 429
    ? 'keys_refused'
    : 'keys_unavailable';
}

function parsed<Schema extends z.ZodMiniType>(
  id: string,
  action: Action,
  { status, text }: HttpAnswer,
  schema: Schema,
): z.infer<Schema> {
  const { data } = z.safeParse(schema, parseJson(text));
  if (data !== undefined) return data;
  throw failed('keys_unavailable', id, action, `it answered ${status} with what is no answer to that`, { status });
}

/** Why IAM gave no token, in the words of this room: a refused API key is a refusal. */
function tokenError(id: string, action: Action, error: CodedError): CodedError {
  const code = error.code === 'store_unauthorized' ? 'keys_refused' : 'keys_unavailable';
  const { remedy } = error.fields;
  return failed(code, id, action, error.message, { retryAfterMs: error.retryAfterMs, remedy }, error);
}

function failed(
  code: ErrorCode,
  id: string,
  action: Action,
  found: string,
  fields: ErrorFields = {},
  cause?: unknown,
): CodedError {
  return new CodedError(code, `asking Key Protect to ${action} with ${id}: ${found}`, {
    fields: { rootKey: id, ...fields },
    remedies,
    ...defined({ cause }),
  });
}
