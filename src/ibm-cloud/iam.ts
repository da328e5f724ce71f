import * as z from 'zod/mini';
import { defined } from '../defined.ts';
import { asCodedError, CodedError, type ErrorCode } from '../errors.ts';
import { type HttpAnswer, type HttpClient, type HttpSend, httpClient, serviceBase } from '../http/client.ts';
import { foreignWords, parseJson } from '../http/service-failure.ts';
import { otherwise } from '../lenient.ts';
import type { RemediesByReason } from '../remedies-by-cause.ts';
import type { Runtime } from '../runtime.ts';
import { Secret } from '../secret.ts';

/** IAM access tokens for one API key, exchanged when needed and kept while they live. */
export interface IamTokens {
  /**
   * A token that is good for ten seconds at least. Throws `store_unauthorized`,
   * `store_unavailable`, `store_limited`, `store_nonsense`, and what reading the API key throws.
   */
  token(options?: { readonly signal?: AbortSignal | undefined }): Promise<Secret>;
  /**
   * A new token, after a service has refused `rejected`; the one that replaced it meanwhile, if
   * another caller was faster.
   */
  refresh(rejected: Secret, options?: { readonly signal?: AbortSignal | undefined }): Promise<Secret>;
}

/**
 * An API key, or a way to read it anew each time that it is exchanged: where it is kept elsewhere,
 * it may change there.
 */
export type ApiKey = Secret | (() => Promise<Secret>);

/**
 * A trusted profile that the machine may take on by the token that its compute resource (a cluster,
 * Code Engine) puts there and renews.
 */
export interface TrustedProfile {
  /** Its id, `Profile-…`, or its name. */
  readonly profile: string;
  /** Reads the token anew each time that it is exchanged. */
  readonly computeToken: () => Promise<Secret>;
}

export interface IamOptions {
  /** `https://iam.cloud.ibm.com`; plain http only on this machine. */
  readonly url: string;
  readonly apiKey: ApiKey | TrustedProfile;
  readonly runtime: Runtime;
  readonly send?: HttpSend;
  /** How long one exchange may take. Default 15 s. */
  readonly requestTimeoutMs?: number;
  /**
   * Which setting says where the API key is, for a person who must put a valid one there:
   * `stores.<name>.apiKey`. Absent: none is named.
   */
  readonly apiKeySetting?: string;
}

/** IAM's codes for API keys that it does not take. */
const refusedApiKeys: RemediesByReason = {
  BXNIM0415E:
    'IAM does not know this API key: it was deleted, or belongs to another cloud. Put a valid one in its place.',
  BXNIM0109E: 'IAM does not take this API key: it was deleted, locked or mistyped. Put a valid one in its place.',
};

/**
 * Hosts under which IBM Cloud alone has names: the services that these programs call. Its customers
 * get other ones.
 */
const ibmHosts = /\.(?:cloud\.ibm\.com|(?:hs-crypto|secrets-manager)\.appdomain\.cloud)$/;

/** Whether a service at this address is one of IBM's. */
export const isIbms = (serviceAddress: string): boolean => ibmHosts.test(new URL(serviceAddress).hostname);

/**
 * Where an API key for a service at this address is exchanged, if nobody said: at IBM's public IAM
 * for a service of IBM (private endpoints too), and for any other at the service itself, as an
 * instance of one's own has it. An API key goes to nobody else.
 */
export function iamOf(serviceAddress: string): string {
  return isIbms(serviceAddress) ? 'https://iam.cloud.ibm.com' : new URL(serviceAddress).origin;
}

interface LivingToken {
  readonly secret: Secret;
  /** From this moment on it counts as expired. */
  readonly expiredAt: number;
  /** From this moment on it is renewed in the background. */
  renewAt: number;
}

const expiresEarlyMs = 10_000;
const retryRenewalMs = 60_000;
const renewAtShare = 0.8;

const grant = z.object({
  // A token stands in a header: whatever else it were, an error that quotes the header would show
  // it.
  access_token: z.string().check(z.regex(/^[\x21-\x7e]+$/)),
  expires_in: otherwise(z.optional(z.number()), undefined),
  expiration: otherwise(z.optional(z.number()), undefined),
});
const refusal = z.object({ errorCode: z.string().check(z.regex(/^\w{1,40}$/)) });

/**
 * Tokens by exchange of an API key at IBM Cloud IAM (`POST /identity/token`), with the refresh
 * policy of IBM's SDKs (go-sdk-core, `iam_authenticator.go`): renewed in the background after 80 %
 * of the lifetime, expired ten seconds early, one exchange in flight, and a minute between attempts
 * in the background. Lifetimes are measured by our own clock from the moment of asking, so that a
 * clock that differs from IAM's does not matter. Throws `configuration_invalid` for a URL that
 * would show the API key.
 */
export function iamTokens(options: IamOptions): IamTokens {
  const { apiKey, runtime } = options;
  const url = `${serviceBase(options.url, 'iamUrl')}/identity/token`;
  const client = httpClient({ requestTimeoutMs: 15_000, ...options });
  const asked = isProfile(apiKey)
    ? `taking on the trusted profile ${apiKey.profile} at IAM`
    : 'exchange of the API key for a token at IAM';
  let living: LivingToken | undefined;
  let flight: Promise<LivingToken> | undefined;

  function exchangeOnce(): Promise<LivingToken> {
    flight ??= (async () => {
      try {
        living = await exchangeKey(await grantOf(apiKey));
        return living;
      } finally {
        flight = undefined;
      }
    })();
    return flight;
  }

  async function exchangeKey(given: Grant): Promise<LivingToken> {
    try {
      return await exchange(client, url, given, runtime);
    } catch (thrown) {
      const { code, message: found, fields, cause } = asCodedError(thrown);
      // What the credential could not be read for says what it is of.
      const message = code.startsWith('store_') ? `${asked}: ${found}` : found;
      const where = options.apiKeySetting === undefined ? 'in its place' : `where ${options.apiKeySetting} says`;
      const refused = isProfile(apiKey)
        ? `IAM does not let this machine take on the trusted profile ${apiKey.profile}: correct its name, and its conditions for compute resources.`
        : `IAM does not take this API key: it was deleted, locked or mistyped, or the IAM is that of another cloud. Put a valid one ${where}.`;
      // With several stores, only the address says whose key or address is wrong.
      throw new CodedError(code, `${message} (${url})`, {
        fields: { ...fields, url },
        cause,
        remedies:
          code !== 'store_unauthorized'
            ? {}
            : { 400: refused, 401: refused, 403: refused, ...(isProfile(apiKey) ? {} : refusedApiKeys) },
      });
    }
  }

  return {
    async token({ signal } = {}) {
      const now = runtime.now();
      if (living === undefined || now >= living.expiredAt) return (await endingWith(signal, exchangeOnce())).secret;
      if (now >= living.renewAt) {
        living.renewAt = now + retryRenewalMs;
        // The token still serves, and when it no longer does, the exchange is tried again and its
        // failure thrown.
        exchangeOnce().catch(() => {});
      }
      return living.secret;
    },

    async refresh(rejected, { signal } = {}) {
      if (living !== undefined && living.secret !== rejected) return living.secret;
      return (await endingWith(signal, exchangeOnce())).secret;
    },
  };
}

const isProfile = (given: ApiKey | TrustedProfile): given is TrustedProfile =>
  !(given instanceof Secret) && 'profile' in given;

/** What is exchanged for a token: the members of the form. */
type Grant = Readonly<Record<string, string>>;

/**
 * The form of a credential, as IBM's SDKs send it (go-sdk-core, `iam_authenticator.go` and
 * `container_authenticator.go`).
 */
async function grantOf(given: ApiKey | TrustedProfile): Promise<Grant> {
  if (isProfile(given)) {
    const { profile, computeToken } = given;
    return {
      grant_type: 'urn:ibm:params:oauth:grant-type:cr-token',
      cr_token: (await computeToken()).reveal(),
      [/^Profile-/.test(profile) ? 'profile_id' : 'profile_name']: profile,
    };
  }
  const apiKey = given instanceof Secret ? given : await given();
  return {
    grant_type: 'urn:ibm:params:oauth:grant-type:apikey',
    apikey: apiKey.reveal(),
    response_type: 'cloud_iam',
  };
}

async function exchange(client: HttpClient, url: string, given: Grant, runtime: Runtime): Promise<LivingToken> {
  const askedAt = runtime.now();
  const form = new URLSearchParams(given);
  const headers = { 'content-type': 'application/x-www-form-urlencoded', accept: 'application/json' };
  const outcome = await client({ method: 'POST', url, headers, body: form.toString() });
  if ('failure' in outcome) {
    if (outcome.failure === 'oversized') throw failed('store_nonsense', 'its answer is too long');
    const words = { network: 'it was not reached', timeout: 'it did not answer in time', ended: 'the call was ended' };
    throw failed('store_unavailable', words[outcome.failure], {}, outcome.cause);
  }
  const { answer } = outcome;
  if (answer.status < 200 || answer.status > 299) throw refused(answer);
  const parsed = z.safeParse(grant, parseJson(answer.text));
  const lifetimeMs = parsed.success ? lifetimeOf(parsed.data, askedAt) : undefined;
  if (!parsed.success || lifetimeMs === undefined)
    throw failed('store_nonsense', 'its answer holds no token with a lifetime');
  return {
    secret: new Secret(parsed.data.access_token),
    renewAt: askedAt + lifetimeMs * renewAtShare,
    expiredAt: askedAt + lifetimeMs - expiresEarlyMs,
  };
}

/**
 * `expires_in`, a span and so right by any clock; else what is left until `expiration`, a moment by
 * IAM's.
 */
function lifetimeOf({ expires_in, expiration }: z.infer<typeof grant>, askedAt: number): number | undefined {
  const milliseconds = expires_in !== undefined ? expires_in * 1000 : (expiration ?? 0) * 1000 - askedAt;
  return milliseconds > 0 ? milliseconds : undefined;
}

/**
 * IAM answers 400, not 401, to an API key that it does not know. Its words are left out, its code
 * is enough.
 */
function refused({ status, text, retryAfterMs }: HttpAnswer): CodedError {
  const iamCode = foreignWords(z.safeParse(refusal, parseJson(text)).data?.errorCode);
  const code: ErrorCode =
    status === 429
      ? 'store_limited'
      : status >= 500
        ? 'store_unavailable'
        : status >= 400
          ? 'store_unauthorized'
          : 'store_nonsense';
  const found = `it answered ${status}${iamCode === undefined ? '' : ` ${iamCode}`}`;
  return failed(code, found, { status, serviceCode: iamCode, retryAfterMs });
}

function failed(
  code: ErrorCode,
  found: string,
  fields: Readonly<Record<string, string | number | undefined>> = {},
  cause?: unknown,
): CodedError {
  return new CodedError(code, found, { fields, ...defined({ cause }) });
}

/**
 * The same promise, given up when the signal says so: the exchange belongs to all who wait for it,
 * and goes on.
 */
function endingWith<T>(signal: AbortSignal | undefined, promise: Promise<T>): Promise<T> {
  if (signal === undefined) return promise;
  return new Promise((resolve, reject) => {
    const onAbort = () =>
      reject(failed('store_unavailable', 'exchange of credentials at IAM: the call was ended', {}, signal.reason));
    if (signal.aborted) onAbort();
    signal.addEventListener('abort', onAbort, { once: true });
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });
}
