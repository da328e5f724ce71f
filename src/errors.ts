/**
 * The one registry of coded errors. Everything known about a failure stands in its entry, and the rest of the program asks the
 * entry: nothing matches on message text.
 */

/** What one kind of failure means to each part of the program. */
interface ErrorEntry {
  /** HTTP status with which the receiver or the instance answers when this reaches a request. */
  readonly status: number;
  /** Exit code of the command line when this ends a command: 2 usage, 3 configuration, 4 a service, 5 the table, 6 certificates differ or were refused, 1 anything else. */
  readonly exit: number;
  /** Whether the same attempt may succeed later without a person. */
  readonly retry: boolean;
  /** For a write: whether it may have taken effect all the same. `unknown` sets doubt (see replication/). */
  readonly applied: 'no' | 'unknown';
  /** What a person should do about it. */
  readonly remedy: string;
}

const badNotification = { exit: 1, retry: false, applied: 'no' } as const;
const service = { status: 502, exit: 4 } as const;
const certificate = { status: 400, exit: 6, retry: false, applied: 'no' } as const;
const request = { exit: 1, retry: false, applied: 'no' } as const;
const configuration = { status: 500, exit: 3, retry: false, applied: 'no' } as const;

export const errorRegistry = {
  // Notifications: what arrives at the callback URL.
  notification_malformed: {
    ...badNotification,
    status: 400,
    remedy: 'Send the JSON object {"data": "<compact JWS>"} exactly as the certificate service makes it.',
  },
  notification_not_genuine: {
    ...badNotification,
    status: 401,
    remedy: 'Only notifications signed by the instance that this link is bound to are accepted.',
  },
  notification_foreign: {
    ...badNotification,
    status: 403,
    remedy: 'Register this callback URL only as a channel of the primary of this link.',
  },
  notification_too_large: {
    ...badNotification,
    status: 413,
    remedy: 'Send at most 262144 bytes in one notification.',
  },
  notification_method: { ...badNotification, status: 405, remedy: 'Use POST.' },
  notification_media_type: { ...badNotification, status: 415, remedy: 'Send Content-Type: application/json.' },
  notification_unknown_link: {
    ...badNotification,
    status: 404,
    remedy: 'Use the callback URL of a link in the configuration: /callback/<link>.',
  },
  notification_key_missing: {
    status: 503,
    exit: 4,
    retry: true,
    applied: 'no',
    remedy:
      'The key that verifies has not been fetched yet; the sweep fetches it. Check that the primary can be reached.',
  },

  // Stores: what a certificate service answered, or did not.
  store_unavailable: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: 'Check that the store can be reached from here.',
  },
  store_unanswered: {
    ...service,
    retry: true,
    applied: 'unknown',
    remedy: 'No answer came, so nobody knows yet whether it took effect; it is looked at again.',
  },
  store_limited: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: 'The store limits requests; it is tried again when the store allows.',
  },
  store_unauthorized: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: 'Check the credentials of the store and their role.',
  },
  store_refused: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: 'The store refuses this content or request; read its reason.',
  },
  store_gone: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: 'The certificate is no longer there; it is looked at again.',
  },
  store_conflict: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: 'The store already holds one of this name; it is looked at again and adopted if it carries our mark.',
  },
  store_nonsense: {
    ...service,
    retry: true,
    applied: 'unknown',
    remedy: 'Something that is not the store answered (a proxy?). Check the address of the store.',
  },
  store_content_unreadable: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: 'The store holds something under this id that cannot be read as a certificate.',
  },
  store_holds_other: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: 'After the write the store says that it holds something else; it is looked at again.',
  },
  store_copy_not_ours: {
    ...service,
    retry: false,
    applied: 'no',
    remedy: 'The recorded copy now carries the mark of another certificate; a person must decide what it is.',
  },

  // Certificates: why something is not parsed, or not copied.
  certificate_malformed: { ...certificate, remedy: 'Give PEM: one leaf certificate, its chain, and one private key.' },
  certificate_too_large: {
    ...certificate,
    remedy: 'Give at most 100 KB of PEM for each of certificate, chain and key.',
  },
  certificate_chain_too_long: { ...certificate, remedy: 'Give at most 10 chain certificates.' },
  certificate_key_encrypted: {
    ...certificate,
    remedy: 'Remove the passphrase: openssl pkey -in key.pem -out plain.pem',
  },
  certificate_key_unsupported: { ...certificate, remedy: 'Use an RSA, RSA-PSS, ECDSA or Ed25519 key.' },
  certificate_key_missing: {
    ...certificate,
    remedy: 'Without its private key a copy cannot serve; import the key into the primary.',
  },
  certificate_key_mismatch: { ...certificate, remedy: 'Import the private key that belongs to this certificate.' },
  certificate_expired: { ...certificate, remedy: 'Renew the certificate in the primary.' },
  certificate_chain_broken: {
    ...certificate,
    remedy: 'Import the intermediates that signed this certificate, one above the other.',
  },
  certificate_chain_missing: { ...certificate, remedy: 'Import the certificate together with its intermediates.' },
  certificate_region_forbidden: {
    ...certificate,
    remedy: 'Add the region to policy.regions of the link, or move the store.',
  },

  // The key-value table.
  table_unavailable: {
    status: 503,
    exit: 5,
    retry: true,
    applied: 'unknown',
    remedy: 'Check the table: disk space and permissions, or reachability and rights.',
  },
  table_row_unreadable: {
    status: 500,
    exit: 5,
    retry: false,
    applied: 'no',
    remedy: 'A row of the table cannot be understood. Nothing was changed; was it written by a newer version?',
  },

  // The instance of our own: what its REST API answers.
  instance_unauthorized: {
    ...request,
    status: 401,
    remedy: 'Send Authorization: Bearer <access token>; POST /identity/token gives one for an API key.',
  },
  instance_forbidden: { ...request, status: 403, remedy: 'Use an API key of this instance with the role it takes.' },
  instance_no_route: {
    ...request,
    status: 404,
    remedy: 'Give each CRN as one percent-encoded segment of the path; the paths begin with /api.',
  },
  instance_not_found: { ...request, status: 404, remedy: 'List what is there; it may have been deleted.' },
  instance_method: { ...request, status: 405, remedy: 'Use one of the methods that the header Allow names.' },
  instance_body_too_large: { ...request, status: 413, remedy: 'Send at most 1 MiB in one request.' },
  instance_request_invalid: { ...request, status: 400, remedy: 'Mend the request as the message says.' },
  instance_domains_differ: {
    ...request,
    status: 400,
    remedy: 'Reimport a certificate for the same domains, or import this one as a new certificate.',
  },
  instance_full: { ...request, status: 409, remedy: 'Delete certificates that are not needed, or raise the limit.' },
  instance_limited: { ...request, status: 429, retry: true, remedy: 'Wait as long as Retry-After says.' },
  instance_busy: {
    ...request,
    status: 503,
    retry: true,
    remedy: 'Too many changes of one certificate at once; try again.',
  },
  instance_not_offered: { ...request, status: 501, remedy: 'This instance does not offer that operation yet.' },
  instance_not_delivered: {
    ...request,
    status: 502,
    retry: true,
    applied: 'unknown',
    remedy: 'Check that the endpoint of the channel answers 2xx.',
  },

  // Commands and configuration.
  configuration_invalid: { ...configuration, remedy: 'Mend the configuration file; every mistake is listed.' },
  configuration_missing: {
    ...configuration,
    remedy: 'Give its path with --config. The README shows one to begin with; certstandby up needs none.',
  },
  configuration_link_moved: {
    ...configuration,
    remedy: 'The records of this link belong to another primary. Give the link a new name, or restore its primary.',
  },
  usage: { status: 400, exit: 2, retry: false, applied: 'no', remedy: 'See --help.' },
  internal: {
    status: 500,
    exit: 1,
    retry: false,
    applied: 'unknown',
    remedy: 'This is a fault in certstandby; please report it.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorRegistry;

/** Facts beside the message, for logs and programs. Never secrets. */
export type ErrorFields = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/** A failure with a code of the registry. The message says what was tried and what was found; the remedy stands in the registry. */
export class CodedError extends Error {
  override readonly name = 'CodedError';
  readonly code: ErrorCode;
  readonly fields: ErrorFields;

  constructor(
    code: ErrorCode,
    message: string,
    options: { readonly cause?: unknown; readonly fields?: ErrorFields } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.fields = options.fields ?? {};
  }

  get entry(): ErrorEntry {
    return errorRegistry[this.code];
  }

  /** Milliseconds after which the other side allows the next attempt, if it said so. */
  get retryAfterMs(): number | undefined {
    const value = this.fields.retryAfterMs;
    return typeof value === 'number' ? value : undefined;
  }
}

/** Any thrown thing as a coded error: itself, or `internal` with the thing as its cause. */
export function asCodedError(thrown: unknown): CodedError {
  if (thrown instanceof CodedError) return thrown;
  const text = thrown instanceof Error ? thrown.message : typeof thrown;
  return new CodedError('internal', `unexpected failure: ${text}`, { cause: thrown });
}
