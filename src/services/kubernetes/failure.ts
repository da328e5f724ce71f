import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { CodedError, type ErrorCode } from '../../errors.ts';
import type { HttpAnswer, HttpOutcome } from '../../http/client.ts';
import { foreignWords, parseJson, type ServiceCall, unansweredError } from '../../http/service-failure.ts';
import { otherwise } from '../../lenient.ts';

/** What was asked of an API server, as far as errors need it. */
export interface ApiCall extends ServiceCall {
  /** The right that it takes. */
  readonly right: Right;
}

/** A right as RBAC has it. Without a namespace it is one of the whole cluster. */
export interface Right {
  readonly verb: 'get' | 'list' | 'watch' | 'create' | 'update' | 'delete';
  readonly resource: 'secrets' | 'namespaces';
  readonly namespace?: string;
}

/** What an API server says beside the status: `Status` of its API. */
interface StatusBody {
  readonly reason: string;
  readonly message: string;
  /** What the answer is about: `secrets`, `namespaces`. */
  readonly kind: string;
  readonly causes: readonly string[];
  /** Of a listing that began too long ago: how to go on. */
  readonly continue: string;
  /** Whether it was such an object at all: what another program answers is none. */
  readonly isStatus: boolean;
}

const text = otherwise(z.string(), '');
const statusSchema = z.object({
  kind: z.literal('Status'),
  reason: text,
  message: text,
  details: otherwise(
    z.object({
      kind: text,
      causes: otherwise(z.array(z.object({ reason: text })), []),
    }),
    { kind: '', causes: [] },
  ),
  metadata: otherwise(z.object({ continue: text }), { continue: '' }),
});

/** What an API server says of a failure. */
function statusIn(body: string): StatusBody {
  const { data } = z.safeParse(statusSchema, parseJson(body));
  return {
    reason: data?.reason ?? '',
    message: data?.message ?? '',
    kind: data?.details.kind ?? '',
    causes: (data?.details.causes ?? []).map(({ reason }) => reason),
    continue: data?.metadata.continue ?? '',
    isStatus: data !== undefined,
  };
}

/** The error for a request that got no whole answer. */
export function noAnswerError(call: ApiCall, outcome: Exclude<HttpOutcome, { answer: HttpAnswer }>): CodedError {
  const error = unansweredError(call, outcome);
  const { reason } = error;
  return reason !== undefined && untrusted.has(reason)
    ? remedied(error, 'Name the certificate of its authority: ca, or certificate-authority in the kubeconfig.')
    : error;
}

/** What OpenSSL says of a server whose authority is not trusted. */
const untrusted: ReadonlySet<string> = new Set([
  'DEPTH_ZERO_SELF_SIGNED_CERT',
  'SELF_SIGNED_CERT_IN_CHAIN',
  'UNABLE_TO_GET_ISSUER_CERT',
  'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
  'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
]);

/** What a failure means, and what mends it where the code alone does not tell. */
interface Meaning {
  readonly code: ErrorCode;
  readonly remedy?: string;
}

/**
 * The error for an answer that is not a success. Statuses and reasons: Kubernetes API conventions.
 */
export function answerError(call: ApiCall, answer: HttpAnswer): CodedError {
  const { status, retryAfterMs } = answer;
  const said = statusIn(answer.text);
  const { code, remedy } = meaningOf(call, status, said);
  const words = foreignWords(said.message);
  const found = `it answered ${status}${words === undefined ? '' : `: ${words}`}`;
  const { store, operation, certificate } = call;
  return new CodedError(code, `${operation} at ${store}: ${found}`, {
    fields: defined({
      store,
      operation,
      certificate,
      status,
      retryAfterMs,
      serviceCode: foreignWords(said.reason),
      serviceMessage: words,
      remedy,
      ...(status === 410 && { continue: said.continue }),
    }),
  });
}

function meaningOf(call: ApiCall, status: number, said: StatusBody): Meaning {
  const { writes, givesContent = false, right } = call;
  const unknown: Meaning = { code: writes ? 'store_unanswered' : 'store_unavailable' };
  if (status >= 500) return unknown;
  switch (status) {
    case 401:
      return {
        code: 'store_unauthorized',
        remedy: 'The API server does not take these credentials: they have ended, or are of another cluster.',
      };
    case 403:
      return forbidden(call, said);
    case 404:
      if (said.kind === 'secrets') return { code: 'store_gone' };
      if (said.kind === 'namespaces') return namespaceMissing(right.namespace ?? '');
      return { code: 'store_nonsense', remedy: 'No API server of Kubernetes answers at that address and path.' };
    case 409:
      return { code: 'store_conflict' };
    case 408:
    case 410:
      return unknown;
    case 413:
      return { code: givesContent ? 'store_content_refused' : 'store_refused' };
    case 422:
      if (/\bimmutable\b/.test(said.message)) return { code: 'store_held', remedy: heldRemedy };
      return { code: givesContent ? 'store_content_refused' : 'store_refused' };
    case 429:
      return { code: 'store_limited' };
    default:
      return { code: status >= 400 && said.isStatus ? 'store_refused' : 'store_nonsense' };
  }
}

export const heldRemedy =
  'Somebody has made this secret immutable: nobody can change it any more. If a new certificate is to be there, delete it (kubectl delete secret), and it is made anew.';

/** 403 is what RBAC, quotas, admission and a namespace that is ending have in common. */
function forbidden({ right }: ApiCall, { causes, message }: StatusBody): Meaning {
  if (causes.includes('NamespaceTerminating')) return namespaceEnding(right.namespace ?? '');
  if (/\bexceeded quota\b/.test(message))
    return {
      code: 'store_quota_used_up',
      remedy: 'A ResourceQuota of the namespace is used up: raise it (kubectl get resourcequota), or make room.',
    };
  // RBAC says who cannot do what: `User "x" cannot create resource "secrets"`.
  if (/\bcannot \w+ resource\b/.test(message)) return { code: 'store_unauthorized', remedy: remedyOfRight(right) };
  return {
    code: 'store_refused',
    remedy: 'Something in the cluster (an admission policy or webhook) does not allow it; its words say what.',
  };
}

/** The line that gives our credentials a right. */
export function remedyOfRight({ verb, resource, namespace }: Right): string {
  const kind = namespace === undefined ? 'ClusterRole' : 'Role';
  const where = namespace === undefined ? '' : ` in namespace ${namespace}`;
  return `Add the verb ${verb} on ${resource} to the rules of its ${kind}${where}: - {apiGroups: [""], resources: [${resource}], verbs: [${verb}]}`;
}

const namespaceMissing = (namespace: string): Meaning => ({
  code: 'store_root_unusable',
  remedy: `The namespace ${namespace} is not there: make it (kubectl create namespace ${namespace}), or correct the configuration. Nothing is taken for deleted meanwhile.`,
});

const namespaceEnding = (namespace: string): Meaning => ({
  code: 'store_root_unusable',
  remedy: `The namespace ${namespace} is being deleted: nothing can be made in it any more. Nothing is taken for deleted meanwhile.`,
});

/**
 * That a namespace is not there, or is being deleted, so that nothing can be said of what is in it.
 */
export function namespaceError(store: string, namespace: string, why: 'missing' | 'ending', cause?: unknown) {
  const { code, remedy } = why === 'missing' ? namespaceMissing(namespace) : namespaceEnding(namespace);
  const words = why === 'missing' ? 'is not there' : 'is being deleted';
  const fields = defined({ store, namespace, remedy, ...(why === 'missing' && { missing: true }) });
  return new CodedError(code, `the namespace ${namespace} ${words}`, { fields, ...(cause ? { cause } : {}) });
}

/** The same error with what mends it. */
export function remedied({ code, message, fields, cause }: CodedError, remedy: string): CodedError {
  return new CodedError(code, message, { cause, fields: { ...fields, remedy } });
}
