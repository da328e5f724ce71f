import { defined } from '../defined.ts';
import { CodedError, type ErrorCode } from '../errors.ts';
import { httpClient } from '../http/client.ts';
import { foreignWords } from '../http/service-failure.ts';
import type { Runtime } from '../runtime.ts';
import type { CallOptions } from '../store/store.ts';
import { type AccessKey, type CallerCredentials, NoCredentialsError } from './caller.ts';
import { AwsServiceError, AwsUnansweredError, endpointOf, signedService } from './signed-service.ts';

/** What every store in AWS is opened with. */
export interface AwsStoreOptions {
  readonly region: string;
  /** 12 digits. */
  readonly account: string;
  /** Absent: the credentials of the environment. */
  readonly key?: AccessKey;
  readonly role?: string;
  readonly externalId?: string;
  /** Default: the public one of the region; else of the token service, and of every other, too. */
  readonly endpoint?: string;
  readonly runtime: Runtime;
  readonly requestTimeoutMs?: number;
  /** Elements on a page of a listing. */
  readonly pageSize?: number;
  readonly settlesMs?: number;
  readonly listingLagMs?: number;
  readonly readSettlesMs?: number;
}

/** What is asked of a store in AWS, as far as errors need it. */
export interface AwsCall {
  /** What was tried, in words: `reimport`. */
  readonly operation: string;
  /** Whether it changes something there. */
  readonly writes: boolean;
  /** The certificate that it names, if it names one. */
  readonly certificate?: string | undefined;
  readonly signal?: AbortSignal | undefined;
}

/** A call that changes nothing there. */
export const readCall = (operation: string, { signal }: CallOptions = {}, certificate?: string): AwsCall => ({
  operation,
  writes: false,
  ...defined({ certificate, signal }),
});

/** A call that may change something there. */
export const writeCall = (operation: string, given: CallOptions = {}, certificate?: string): AwsCall => ({
  ...readCall(operation, given, certificate),
  writes: true,
});

/** What an answer of a service means, by the service's own word for it. */
export interface Meaning {
  readonly code: ErrorCode;
  readonly remedy?: string;
}

export interface AwsStoreServiceOptions
  extends Pick<AwsStoreOptions, 'region' | 'account' | 'endpoint' | 'runtime' | 'requestTimeoutMs'> {
  /** Id of the store: stands in errors. */
  readonly store: string;
  /** Its name in signatures and in host names. */
  readonly service: string;
  /** What stands before the operation in `X-Amz-Target`. */
  readonly target: string;
  readonly caller: CallerCredentials;
  /**
   * What this service means by its refusals; `undefined`: what all of AWS means, or that it was
   * refused.
   */
  meaningOf(name: string, call: AwsCall): Meaning | undefined;
}

export interface AwsStoreService {
  /** Where it is, for people. */
  readonly address: string;
  /** One operation. A read is sent twice if nobody answers, a write once. Throws coded errors. */
  call(operation: string, input: object, about: AwsCall): Promise<Readonly<Record<string, unknown>>>;
  /** What time it is there, by a request that needs no rights. Throws `store_unavailable`. */
  clock(signal?: AbortSignal): Promise<number | undefined>;
  failure(code: ErrorCode, found: string, about: AwsCall, fields?: CodedError['fields'], cause?: unknown): CodedError;
}

const throttled: ReadonlySet<string> = new Set([
  'ThrottlingException',
  'Throttling',
  'TooManyRequestsException',
  'RequestLimitExceeded',
  'RequestThrottledException',
  'SlowDown',
  'ServiceUnavailable',
]);

const renew = 'AWS does not take these credentials: see which they are (aws sts get-caller-identity), and renew them.';

/** What every service of AWS means by these ("Common Errors"). */
const unauthorized: Readonly<Record<string, string>> = {
  UnrecognizedClientException: renew,
  InvalidClientTokenId: renew,
  MissingAuthenticationToken: renew,
  IncompleteSignature: renew,
  ExpiredTokenException: 'The credentials have expired: renew them where this program gets them from.',
  ExpiredToken: 'The credentials have expired: renew them where this program gets them from.',
  InvalidSignatureException:
    'The secret key does not belong to this access key, or the clock here is wrong: certstandby doctor compares it.',
  SignatureDoesNotMatch:
    'The secret key does not belong to this access key, or the clock here is wrong: certstandby doctor compares it.',
  RequestExpired: 'The clock here is wrong: set it by NTP.',
  OptInRequired: 'This account has not subscribed to the service, or the region is not enabled for it.',
};

const accessDenied: ReadonlySet<string> = new Set([
  'AccessDeniedException',
  'AccessDenied',
  'NotAuthorized',
  'UnauthorizedOperation',
]);

/**
 * A service of AWS in which a store lies: signed calls, and what their failures mean for a store.
 * The account of the credentials is looked at once, before the first call: in another account
 * everything would seem to be gone.
 */
export function awsStoreService(options: AwsStoreServiceOptions): AwsStoreService {
  const { store, account, service, target, region, caller, runtime, requestTimeoutMs = 30_000, meaningOf } = options;
  const address = options.endpoint ?? endpointOf(service, region);
  const reached = { service, region, endpoint: address, runtime, answerTimeoutMs: requestTimeoutMs };
  const signed = signedService({ ...reached, target, jsonVersion: '1.1', credentials: () => caller.credentials() });
  const plain = httpClient({ runtime: { now: runtime.now }, requestTimeoutMs });

  function failure(
    code: ErrorCode,
    found: string,
    { operation, certificate }: AwsCall,
    fields: CodedError['fields'] = {},
    cause?: unknown,
  ): CodedError {
    return new CodedError(code, `${operation} at ${store}: ${found}`, {
      ...defined({ cause }),
      fields: { store, operation, ...defined({ certificate }), ...fields },
    });
  }

  function codedOf(thrown: unknown, about: AwsCall, api: string): unknown {
    if (thrown instanceof AwsUnansweredError) {
      const { sent, code: reason } = thrown;
      const code = sent && about.writes ? 'store_unanswered' : 'store_unavailable';
      const found = about.signal?.aborted ? 'the call was ended' : sent ? 'no answer came' : 'it was not reached';
      return failure(code, `${found} (${api})`, about, defined({ reason }), thrown);
    }
    if (thrown instanceof NoCredentialsError) {
      const remedy =
        'Give this machine a role, or set AWS_PROFILE, or name accessKeyId and secretAccessKey in the configuration of the store.';
      return failure('store_unauthorized', thrown.message, about, { reason: 'CredentialsProviderError', remedy });
    }
    if (!(thrown instanceof AwsServiceError)) return thrown;
    const { name, status, message } = thrown;
    const words = foreignWords(message);
    const said = `it answered ${name}${words === undefined ? '' : `: ${words}`}`;
    const fields = { reason: name, status };
    if (throttled.has(name) || status === 429) return failure('store_limited', said, about, fields);
    if (accessDenied.has(name)) {
      const right = api === 'GetCallerIdentity' ? 'sts:AssumeRole' : `${prefixOf(service)}:${api}`;
      const remedy = `Allow ${right} to this role or user: certstandby doctor --rights prints all that it needs.`;
      return failure('store_unauthorized', said, about, { ...fields, right, remedy });
    }
    const remedyOfAll = Object.hasOwn(unauthorized, name) ? unauthorized[name] : undefined;
    if (remedyOfAll !== undefined) {
      caller.forget();
      return failure('store_unauthorized', said, about, { ...fields, remedy: remedyOfAll });
    }
    const meant = meaningOf(name, about);
    if (meant !== undefined)
      return failure(meant.code, said, about, { ...fields, ...defined({ remedy: meant.remedy }) });
    if (status >= 500) return failure(about.writes ? 'store_unanswered' : 'store_unavailable', said, about, fields);
    if (name === 'UnknownError')
      return failure('store_nonsense', `it answered ${status} and no error of AWS`, about, fields);
    return failure('store_refused', said, about, fields);
  }

  let isOwnAccount = false;
  /** Throws where the credentials are of another account than the store. */
  async function ensureAccount(about: AwsCall): Promise<void> {
    if (isOwnAccount) return;
    const found = await caller.account(about.signal);
    if (found !== account) {
      const words = `these credentials are of the account ${found}, and the store is in ${account}`;
      const remedy =
        'Give credentials of the account of the store, or a role of it (role), or correct its account in the configuration.';
      throw failure('store_unauthorized', words, about, { found, account, remedy });
    }
    isOwnAccount = true;
  }

  return {
    address,
    failure,
    async call(operation, input, about) {
      try {
        await ensureAccount({ ...about, writes: false });
      } catch (thrown) {
        throw codedOf(thrown, { ...about, writes: false }, 'GetCallerIdentity');
      }
      try {
        return await signed.call(operation, input, { attempts: about.writes ? 1 : 2, signal: about.signal });
      } catch (thrown) {
        throw codedOf(thrown, about, operation);
      }
    },
    async clock(signal) {
      const outcome = await plain({ method: 'GET', url: address, headers: {}, ...(signal && { signal }) });
      if ('answer' in outcome) return outcome.answer.date;
      throw failure(
        'store_unavailable',
        'it was not reached',
        { operation: 'reach', writes: false },
        {},
        'cause' in outcome ? outcome.cause : undefined,
      );
    },
  };
}

/** What the service is called in policies. */
const prefixOf = (service: string): string => (service === 'tagging' ? 'tag' : service);
