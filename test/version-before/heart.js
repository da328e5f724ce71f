// @ts-nocheck
// Made by make.mjs from commit 8d4a92d33a93767c86395842beda4a6e634002d7: the heart of the version before.


// history:src/errors.ts
var badNotification = { exit: 1, retry: false, applied: "no" };
var service = { status: 502, exit: 4 };
var certificate = { status: 400, exit: 6, retry: false, applied: "no" };
var request = { exit: 1, retry: false, applied: "no" };
var configuration = { status: 500, exit: 3, retry: false, applied: "no" };
var errorRegistry = {
  // Notifications: what arrives at the callback URL.
  notification_malformed: {
    ...badNotification,
    status: 400,
    remedy: 'Send the JSON object {"data": "<compact JWS>"} exactly as the certificate service makes it.'
  },
  notification_not_genuine: {
    ...badNotification,
    status: 401,
    remedy: "Only notifications signed by the instance that this link is bound to are accepted."
  },
  notification_foreign: {
    ...badNotification,
    status: 403,
    remedy: "Register this callback URL only as a channel of the primary of this link."
  },
  notification_too_large: {
    ...badNotification,
    status: 413,
    remedy: "Send at most 262144 bytes in one notification."
  },
  notification_method: { ...badNotification, status: 405, remedy: "Use POST." },
  notification_media_type: { ...badNotification, status: 415, remedy: "Send Content-Type: application/json." },
  notification_unknown_link: {
    ...badNotification,
    status: 404,
    remedy: "Use the callback URL of a link in the configuration: /callback/<link>."
  },
  notification_key_missing: {
    status: 503,
    exit: 4,
    retry: true,
    applied: "no",
    remedy: "The key that verifies has not been fetched yet; the sweep fetches it. Check that the primary can be reached."
  },
  // Stores: what a certificate service answered, or did not.
  store_unavailable: {
    ...service,
    retry: true,
    applied: "no",
    remedy: "Check that the store can be reached from here."
  },
  store_unanswered: {
    ...service,
    retry: true,
    applied: "unknown",
    remedy: "No answer came, so nobody knows yet whether it took effect; it is looked at again."
  },
  store_limited: {
    ...service,
    retry: true,
    applied: "no",
    remedy: "The store limits requests; it is tried again when the store allows."
  },
  store_unauthorized: {
    ...service,
    retry: true,
    applied: "no",
    remedy: "Check the credentials of the store and their role."
  },
  store_refused: {
    ...service,
    retry: true,
    applied: "no",
    remedy: "The store refuses this content or request; read its reason."
  },
  store_gone: {
    ...service,
    retry: true,
    applied: "no",
    remedy: "The certificate is no longer there; it is looked at again."
  },
  store_conflict: {
    ...service,
    retry: true,
    applied: "no",
    remedy: "The store already holds one of this name; it is looked at again and adopted if it carries our mark."
  },
  store_nonsense: {
    ...service,
    retry: true,
    applied: "unknown",
    remedy: "Something that is not the store answered (a proxy?). Check the address of the store."
  },
  store_content_unreadable: {
    ...service,
    retry: true,
    applied: "no",
    remedy: "The store holds something under this id that cannot be read as a certificate."
  },
  store_holds_other: {
    ...service,
    retry: true,
    applied: "no",
    remedy: "After the write the store says that it holds something else; it is looked at again."
  },
  store_copy_not_ours: {
    ...service,
    retry: false,
    applied: "no",
    remedy: "The recorded copy now carries the mark of another certificate; a person must decide what it is."
  },
  channel_missing: {
    ...service,
    retry: false,
    applied: "no",
    remedy: "Have the primary notify <address>/callback/<link>: certstandby doctor --register <address>"
  },
  // Certificates: why something is not parsed, or not copied.
  certificate_malformed: { ...certificate, remedy: "Give PEM: one leaf certificate, its chain, and one private key." },
  certificate_too_large: {
    ...certificate,
    remedy: "Give at most 100 KB of PEM for each of certificate, chain and key."
  },
  certificate_chain_too_long: { ...certificate, remedy: "Give at most 10 chain certificates." },
  certificate_key_encrypted: {
    ...certificate,
    remedy: "Remove the passphrase: openssl pkey -in key.pem -out plain.pem"
  },
  certificate_key_unsupported: { ...certificate, remedy: "Use an RSA, RSA-PSS, ECDSA or Ed25519 key." },
  certificate_key_missing: {
    ...certificate,
    remedy: "Without its private key a copy cannot serve; import the key into the primary."
  },
  certificate_key_mismatch: { ...certificate, remedy: "Import the private key that belongs to this certificate." },
  certificate_expired: { ...certificate, remedy: "Renew the certificate in the primary." },
  certificate_chain_broken: {
    ...certificate,
    remedy: "Import the intermediates that signed this certificate, one above the other."
  },
  certificate_chain_missing: { ...certificate, remedy: "Import the certificate together with its intermediates." },
  certificate_region_forbidden: {
    ...certificate,
    remedy: "Add the region to policy.regions of the link, or move the store."
  },
  // The key-value table.
  table_unavailable: {
    status: 503,
    exit: 5,
    retry: true,
    applied: "unknown",
    remedy: "Check the table: disk space and permissions, or reachability and rights."
  },
  table_row_unreadable: {
    status: 500,
    exit: 5,
    retry: false,
    applied: "no",
    remedy: "A row of the table cannot be understood. Nothing was changed; was it written by a newer version?"
  },
  // Keys: root keys, data keys, and what is sealed with them.
  keys_unavailable: {
    status: 503,
    exit: 4,
    retry: true,
    applied: "no",
    remedy: "Check that the root key service can be reached from here; it is asked again."
  },
  keys_refused: {
    status: 503,
    exit: 4,
    retry: false,
    applied: "no",
    remedy: "Check that the root key is enabled, and that these credentials may wrap and unwrap with it."
  },
  keys_unreadable: {
    status: 500,
    exit: 5,
    retry: false,
    applied: "no",
    remedy: "A data key does not open under this root key. Put back the root key that wrapped it, or make it again: certstandby instance recover-root-key"
  },
  sealed_unreadable: {
    status: 500,
    exit: 5,
    retry: false,
    applied: "no",
    remedy: "A sealed value was damaged, moved or made elsewhere. Put it back from a backup, or from the primary."
  },
  keys_file_missing: {
    status: 503,
    exit: 3,
    retry: false,
    applied: "no",
    remedy: "Put the root key file back, or make it again from its recovery text."
  },
  keys_file_exposed: {
    status: 503,
    exit: 3,
    retry: false,
    applied: "no",
    remedy: "Others may have read the root key. Make it yours alone (chmod 600), and change to a new root key if in doubt."
  },
  keys_file_unusable: {
    status: 503,
    exit: 3,
    retry: false,
    applied: "no",
    remedy: "Put the root key file back as it was, or make it again from its recovery text."
  },
  keys_recovery_text_wrong: {
    status: 400,
    exit: 2,
    retry: false,
    applied: "no",
    remedy: "Type the recovery text again, as it was shown when the root key was made."
  },
  // Drills: reports and the key that signs them.
  drill_report_unreadable: {
    ...request,
    status: 400,
    exit: 2,
    remedy: "Give a report as certstandby drill has written it: the .json file, not the page."
  },
  drill_report_changed: {
    ...request,
    status: 400,
    exit: 6,
    remedy: "Trust nothing in it. Find the report where it was first written, or drill again."
  },
  drill_key_unusable: { ...configuration, remedy: "Mend the folder of reports (drill.folder) or its signing.key." },
  // The instance of our own: what its REST API answers.
  instance_unauthorized: {
    ...request,
    status: 401,
    remedy: "Send Authorization: Bearer <access token>; POST /identity/token gives one for an API key."
  },
  instance_forbidden: { ...request, status: 403, remedy: "Use an API key of this instance with the role it takes." },
  instance_no_route: {
    ...request,
    status: 404,
    remedy: "Give each CRN as one percent-encoded segment of the path; the paths begin with /api."
  },
  instance_not_found: { ...request, status: 404, remedy: "List what is there; it may have been deleted." },
  instance_method: { ...request, status: 405, remedy: "Use one of the methods that the header Allow names." },
  instance_body_too_large: { ...request, status: 413, remedy: "Send at most 1 MiB in one request." },
  instance_request_invalid: { ...request, status: 400, remedy: "Mend the request as the message says." },
  instance_domains_differ: {
    ...request,
    status: 400,
    remedy: "Reimport a certificate for the same domains, or import this one as a new certificate."
  },
  instance_full: { ...request, status: 409, remedy: "Delete certificates that are not needed, or raise the limit." },
  instance_limited: { ...request, status: 429, retry: true, remedy: "Wait as long as Retry-After says." },
  instance_busy: {
    ...request,
    status: 503,
    retry: true,
    remedy: "Too many changes of one certificate at once; try again."
  },
  instance_not_private: {
    ...configuration,
    remedy: "Give it a certificate of its own (--tls-certificate, --tls-key), or say --behind-proxy if something in front of it ends TLS, or let it listen on 127.0.0.1."
  },
  instance_content_unreadable: {
    status: 500,
    exit: 6,
    retry: false,
    applied: "no",
    remedy: "The certificate is there, and what was sealed for it does not open: it was changed, moved, or sealed with other keys. Reimport it."
  },
  instance_not_configured: {
    ...request,
    status: 501,
    remedy: "Give certstandby instance run the ACME directory that issued the certificate, or another one (--acme-directory)."
  },
  instance_not_ordered: {
    ...request,
    status: 400,
    remedy: "Reimport it with a renewed certificate; only what was ordered here is renewed here."
  },
  instance_not_issued: {
    ...request,
    status: 409,
    remedy: "Look at status and issuance_info: wait while it is pending; if it failed, mend the reason and renew it."
  },
  instance_order_running: {
    ...request,
    status: 409,
    remedy: "Wait until issuance_info says valid or failed, 20 minutes at the most."
  },
  order_still_running: {
    status: 503,
    exit: 130,
    retry: false,
    applied: "unknown",
    remedy: "Do not order it again: a second order gives a second certificate. Look with certstandby instance certificates."
  },
  instance_order_over: { ...request, status: 409, remedy: "Look at issuance_info: the order has ended already." },
  instance_order_lost: {
    ...request,
    status: 409,
    remedy: "Nobody works on it any more. Renew it, or order it, again."
  },
  instance_reimported: {
    ...request,
    status: 409,
    remedy: "What was reimported stays in force. Renew it again if the authority is to replace it."
  },
  // Certificate authorities: why an order or a renewal failed. They stand in issuance_info and in cert_order_failed, cert_renew_failed.
  acme_unavailable: {
    ...service,
    retry: true,
    applied: "unknown",
    remedy: "Check that the ACME directory can be reached from here, and that its certificate is trusted."
  },
  acme_limited: {
    ...service,
    retry: true,
    applied: "no",
    remedy: "The certificate authority limits orders. Wait as long as it says, and renew or order then."
  },
  acme_refused: {
    ...service,
    retry: false,
    applied: "no",
    remedy: "The certificate authority refuses this order; read its reason (domain, CAA record, account)."
  },
  acme_challenge_failed: {
    ...service,
    retry: false,
    applied: "no",
    remedy: "The record was published, and the authority found something else. Do all name servers of the domain agree?"
  },
  acme_challenge_unpublished: {
    ...service,
    retry: false,
    applied: "no",
    remedy: "Nobody published the record in time. Check the DNS hook, or what answers cert_domain_validation_required, and --dns-server."
  },
  acme_no_publisher: {
    ...service,
    retry: false,
    applied: "no",
    remedy: "Give certstandby instance run a DNS hook (--dns-hook), or make a url channel of version 4 or 5 that publishes the records."
  },
  acme_hook_failed: {
    ...service,
    retry: true,
    applied: "unknown",
    remedy: "Run the DNS hook by hand: <hook> add _acme-challenge.<domain> <value>. It must exit with 0 within its time. What it said on stderr is in the log of the server (instance_dns_hook_failed)."
  },
  acme_certificate_wrong: {
    ...service,
    retry: false,
    applied: "no",
    remedy: "What the authority issued was not taken; what was there before stays. Look at the cause, and ask the authority."
  },
  acme_overdue: {
    ...service,
    retry: false,
    applied: "no",
    remedy: "The authority did not finish the order in 20 minutes. Renew or order it again later."
  },
  instance_deleted: {
    ...request,
    status: 404,
    remedy: "Bring it back within seven days after it was deleted: certstandby instance reclaim --instance <crn>"
  },
  instance_erased: {
    ...request,
    status: 409,
    remedy: "What was erased does not come back. Make a new instance, or restore into another folder if that is what you want."
  },
  instance_not_empty: {
    ...request,
    status: 409,
    remedy: "Nothing that was there was changed. Restore into a folder or a table that does not have this instance."
  },
  snapshot_unknown: {
    ...request,
    status: 400,
    exit: 2,
    remedy: "Give a file that certstandby instance snapshot has written, to a version that knows its format."
  },
  snapshot_damaged: {
    ...request,
    status: 400,
    exit: 6,
    remedy: "Nothing was changed. Use another snapshot; one that was cut short or changed is never taken in part."
  },
  instance_endpoint_forbidden: {
    ...request,
    status: 400,
    remedy: "Give the channel an endpoint on the public Internet, or let the instance have channels on this machine or in private networks."
  },
  // Commands about instances, and the folder that they lie in.
  instances_missing: {
    ...configuration,
    remedy: "Give the folder with --folder (doctor: --instances), or make one with certstandby instance create."
  },
  instances_settings_invalid: {
    ...configuration,
    remedy: "Mend the option, or what instances.json in the folder says; every mistake is listed."
  },
  instances_unsound: {
    ...certificate,
    remedy: "Where a data key does not open, put back the root key that wrapped it (certstandby instance recover-root-key), or rewrap; where one certificate does not, reimport it."
  },
  // Commands and configuration.
  configuration_invalid: { ...configuration, remedy: "Mend the configuration file; every mistake is listed." },
  configuration_missing: {
    ...configuration,
    remedy: "Give its path with --config. The README shows one to begin with; certstandby up needs none."
  },
  receiver_not_private: {
    ...configuration,
    remedy: "Write serve: { tls: { certificate: <file>, key: <file> } }, or serve: { behindProxy: true } if something in front of it ends TLS, or receiver: { host: 127.0.0.1 }."
  },
  tls_unusable: {
    ...configuration,
    remedy: "Give PEM files that belong together: the certificate followed by its chain, and its private key."
  },
  configuration_link_moved: {
    ...configuration,
    remedy: "The records of this link belong to another primary. If that one is lost: certstandby restore. If you are going home: certstandby failback. Else put it back into the configuration, or give the link a new name."
  },
  // Secrets that the configuration names by reference, read when they are needed.
  secret_unreadable: {
    ...configuration,
    remedy: "Put the secret where the configuration says it is, and let this role or user read it."
  },
  secret_unavailable: {
    status: 503,
    exit: 4,
    retry: true,
    applied: "no",
    remedy: "Check that the service that keeps the secret can be reached from here; it is asked again."
  },
  // Waking workers.
  dispatch_unavailable: {
    status: 503,
    exit: 4,
    retry: true,
    applied: "unknown",
    remedy: "Nothing is lost: what must be looked at is in the table, and the sweep wakes it within a minute. Check the queue, and the right to send to it."
  },
  dispatch_malformed: {
    ...request,
    status: 400,
    remedy: "Something else than certstandby sends to its queue. Look at the message in the dead letter queue, and at who may send."
  },
  // Reconcile, verify and adopt.
  reconcile_running: {
    status: 503,
    exit: 1,
    retry: true,
    applied: "no",
    remedy: "Wait until it has ended. If its process died, it counts as ended a few minutes later."
  },
  reconcile_out_of_time: {
    status: 503,
    exit: 1,
    retry: true,
    applied: "no",
    remedy: "What was asked for stays asked for. Raise the limit of requests of the stores, or run certstandby reconcile on a machine, with the same configuration."
  },
  reconcile_brake: {
    ...certificate,
    remedy: "Look at certstandby reconcile --plan. If that is what you want: certstandby reconcile --apply <plan>, or --yes-change <number>."
  },
  reconcile_plan_changed: {
    ...certificate,
    remedy: "Look at the new plan with certstandby reconcile --plan, and apply that one."
  },
  restore_refused: {
    ...certificate,
    remedy: "Nothing was changed. See certstandby restore --help, or certstandby failback --help."
  },
  // Archives: download and import.
  archive_exists: { ...request, status: 409, remedy: "Give another path, or remove what stands there." },
  archive_unusable: { ...request, status: 400, remedy: "Check the path, its rights, and the room left on the disk." },
  archive_damaged: {
    ...request,
    status: 400,
    remedy: "Nothing was imported. Use another copy of the archive; one that was cut or changed is never taken in part."
  },
  archive_unknown: {
    ...request,
    status: 400,
    remedy: "Give an age file, a .p12 file or a folder of them, a folder of PEM files, or a zip of them."
  },
  archive_passphrase_wrong: {
    ...request,
    status: 400,
    remedy: "Nothing was imported. Give the passphrase (--passphrase-file) or the identity (--identity) of this archive."
  },
  archive_unsupported: {
    ...request,
    status: 400,
    remedy: "Make the file again with AES-256 and SHA-256: openssl pkcs12 -in old.p12 -nodes | openssl pkcs12 -export -out new.p12"
  },
  archive_conflict: {
    ...certificate,
    remedy: "Nothing was imported. Give --replace to replace what the store holds, or name the certificates that are to be imported."
  },
  adopt_refused: { ...certificate, remedy: "Nothing was changed. See certstandby adopt --help." },
  usage: { status: 400, exit: 2, retry: false, applied: "no", remedy: "See --help." },
  interrupted: {
    status: 503,
    exit: 130,
    retry: true,
    applied: "unknown",
    remedy: "Nothing is lost and nothing is doubled. Run the same command again: it goes on where it stopped."
  },
  internal: {
    status: 500,
    exit: 1,
    retry: false,
    applied: "unknown",
    remedy: "This is a fault in certstandby; please report it."
  }
};
var CodedError = class extends Error {
  name = "CodedError";
  code;
  fields;
  constructor(code, message, options = {}) {
    super(message, options.cause === void 0 ? void 0 : { cause: options.cause });
    this.code = code;
    this.fields = options.fields ?? {};
  }
  get entry() {
    return errorRegistry[this.code];
  }
  /** Milliseconds after which the other side allows the next attempt, if it said so. */
  get retryAfterMs() {
    const value = this.fields.retryAfterMs;
    return typeof value === "number" ? value : void 0;
  }
};
function asCodedError(thrown) {
  if (thrown instanceof CodedError) return thrown;
  const text = thrown instanceof Error ? thrown.message : typeof thrown;
  return new CodedError("internal", `unexpected failure: ${text}`, { cause: thrown });
}

// history:src/records/idempotency-records.ts
function idempotencyRecords(table) {
  const keyOf2 = (link, digest) => ({
    partition: `notification.1/${link}/${digest}`,
    sort: "seen"
  });
  return {
    /** Remembers the notification for `keepMs`; whether it is new. */
    async remember(options) {
      const outcome = await table.putIfAbsent(keyOf2(options.link, options.digest), {
        type: options.type,
        seenAt: options.now,
        expiresAt: Math.ceil((options.now + options.keepMs) / 1e3)
      });
      return outcome.applied;
    },
    /** Forgets it, so that the sender's next try counts as new. */
    async forget(link, digest) {
      await table.delete(keyOf2(link, digest));
    }
  };
}

// history:src/records/reconcile-records.ts
import * as z from "zod/mini";
var failure = z.object({ at: z.number(), code: z.string(), message: z.string(), store: z.optional(z.string()) });
var stateSchema = z.object({
  token: z._default(z.number(), 0),
  until: z.optional(z.number()),
  owner: z.optional(z.string()),
  startedAt: z.optional(z.number()),
  step: z.optional(z.string()),
  done: z.optional(z.number()),
  completedAt: z.optional(z.number()),
  tookMs: z.optional(z.number()),
  listed: z.optional(z.number()),
  included: z.optional(z.number()),
  unmarked: z.optional(z.number()),
  notListed: z.optional(z.array(z.string())),
  stoppedAt: z.optional(z.number()),
  failure: z.optional(failure),
  brake: z.optional(
    z.object({
      at: z.number(),
      changing: z.number(),
      vanishing: z.number(),
      copied: z.number(),
      allowed: z.number()
    })
  )
});
var verifySchema = z.object({
  startedAt: z.number(),
  completedAt: z.number(),
  certificates: z.number(),
  /** How many of each state, over certificates and backups. */
  counts: z.record(z.string(), z.number()),
  /** Copies whose key the service does not give back: compared without it. */
  withoutKeys: z.number(),
  problems: z.number(),
  /** The first of them, in words. */
  examples: z.array(z.string())
});
var drillSchema = z.object({
  completedAt: z.number(),
  kept: z.number(),
  served: z.number(),
  failed: z.number(),
  /** Backups that could not be drilled. */
  notDrilled: z.number(),
  /** The first failures, in words. */
  examples: z.array(z.string())
});
function reconcileRecords(table) {
  const keyOf2 = (link) => ({ partition: "reconcile.1", sort: link });
  const verifyKeyOf = (link) => ({ partition: "verify.1", sort: link });
  const drillKeyOf = (link) => ({ partition: "drill.1", sort: link });
  function parse(schema, link, row) {
    const parsed = schema.safeParse(row);
    if (parsed.success) return parsed.data;
    const damaged = parsed.error.issues.map((issue) => issue.path.join("."));
    throw new CodedError("table_row_unreadable", `what is kept of the reconciles of link ${link} is damaged`, {
      fields: { link, damaged }
    });
  }
  async function reconcileState(link) {
    const row = await table.get(keyOf2(link));
    return row === void 0 ? { token: 0 } : parse(stateSchema, link, row);
  }
  const held = (token) => ({
    all: [{ field: "token", is: "=", to: token }, { exists: "until" }]
  });
  return {
    reconcileState,
    /**
     * Takes the link's reconcile for `owner`. Answers its token, or who has it. One whose owner died is free again once its lease
     * and the allowed skew have passed; at once, if it is the one of token `instead`, whose owner is known to be dead.
     */
    async beginReconcile(link, lease) {
      const { owner, now, until, skewMs, instead } = lease;
      const outcome = await table.update(
        keyOf2(link),
        { add: { token: 1 }, set: { until, owner, startedAt: now, step: "comparing", done: 0 } },
        {
          any: [
            { absent: "until" },
            { field: "until", is: "<", to: now - skewMs },
            ...instead === void 0 ? [] : [{ field: "token", is: "=", to: instead }]
          ]
        }
      );
      if (!outcome.applied) return { running: parse(stateSchema, link, outcome.row) };
      return { token: parse(stateSchema, link, outcome.row).token };
    },
    /** Notes how far it is and prolongs the lease. Answers whether it is still held. */
    async keepReconcile(link, token, progress) {
      return (await table.update(keyOf2(link), { set: progress }, held(token))).applied;
    },
    /** Gives it back, with how it ended: completed, failed, or stopped by the brake or by a person. */
    async endReconcile(link, token, end) {
      const gone = ["until", "owner", "step", "done"];
      if ("completed" in end) {
        const set = { ...end.completed, completedAt: end.startedAt };
        await table.update(keyOf2(link), { set, remove: [...gone, "failure", "brake", "stoppedAt"] }, held(token));
      } else {
        const set = "failure" in end ? { failure: { ...end.failure } } : "released" in end ? {} : { ...end };
        await table.update(keyOf2(link), { set, remove: gone }, held(token));
      }
    },
    async saveVerify(link, summary) {
      await table.update(verifyKeyOf(link), { set: { ...summary } });
    },
    async saveDrill(link, summary) {
      await table.update(drillKeyOf(link), { set: { ...summary } });
    },
    /** What the last drill came to; `undefined` if there was none. */
    async lastDrill(link) {
      const row = await table.get(drillKeyOf(link));
      return row && parse(drillSchema, link, row);
    },
    /** What the last verify that came to its end found; `undefined` if there was none. */
    async lastVerify(link) {
      const row = await table.get(verifyKeyOf(link));
      return row && parse(verifySchema, link, row);
    }
  };
}

// history:src/records/link-records.ts
function moved(link, configured, recorded2) {
  return new CodedError("configuration_link_moved", `the records of link ${link} belong to another primary`, {
    fields: { link, configured, recorded: String(recorded2) }
  });
}
function linkRecords(table) {
  const keyOf2 = (link) => ({ partition: "link.1", sort: link });
  const homeKeyOf = (link, { store, certificate: certificate2 }) => ({
    partition: `restored.1/${link}`,
    sort: `${store} ${certificate2}`
  });
  const verificationKeyOf = (link) => ({ partition: "verification-key.1", sort: link });
  async function bindingOf(link) {
    const row = await table.get(keyOf2(link)) ?? {};
    const { primary, former, turning } = row;
    const reconciled = /* @__PURE__ */ new Map();
    for (const [field, value] of Object.entries(row)) {
      if (field.startsWith("reconciled/") && typeof value === "number")
        reconciled.set(field.slice("reconciled/".length), value);
    }
    return {
      ...typeof primary === "string" ? { primary } : {},
      former: Array.isArray(former) ? former.filter((store) => typeof store === "string") : [],
      turning: turning === true,
      reconciled
    };
  }
  return {
    ...reconcileRecords(table),
    /** Binds the link's records to this primary. Throws `configuration_link_moved` if they belong to another one. */
    async bind(link, primary) {
      const outcome = await table.update(
        keyOf2(link),
        { set: { primary } },
        { any: [{ absent: "primary" }, { field: "primary", is: "=", to: primary }] }
      );
      if (!outcome.applied) throw moved(link, primary, outcome.row?.primary);
    },
    bindingOf,
    /** When each backup completed its first reconcile, by store id. */
    reconciled: async (link) => (await bindingOf(link)).reconciled,
    /** The primary that the link's records belong to; `undefined` before the first start. */
    boundTo: async (link) => (await bindingOf(link)).primary,
    /**
     * Points the link at another primary. What was known of the old one is no longer true: when its backups were compared, and the key
     * of its notifications. Until `turned`, records of the old direction may still be there. Throws `configuration_link_moved` if
     * somebody else has turned it meanwhile.
     */
    async turn(link, { primary: from, former }, to) {
      const row = await table.get(keyOf2(link));
      const compared = Object.keys(row ?? {}).filter((field) => field.startsWith("reconciled/"));
      const formers = new Set([...former, ...from === void 0 ? [] : [from]].filter((store) => store !== to));
      const outcome = await table.update(
        keyOf2(link),
        {
          set: { primary: to, former: [...formers], turning: true },
          remove: [...compared, "lastReconcileAt", "firstReconcileAt"]
        },
        from === void 0 ? { absent: "primary" } : { field: "primary", is: "=", to: from }
      );
      if (!outcome.applied) throw moved(link, to, outcome.row?.primary);
      await table.delete(verificationKeyOf(link));
    },
    /** No record of the old direction is left. */
    async turned(link) {
      await table.update(keyOf2(link), { remove: ["turning"] });
    },
    /** Whether a restore of the link ended before its end, and when, if it could still say so (epoch milliseconds). */
    async unfinishedRestore(link) {
      const { restoring, restoreStoppedAt: at } = await table.get(keyOf2(link)) ?? {};
      if (restoring !== true) return void 0;
      return typeof at === "number" ? { stoppedAt: at } : {};
    },
    /** Notes that a restore is under way, that it was stopped at a moment, or that it is done. */
    async noteRestore(link, how) {
      if (how === "done") await table.update(keyOf2(link), { remove: ["restoring", "restoreStoppedAt"] });
      else if (how === "begun")
        await table.update(keyOf2(link), { set: { restoring: true }, remove: ["restoreStoppedAt"] });
      else await table.update(keyOf2(link), { set: { restoreStoppedAt: how.stoppedAt } });
    },
    /** Where a certificate came from when it was moved to the primary it is in now; `undefined` if it was not. */
    async homeOf(link, now) {
      const row = await table.get(homeKeyOf(link, now));
      const { store, certificate: certificate2 } = row ?? {};
      return typeof store === "string" && typeof certificate2 === "string" ? { store, certificate: certificate2 } : void 0;
    },
    /** Writes down where a certificate is now, and where it was: the map of old ids to new ones, and the way home. */
    async saveHome(link, now, before) {
      await table.update(homeKeyOf(link, now), { set: { store: before.store, certificate: before.certificate } });
    },
    /** When the last successful reconcile began; `undefined` before the first. */
    async lastReconcileAt(link) {
      const row = await table.get(keyOf2(link));
      return typeof row?.lastReconcileAt === "number" ? row.lastReconcileAt : void 0;
    },
    /**
     * Since when the next reconcile is awaited: when the last successful one began, or, before the first, when somebody first asked,
     * which is noted.
     */
    async reconcileAwaitedSince(link, now) {
      const last = await this.lastReconcileAt(link);
      if (last !== void 0) return last;
      const { row } = await table.update(keyOf2(link), { set: { awaitedSince: now } }, { absent: "awaitedSince" });
      return typeof row?.awaitedSince === "number" ? row.awaitedSince : now;
    },
    /** Notes a completed reconcile of these backups, and that it was one. */
    async noteReconciled(link, backups, at) {
      const set = Object.fromEntries(backups.map((backup) => [`reconciled/${backup}`, at]));
      await table.update(keyOf2(link), { set: { ...set, lastReconcileAt: at } });
      await table.update(keyOf2(link), { set: { firstReconcileAt: at } }, { absent: "firstReconcileAt" });
    },
    /** When the link completed its first reconcile; `undefined` if it has not, or before that was kept. */
    async firstReconciledAt(link) {
      const at = (await table.get(keyOf2(link)))?.firstReconcileAt;
      return typeof at === "number" ? at : void 0;
    },
    /** PEM of the public key that verifies the primary's notifications, if it has been fetched. */
    async verificationKey(link) {
      const row = await table.get(verificationKeyOf(link));
      return typeof row?.pem === "string" ? row.pem : void 0;
    },
    async saveVerificationKey(link, pem, now) {
      await table.update(verificationKeyOf(link), { set: { pem, fetchedAt: now } });
    }
  };
}

// history:src/records/replication-record.ts
import * as z2 from "zod/mini";
var errorCode = z2.pipe(
  z2.string(),
  z2.transform((code) => Object.hasOwn(errorRegistry, code) ? code : "internal")
);
var recordedError = z2.object({ code: errorCode, message: z2.string(), at: z2.number() });
var rowSchema = z2.object({
  requested: z2.number(),
  wakeAt: z2.optional(z2.number()),
  eventAt: z2.optional(z2.number()),
  occurredAt: z2.optional(z2.number()),
  doubt: z2.optional(z2.number()),
  removalAskedAt: z2.optional(z2.number()),
  replicated: z2.number(),
  leaseToken: z2.number(),
  leaseUntil: z2.optional(z2.number()),
  leaseOwner: z2.optional(z2.string()),
  attempts: z2._default(z2.number(), 0),
  notBefore: z2.optional(z2.number()),
  lastError: z2.optional(recordedError),
  absentSince: z2.optional(z2.number()),
  aside: z2.optional(z2.enum(["keyless", "excluded", "marked"])),
  refusal: z2.optional(
    z2.object({
      code: errorCode,
      facts: z2.string(),
      byPolicy: z2.optional(z2.boolean()),
      revision: z2.optional(z2.string()),
      listedFacts: z2.optional(z2.string()),
      since: z2.number(),
      looks: z2.number()
    })
  ),
  primary: z2.optional(
    z2.object({
      name: z2.string(),
      fingerprint: z2.string(),
      metadataDigest: z2.string(),
      revision: z2.optional(z2.string()),
      listedFacts: z2.string(),
      notAfter: z2.optional(z2.number()),
      changedAt: z2.number(),
      changedAtFrom: z2.enum(["last-modified", "event", "acknowledged"]),
      lookedAt: z2.number()
    })
  ),
  backups: z2._default(
    z2.array(
      z2.object({
        store: z2.string(),
        id: z2.optional(z2.string()),
        fingerprint: z2.optional(z2.string()),
        metadataDigest: z2.optional(z2.string()),
        revision: z2.optional(z2.string()),
        replicatedAt: z2.optional(z2.number()),
        retainedAt: z2.optional(z2.number()),
        attempts: z2.number(),
        notBefore: z2.optional(z2.number()),
        lastError: z2.optional(recordedError)
      })
    ),
    []
  )
});
function parseReplicationRecord(link, certificate2, row) {
  const parsed = rowSchema.safeParse(row);
  if (!parsed.success) {
    const fields = parsed.error.issues.map((issue) => issue.path.join("."));
    throw new CodedError(
      "table_row_unreadable",
      `the replication record of ${certificate2} of link ${link} is damaged`,
      {
        fields: { link, certificate: certificate2, damaged: fields }
      }
    );
  }
  return { link, certificate: certificate2, ...parsed.data };
}

// history:src/records/replication-records.ts
var noLeaseHolderFields = {
  attempts: void 0,
  notBefore: void 0,
  lastError: void 0,
  absentSince: void 0,
  aside: void 0,
  refusal: void 0,
  primary: void 0,
  backups: void 0
};
var partitionOf = (link) => `replication.1/${link}`;
var keyOf = (link, certificate2) => ({ partition: partitionOf(link), sort: certificate2 });
function replicationRecords(table) {
  const parse = (row) => parseReplicationRecord(row.partition.slice(partitionOf("").length), row.sort, row);
  async function get(link, certificate2) {
    const row = await table.get(keyOf(link, certificate2));
    return row && parse(row);
  }
  async function ask(request2) {
    const { link, certificate: certificate2, now, eventAt, occurredAt, doubt, removalAskedAt } = request2;
    await table.update(keyOf(link, certificate2), {
      add: { requested: 1, replicated: 0, leaseToken: 0 },
      set: defined({ wakeAt: now, eventAt, occurredAt, doubt, removalAskedAt }),
      // A notification without a time of its own says nothing about when it happened; an older one's word would be wrong.
      ...eventAt !== void 0 && occurredAt === void 0 ? { remove: ["occurredAt"] } : {}
    });
  }
  async function claim(options) {
    const { now } = options;
    const key = keyOf(options.link, options.certificate);
    const due2 = {
      all: [
        {
          any: [
            { field: "requested", is: ">", to: { fieldOf: "replicated" } },
            { field: "wakeAt", is: "<=", to: now }
          ]
        },
        { any: [{ absent: "notBefore" }, { field: "notBefore", is: "<=", to: now }] }
      ]
    };
    const lease = {
      add: { leaseToken: 1 },
      set: { leaseUntil: options.leaseUntil, leaseOwner: options.owner }
    };
    const free = await table.update(key, lease, { all: [due2, { absent: "leaseUntil" }] });
    if (free.applied) return { claimed: true, record: parse(free.row) };
    const holder = free.row && parse(free.row);
    if (holder?.leaseUntil === void 0 || holder.leaseUntil + options.skewMs >= now)
      return { claimed: false, record: holder };
    const doubt = Math.max(options.doubt, holder.doubt ?? 0);
    const takenOver = await table.update(
      key,
      { ...lease, set: { ...lease.set, doubt } },
      {
        all: [due2, { field: "leaseToken", is: "=", to: holder.leaseToken }, { exists: "leaseUntil" }, doubtUpTo(doubt)]
      }
    );
    return takenOver.applied ? { claimed: true, record: parse(takenOver.row) } : { claimed: false, record: takenOver.row && parse(takenOver.row) };
  }
  async function commit(commit2) {
    const key = keyOf(commit2.link, commit2.certificate);
    const held = [{ field: "leaseToken", is: "=", to: commit2.token }, { exists: "leaseUntil" }];
    const done = changeOf({
      ...noLeaseHolderFields,
      ...commit2.fields,
      replicated: commit2.seen,
      leaseUntil: void 0,
      leaseOwner: void 0,
      // A permission is for one pass.
      removalAskedAt: void 0
    });
    const unmoved = await table.update(
      key,
      mergeChanges(done, changeOf({ doubt: commit2.doubt, wakeAt: commit2.wakeAt })),
      { all: [...held, { field: "requested", is: "=", to: commit2.seen }] }
    );
    if (unmoved.applied) return "committed";
    const { doubt } = commit2;
    if (doubt !== void 0) {
      const raised = await table.update(key, mergeChanges(done, { set: { doubt } }), {
        all: [...held, doubtUpTo(doubt)]
      });
      if (raised.applied) return "moved";
    }
    const moved2 = await table.update(key, done, { all: held });
    return moved2.applied ? "moved" : "refused";
  }
  async function due(link, until, limit) {
    const page = await table.queryIndex({ partition: partitionOf(link), until, limit });
    return page.rows.map((row) => row.sort);
  }
  async function dueSince(link, until) {
    const { rows } = await table.queryIndex({ partition: partitionOf(link), until, limit: 1 });
    const at = rows[0]?.wakeAt;
    return typeof at === "number" ? at : void 0;
  }
  async function* all(link) {
    let cursor;
    do {
      const page = await table.query({
        partition: partitionOf(link),
        limit: 500,
        ...cursor === void 0 ? {} : { cursor }
      });
      for (const row of page.rows) yield parse(row);
      cursor = page.cursor;
    } while (cursor !== void 0);
  }
  async function forget(link, certificate2) {
    await table.delete(keyOf(link, certificate2));
  }
  return { get, ask, claim, commit, due, dueSince, all, forget };
}
function changeOf(fields) {
  const remove = Object.keys(fields).filter((name) => fields[name] === void 0);
  return { set: defined(fields), remove };
}
function mergeChanges(a, b) {
  return { set: { ...a.set, ...b.set }, remove: [...a.remove ?? [], ...b.remove ?? []] };
}
function defined(fields) {
  return JSON.parse(JSON.stringify(fields));
}
function doubtUpTo(doubt) {
  return { any: [{ absent: "doubt" }, { field: "doubt", is: "<=", to: doubt }] };
}

// history:src/log.ts
function errorFields(error) {
  const cause = error.cause instanceof Error ? error.cause.code ?? error.cause.name : void 0;
  return { ...error.fields, code: error.code, message: error.message, cause };
}

// history:src/replication/acknowledge.ts
async function acknowledge(intake, link, event) {
  const { records, notifications, runtime, timing } = intake;
  const now = runtime.now();
  const occurredAt = event.occurredAt === void 0 ? void 0 : Math.min(event.occurredAt, now);
  const certificates = event.certificates.map(({ id }) => id);
  const remembering = notifications.remember({
    link,
    digest: event.digest,
    type: event.type,
    now,
    keepMs: timing.notificationKeepMs
  });
  const asking = certificates.map(
    (certificate2) => records.ask({ link, certificate: certificate2, now, eventAt: now, ...occurredAt === void 0 ? {} : { occurredAt } })
  );
  const [remembered, ...asked] = await Promise.allSettled([remembering, ...asking]);
  const failed = [remembered, ...asked].find((result) => result.status === "rejected");
  if (failed?.status === "rejected") {
    await notifications.forget(link, event.digest).catch(() => void 0);
    throw asCodedError(failed.reason);
  }
  const isNew = remembered.status === "fulfilled" && remembered.value;
  if (isNew) await wake(intake, link, certificates);
  return isNew ? "new" : "repeat";
}
async function wake(intake, link, certificates) {
  try {
    await intake.dispatch.dispatch(certificates.map((certificate2) => ({ link, certificate: certificate2 })));
  } catch (thrown) {
    intake.log("warn", "dispatch_failed", { link, ...errorFields(asCodedError(thrown)) });
  }
}

// history:src/limits.ts
var limits = {
  /** Body of a notification, in bytes. */
  notificationBytes: 256 * 1024,
  /** Certificates named by one notification. */
  notificationCertificates: 100,
  /** Characters of a name, a type or an id of an event that are kept from a notification. */
  notificationTextCharacters: 256,
  /** Characters of a certificate id in a notification. */
  certificateIdCharacters: 128,
  /** Least length of the RSA key that verifies notifications, in bits (RFC 7518, 3.3). */
  verificationKeyBits: 2048,
  /** Until a request to the receiver must have arrived: its headers, all of it. Milliseconds. */
  requestHeadersMs: 1e4,
  requestMs: 3e4,
  /** How long the receiver goes on reading, and throwing away, what follows a refused body, so that its sender gets to read the answer. */
  lingerMs: 1e3,
  /** How long a server that closes waits for requests under way, in milliseconds. */
  closeMs: 1e4,
  /** Connections that the receiver holds at once. */
  receiverConnections: 1e3,
  /** Ports tried, one after the other, where the next free one will do. */
  portsTried: 50,
  /** PEM text of one of: certificate, chain, private key, in bytes (IBM Secrets Manager's limit, taken for all). */
  pemBytes: 100 * 1024,
  /** Certificates in a chain, the leaf not counted. */
  chainCertificates: 10,
  /** Body of an answer of a store, in bytes: a page of 200 certificates without content fits many times. */
  storeAnswerBytes: 8 * 1024 * 1024,
  /** One file of a directory store, in bytes: leaf and chain in one, with comments. */
  storeFileBytes: 2 * 1024 * 1024,
  /** One file of an archive, in bytes: three PEM texts at their limit, with room. */
  archiveFileBytes: 512 * 1024,
  /** Certificates and files of one archive: every certificate of the largest estate, five files each. */
  archiveCertificates: 2e5,
  archiveFiles: 12e5,
  /** Certificates of a zip, whose directory holds no more files than 65,535. */
  zipCertificates: 1e4,
  /** Characters of a name, description or tag in an archive. */
  archiveTextCharacters: 10240,
  /** Characters of a passphrase that is to keep private keys. */
  passphraseCharacters: 12,
  /** Rounds of key derivation that a PKCS#12 file may ask for: a minute of work. */
  pkcs12Iterations: 1e7,
  /** Pages of one listing: 200,000 certificates at 200 a page, with room. Stops a listing that runs in circles. */
  listingPages: 1e4,
  /** How often, and for how long each time, one page of a listing waits until the store allows it. */
  listingTries: 10,
  listingWaitMs: 6e4,
  /** How often a restore sends one request that the store limits; many wait for the same room. */
  restoreTries: 1e3,
  /** Copies that are due to be removed, as far as one reconcile looks at them; it removes the oldest of them, as many as the policy allows. */
  removalsConsidered: 1e4,
  /** A reconcile that would change no more copies than this has no brake, however small the estate. */
  brakeLeast: 10,
  /** Wake-ups that one reconcile hands over; what is beyond is due, and the sweep wakes it. */
  reconcileWakes: 1e3,
  /** Longest wait that a `Retry-After` can ask for: one reconcile period, since a service that names a date may have a wrong clock. */
  retryAfterMs: 60 * 60 * 1e3,
  /** Certificates whose recent writes a limited store remembers; the one written to longest ago is forgotten first. */
  limitedCertificates: 1e4,
  /** Wake-ups that one invocation of a function carries, where a queue does not say. */
  wakesOfOneInvocation: 40,
  /** How often one pass begins again because something was asked for meanwhile. */
  passesInARow: 3,
  /** Body of a request to our own instance, in bytes: three PEM texts and their JSON escapes, with room. */
  instanceBodyBytes: 1024 * 1024,
  /** Certificates that one request of a search looks at. */
  searchedCertificates: 1e3,
  /** Characters of a search term. */
  searchCharacters: 256,
  /** Certificates counted by expiry beyond which the counts of an instance may be some seconds old. */
  countedCertificates: 1e3,
  /** Characters of a CRN. Longer than any that Certificate Manager gave. */
  crnCharacters: 300,
  /** Characters of an API key of our own instance, at least: what is shorter may have been thought up by somebody. */
  apiKeyCharacters: 24,
  /** API keys of one instance, and instances of one server. */
  apiKeys: 200,
  instances: 500,
  /** Characters of the name of an API key. */
  apiKeyNameCharacters: 100,
  /** Characters of a channel endpoint. */
  channelEndpointCharacters: 2048,
  /** Channels of one instance. */
  channels: 50,
  /** Domains of one order (what Let's Encrypt takes), and characters of the first one, which is the common name (X.520). */
  orderedDomains: 100,
  commonNameCharacters: 64,
  /** Orders that one server works on at the same moment. */
  ordersAtOnce: 8,
  /** Body of an answer of a certificate authority, in bytes. */
  acmeAnswerBytes: 1024 * 1024,
  /** Characters of the reason of a failed order that are kept. */
  orderFailureCharacters: 1e3,
  /** Requests under way at once to one channel. */
  deliveriesAtOnce: 4,
  /** Notifications that wait for one channel; what is beyond goes straight to the dead letters. */
  deliveriesWaiting: 1e4,
  /** A line of a snapshot, in bytes: a row of the table as JSON, sealed, with room. */
  snapshotLineBytes: 1024 * 1024,
  /** Plain data keys of one tenant in memory at once. */
  dataKeysInMemory: 100,
  /** Longest time that a plain data key may be kept in memory, and how much longer while no root key can be asked. Milliseconds. */
  dataKeyCacheMs: 60 * 60 * 1e3,
  dataKeyOutageMs: 24 * 60 * 60 * 1e3,
  /** The file of a root key, in bytes: far more than one takes. */
  rootKeyFileBytes: 4 * 1024,
  /** Partition and sort key of a row of the table together, in bytes of UTF-8 (DynamoDB takes 1,024 for the sort key, LMDB 1,978 for both). */
  tableKeyBytes: 1e3,
  /** A row of the table as JSON, in bytes: DynamoDB's limit for an item, so that no engine takes what another refuses. */
  tableRowBytes: 400 * 1024,
  /** How deep lists and maps in a field of the table may be nested: DynamoDB takes 32, the field itself counted. */
  tableDepth: 31,
  /** Rows of one page of the table. */
  tablePageRows: 1e3,
  /** Rows of one page of the table as JSON, in bytes: a page that would grow beyond ends early (DynamoDB's limit). */
  tablePageBytes: 1024 * 1024
};

// history:src/replication/link.ts
var defaultBrakeShare = 0.2;
function includes(filter, metadata) {
  const fits = (patterns, texts) => patterns.length === 0 || patterns.some((pattern) => texts.some((text) => matches(pattern, text)));
  return fits(filter.names, [metadata.name]) && fits(filter.domains, metadata.domains);
}
function matches(pattern, text) {
  const parts = pattern.toLowerCase().split("*");
  const lower = text.toLowerCase();
  const first = parts[0] ?? "";
  const last = parts.at(-1) ?? "";
  if (parts.length === 1) return lower === first;
  if (lower.length < first.length + last.length || !lower.startsWith(first) || !lower.endsWith(last)) return false;
  let position = first.length;
  for (const part of parts.slice(1, -1)) {
    const found = lower.indexOf(part, position);
    if (found < 0 || found + part.length > lower.length - last.length) return false;
    position = found + part.length;
  }
  return true;
}
function listedFacts({ serial, notBefore, notAfter }) {
  return `${serial ?? ""}|${notBefore ?? ""}|${notAfter ?? ""}`;
}

// history:src/replication/compact-map.ts
var blockBytes = 256 * 1024;
function compactMap() {
  const blocks = [];
  let used = blockBytes;
  let places = new Uint32Array(4 * 256);
  let ticked = new Uint8Array(256);
  let size = 0;
  let slots = new Uint32Array(1024);
  function append(text2) {
    const bytes = Buffer.byteLength(text2);
    if (used + bytes > blockBytes || blocks.length === 0) {
      blocks.push(Buffer.allocUnsafeSlow(Math.max(blockBytes, bytes)));
      used = 0;
    }
    const offset = used;
    blocks.at(-1)?.write(text2, offset);
    used += bytes;
    return [blocks.length - 1, offset, bytes];
  }
  const place = (entry, part) => places[4 * entry + part] ?? 0;
  function text(entry, part) {
    const offset = place(entry, 1);
    const keyEnd = offset + place(entry, 2);
    const [from, to] = part === "key" ? [offset, keyEnd] : [keyEnd, keyEnd + place(entry, 3)];
    return blocks[place(entry, 0)]?.toString("utf8", from, to) ?? "";
  }
  function slotOf(key) {
    let slot = hashOf(key) & slots.length - 1;
    for (let entry = slots[slot] ?? 0; entry !== 0; entry = slots[slot] ?? 0) {
      if (text(entry - 1, "key") === key) return slot;
      slot = slot + 1 & slots.length - 1;
    }
    return slot;
  }
  function find(key) {
    return (slots[slotOf(key)] ?? 0) - 1;
  }
  function grow() {
    if (4 * size === places.length) {
      const [wider, longer] = [new Uint32Array(2 * places.length), new Uint8Array(2 * ticked.length)];
      wider.set(places);
      longer.set(ticked);
      [places, ticked] = [wider, longer];
    }
    if (2 * size < slots.length) return;
    slots = new Uint32Array(2 * slots.length);
    for (let entry = 0; entry < size; entry += 1) slots[slotOf(text(entry, "key"))] = entry + 1;
  }
  function* where(wanted) {
    for (let entry = 0; entry < size; entry += 1) if (wanted(entry)) yield text(entry, "key");
  }
  return {
    get size() {
      return size;
    },
    get(key) {
      const entry = find(key);
      return entry < 0 ? void 0 : text(entry, "value");
    },
    set(key, value) {
      let entry = find(key);
      if (entry < 0) {
        grow();
        entry = size;
        slots[slotOf(key)] = entry + 1;
        size += 1;
      }
      const [block, offset, length] = append(key + value);
      const keyBytes = Buffer.byteLength(key);
      places.set([block, offset, keyBytes, length - keyBytes], 4 * entry);
    },
    tick(key) {
      const entry = find(key);
      if (entry >= 0) ticked[entry] = 1;
      return entry >= 0;
    },
    isTicked(key) {
      const entry = find(key);
      return entry >= 0 && ticked[entry] === 1;
    },
    unticked: () => where((entry) => ticked[entry] !== 1),
    keys: () => where(() => true)
  };
}
function hashOf(key) {
  let hash = 2166136261;
  for (let index = 0; index < key.length; index += 1) hash = Math.imul(hash ^ key.charCodeAt(index), 16777619);
  return (hash ^ hash >>> 15) >>> 0;
}

// history:src/certificate/fingerprint.ts
import { createHash } from "node:crypto";
function fingerprintOf({ leaf, chain, privateKey }) {
  const hash = createHash("sha256");
  for (const { raw } of [leaf, ...chain]) addWithLength(hash, raw);
  addWithLength(hash, privateKey?.publicKeyDer ?? new Uint8Array());
  return hash.digest("hex");
}
function metadataDigestOf(metadata) {
  const hash = createHash("sha256");
  addWithLength(hash, Buffer.from(metadata.name));
  addWithLength(hash, Buffer.from(metadata.description));
  hash.update(fourBytes(metadata.tags.length));
  for (const tag of metadata.tags.toSorted()) addWithLength(hash, Buffer.from(tag));
  return hash.digest("hex");
}
function addWithLength(hash, bytes) {
  hash.update(fourBytes(bytes.length)).update(bytes);
}
function fourBytes(value) {
  const bytes = Buffer.alloc(4);
  bytes.writeUInt32BE(value);
  return bytes;
}

// history:src/certificate/chain.ts
function isSignedBy(certificate2, issuer) {
  try {
    return certificate2.checkIssued(issuer) && certificate2.verify(issuer.publicKey);
  } catch {
    return false;
  }
}
var isSelfSigned = (certificate2) => isSignedBy(certificate2, certificate2);

// history:src/certificate/facts.ts
import { X509Certificate } from "node:crypto";

// history:src/certificate/der.ts
var derTag = {
  boolean: 1,
  integer: 2,
  octetString: 4,
  oid: 6,
  sequence: 48,
  /** `[n]` around whole elements. */
  constructed: (n) => 160 + n,
  /** `[n]` in place of the element's own tag, content primitive. */
  primitive: (n) => 128 + n
};
function readElement(bytes, offset = 0) {
  const tag = byteAt(bytes, offset);
  if ((tag & 31) === 31) throw new RangeError("DER: a tag of several bytes");
  const first = byteAt(bytes, offset + 1);
  const lengthBytes = first < 128 ? 0 : first & 127;
  if (first === 128 || lengthBytes > 4) throw new RangeError("DER: an indefinite or oversized length");
  const start = offset + 2 + lengthBytes;
  let length = lengthBytes === 0 ? first : 0;
  for (let index = offset + 2; index < start; index += 1) length = length * 256 + byteAt(bytes, index);
  const end = start + length;
  if (end > bytes.length) throw new RangeError("DER: an element reaches beyond its container");
  return { tag, content: bytes.subarray(start, end), end };
}
function readElements(bytes) {
  const elements = [];
  for (let offset = 0; offset < bytes.length; ) {
    const element = readElement(bytes, offset);
    elements.push(element);
    offset = element.end;
  }
  return elements;
}
function oidText(content) {
  const arcs = [];
  let arc = 0n;
  for (const byte of content) {
    arc = arc * 128n + BigInt(byte & 127);
    if (byte >= 128) continue;
    arcs.push(arc);
    arc = 0n;
  }
  const [first, ...rest] = arcs;
  if (first === void 0 || (content.at(-1) ?? 0) >= 128)
    throw new RangeError("DER: an incomplete object identifier");
  const root = first < 80n ? first / 40n : 2n;
  return [root, first - root * 40n, ...rest].join(".");
}
function byteAt(bytes, offset) {
  const byte = bytes[offset];
  if (byte === void 0) throw new RangeError("DER: the bytes end within an element");
  return byte;
}

// history:src/certificate/names.ts
function distinguishedName(lines) {
  return (lines ?? "").split("\n").reverse().join(",").replaceAll(" + ", "+");
}
function commonNameOf(certificate2, of) {
  const lines = certificate2[of] ?? "";
  if (!/[\\+"]/.test(lines)) {
    const line = lines.split("\n").findLast((text) => text.startsWith("CN="));
    return line?.slice("CN=".length);
  }
  const value = certificate2.toLegacyObject()[of]?.CN;
  const last = Array.isArray(value) ? value.at(-1) : value;
  return typeof last === "string" ? last : void 0;
}
function domainsOf(alternativeNames) {
  return alternativeNames.map(nameText).filter((name) => name !== void 0);
}
function nameText({ tag, content }) {
  if (tag === derTag.primitive(2)) return Buffer.from(content).toString("latin1");
  if (tag === derTag.primitive(7)) return addressText(content);
  return void 0;
}
function addressText(bytes) {
  if (bytes.length === 4) return bytes.join(".");
  if (bytes.length !== 16) return void 0;
  const groups = Array.from(
    { length: 8 },
    (_, index) => Buffer.from(bytes).readUInt16BE(index * 2).toString(16)
  );
  return new URL(`http://[${groups.join(":")}]/`).hostname.slice(1, -1);
}

// history:src/certificate/structure.ts
var subjectAlternativeName = "2.5.29.17";
function structureOf(certificate2) {
  try {
    const [toBeSigned, signature] = within(readElement(certificate2.raw), derTag.sequence);
    const fields = within(toBeSigned, derTag.sequence);
    const keyAt = fields[0]?.tag === derTag.constructed(0) ? 6 : 5;
    const extensions = fields.slice(keyAt + 1).find(({ tag }) => tag === derTag.constructed(3));
    return {
      signatureOid: algorithmOid(signature),
      keyOid: algorithmOid(within(fields[keyAt], derTag.sequence)[0]),
      alternativeNames: extensions ? alternativeNamesOf(extensions) : []
    };
  } catch (cause) {
    throw new CodedError("certificate_malformed", "the DER of the certificate does not follow RFC 5280", { cause });
  }
}
function alternativeNamesOf(extensions) {
  for (const extension of within(readElement(extensions.content), derTag.sequence)) {
    const [id, ...rest] = within(extension, derTag.sequence);
    if (oidText(contentOf(id, derTag.oid)) !== subjectAlternativeName) continue;
    return within(readElement(contentOf(rest.at(-1), derTag.octetString)), derTag.sequence);
  }
  return [];
}
var algorithmOid = (algorithm) => oidText(contentOf(within(algorithm, derTag.sequence)[0], derTag.oid));
var within = (element, tag) => readElements(contentOf(element, tag));
function contentOf(element, tag) {
  if (element?.tag !== tag)
    throw new RangeError(`DER: tag ${tag} was expected, ${element?.tag ?? "nothing"} was found`);
  return element.content;
}

// history:src/certificate/facts.ts
var signatureNames = {
  "1.2.840.113549.1.1.4": "md5WithRSAEncryption",
  "1.2.840.113549.1.1.5": "sha1WithRSAEncryption",
  "1.2.840.113549.1.1.10": "rsassaPss",
  "1.2.840.113549.1.1.11": "sha256WithRSAEncryption",
  "1.2.840.113549.1.1.12": "sha384WithRSAEncryption",
  "1.2.840.113549.1.1.13": "sha512WithRSAEncryption",
  "1.2.840.113549.1.1.14": "sha224WithRSAEncryption",
  "1.2.840.10045.4.1": "ecdsa-with-SHA1",
  "1.2.840.10045.4.3.1": "ecdsa-with-SHA224",
  "1.2.840.10045.4.3.2": "ecdsa-with-SHA256",
  "1.2.840.10045.4.3.3": "ecdsa-with-SHA384",
  "1.2.840.10045.4.3.4": "ecdsa-with-SHA512",
  "1.3.101.112": "ED25519",
  "1.3.101.113": "ED448"
};
var keyNames = {
  "1.2.840.113549.1.1.1": "rsaEncryption",
  "1.2.840.113549.1.1.10": "rsassaPss",
  "1.2.840.10040.4.1": "dsaEncryption",
  "1.2.840.10045.2.1": "id-ecPublicKey",
  "1.3.101.112": "ED25519",
  "1.3.101.113": "ED448"
};
var keyBitsByName = {
  prime256v1: 256,
  secp256k1: 256,
  secp384r1: 384,
  secp521r1: 521,
  ed25519: 256,
  ed448: 456
};
function factsOf(of) {
  const certificate2 = of instanceof X509Certificate ? of : of.leaf;
  const { signatureOid, keyOid, alternativeNames } = structureOf(certificate2);
  const commonName = commonNameOf(certificate2, "subject");
  return {
    subject: distinguishedName(certificate2.subject),
    ...commonName === void 0 ? {} : { commonName },
    domains: eachOnce([...commonName ? [commonName] : [], ...domainsOf(alternativeNames)]),
    issuer: commonNameOf(certificate2, "issuer") || distinguishedName(certificate2.issuer),
    serial: certificate2.serialNumber.toLowerCase(),
    notBefore: timeOf(certificate2.validFrom),
    notAfter: timeOf(certificate2.validTo),
    signatureAlgorithm: signatureNames[signatureOid] ?? signatureOid,
    keyAlgorithm: `${keyNames[keyOid] ?? keyOid}${keyBitsText(certificate2)}`
  };
}
var validity = /^[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4} GMT$/;
function timeOf(text) {
  const time = validity.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time))
    throw new CodedError("certificate_malformed", "the validity of the certificate is not a date");
  return time;
}
function keyBitsText(certificate2) {
  let key;
  try {
    key = certificate2.publicKey;
  } catch {
    return "";
  }
  const { modulusLength, namedCurve } = key.asymmetricKeyDetails ?? {};
  const bits = modulusLength ?? keyBitsByName[namedCurve ?? key.asymmetricKeyType ?? ""];
  return bits === void 0 ? "" : ` ${bits} bit`;
}
function eachOnce(domains) {
  const seen = /* @__PURE__ */ new Map();
  for (const domain of domains) if (!seen.has(domain.toLowerCase())) seen.set(domain.toLowerCase(), domain);
  return [...seen.values()];
}

// history:src/certificate/private-key.ts
import { createPrivateKey, createPublicKey, sign, verify } from "node:crypto";

// history:src/secret.ts
import { inspect } from "node:util";
import { setFlagsFromString } from "node:v8";
var placeholder = "[secret]";
var Secret = class _Secret {
  #bytes;
  constructor(text) {
    this.#bytes = typeof text === "string" ? new TextEncoder().encode(text) : new Uint8Array(text);
  }
  /** The secret text (UTF-8). Throws after `wipe`, so that a wiped key is never sent as zeros. */
  reveal() {
    if (this.wiped) throw new TypeError("this secret has been wiped");
    return new TextDecoder().decode(this.#bytes);
  }
  /** The same as bytes, for whoever can overwrite them after use: a text stays in memory until that is used again. Throws after `wipe`. */
  revealBytes() {
    if (this.wiped) throw new TypeError("this secret has been wiped");
    const bytes = Buffer.alloc(this.#bytes.length);
    bytes.set(this.#bytes);
    return bytes;
  }
  /** The same secret, to be wiped on its own. Throws after `wipe`. */
  copy() {
    if (this.wiped) throw new TypeError("this secret has been wiped");
    return new _Secret(this.#bytes);
  }
  /** Whether it was overwritten. No secret is all zeros. */
  get wiped() {
    return this.#bytes.length > 0 && this.#bytes.every((byte) => byte === 0);
  }
  /** Overwrites the bytes held here. Copies that `reveal` gave out are the garbage collector's. */
  wipe() {
    this.#bytes.fill(0);
  }
  toString() {
    return placeholder;
  }
  toJSON() {
    return placeholder;
  }
  [inspect.custom]() {
    return placeholder;
  }
};

// history:src/certificate/private-key.ts
var handles = /* @__PURE__ */ new WeakMap();
function signsFor(key, certificate2) {
  const probe = Buffer.from("certstandby");
  const pem = key.pem.revealBytes();
  try {
    const privateKey = handles.get(key) ?? createPrivateKey(pem);
    const { hashAlgorithm = "sha256" } = privateKey.asymmetricKeyDetails ?? {};
    const digest = privateKey.asymmetricKeyType === "ed25519" ? null : hashAlgorithm;
    return verify(digest, probe, certificate2.publicKey, sign(digest, probe, privateKey));
  } catch {
    return false;
  } finally {
    pem.fill(0);
  }
}

// history:src/certificate/judgement.ts
function contentProblem(content, rules) {
  return keyProblem(content) ?? chainProblem(content) ?? (rules.requireChain ? missingChainProblem(content) : void 0) ?? expiryProblem(content, rules.nowMs) ?? problemOf(() => factsOf(content));
}
function keyProblem({ leaf, privateKey }) {
  if (privateKey === void 0) return new CodedError("certificate_key_missing", "the certificate has no private key");
  if (signsFor(privateKey, leaf)) return void 0;
  return new CodedError("certificate_key_mismatch", "what the private key signs does not hold for the certificate");
}
function chainProblem({ leaf, chain }) {
  const broken = chain.findIndex((issuer, index) => {
    const below = chain[index - 1] ?? leaf;
    return !isSignedBy(below, issuer) || !(issuer.ca || isSelfSigned(issuer));
  });
  if (broken === -1) return void 0;
  const position = broken + 1;
  return new CodedError(
    "certificate_chain_broken",
    `chain certificate ${position} of ${chain.length} did not sign the certificate before it`,
    { fields: { position, chainLength: chain.length } }
  );
}
function expiryProblem({ leaf, chain }, nowMs) {
  return expiredProblem("the certificate", leaf, nowMs) ?? chain.filter((certificate2) => !isSelfSigned(certificate2)).map((certificate2) => expiredProblem("a chain certificate", certificate2, nowMs)).find((problem) => problem !== void 0);
}
function missingChainProblem({ leaf, chain }) {
  if (chain.length > 0 || isSelfSigned(leaf)) return void 0;
  return new CodedError("certificate_chain_missing", "the certificate came without the certificates that signed it");
}
function expiredProblem(what, certificate2, nowMs) {
  return problemOf(() => {
    const notAfter = timeOf(certificate2.validTo);
    if (nowMs <= notAfter) return;
    const expiredAt = new Date(notAfter).toISOString();
    throw new CodedError("certificate_expired", `${what} expired at ${expiredAt}`, { fields: { expiredAt } });
  });
}
function problemOf(check) {
  try {
    check();
    return void 0;
  } catch (thrown) {
    if (thrown instanceof CodedError) return thrown;
    throw thrown;
  }
}

// history:src/replication/judge.ts
function judge(link, reading, now, described) {
  if (reading.state === "absent") return { kind: "absent" };
  if (reading.state === "unreadable") {
    const { error } = reading;
    if (described !== void 0 && !includes(link.filter, described)) return { kind: "aside", why: "excluded" };
    return error.code === "store_content_unreadable" ? { kind: "refused", error, facts: error.message, ...described && { metadata: described } } : { kind: "unreadable", error };
  }
  const { metadata, content } = reading.value;
  const found = {
    metadata,
    content,
    fingerprint: fingerprintOf(content),
    metadataDigest: metadataDigestOf(metadata)
  };
  if (!includes(link.filter, metadata)) return { kind: "aside", why: "excluded", found };
  if (metadata.mark !== void 0 && !link.policy.onward) return { kind: "aside", why: "marked", found };
  if (content.privateKey === void 0) return { kind: "aside", why: "keyless", found };
  const problem = contentProblem(content, { nowMs: now, requireChain: link.policy.requireChain }) ?? regionProblem(link);
  return problem === void 0 ? { kind: "sound", ...found } : { kind: "refused", error: problem, facts: `${problem.code} ${found.fingerprint}`, found, metadata };
}
function regionProblem({ policy, backups }) {
  const forbidden = backups.find(({ region }) => policy.regions !== void 0 && !policy.regions.includes(region));
  return forbidden && new CodedError("certificate_region_forbidden", `the policy allows no copy in region ${forbidden.region}`, {
    fields: { region: forbidden.region, store: forbidden.id }
  });
}

// history:src/store/mark.ts
function formatMark(mark) {
  return `certstandby:1 ${mark.store} ${mark.certificate}`;
}
function sameMark(a, b) {
  return a !== void 0 && b !== void 0 && a.store === b.store && a.certificate === b.certificate;
}

// history:src/replication/shared-listing.ts
async function* listAll(store, options = {}) {
  let cursor;
  for (let page = 0; page < limits.listingPages; page += 1) {
    options.signal?.throwIfAborted();
    const answer = await onePage(store, cursor, options);
    options.paged?.();
    yield* answer.certificates;
    if (answer.cursor === void 0) return;
    cursor = answer.cursor;
  }
  throw new CodedError("store_nonsense", `the listing of ${store.id} does not end after ${limits.listingPages} pages`, {
    fields: { store: store.id }
  });
}
async function onePage(store, cursor, options) {
  const { runtime, signal } = options;
  const request2 = { ...cursor === void 0 ? {} : { cursor }, ...signal ? { signal } : {} };
  for (let tries = 1; ; tries += 1) {
    try {
      return await store.list(request2);
    } catch (thrown) {
      const { code, retryAfterMs } = asCodedError(thrown);
      const worthIt = retryAfterMs !== void 0 && retryAfterMs <= limits.listingWaitMs;
      if (code !== "store_limited" || runtime === void 0 || !worthIt || tries >= limits.listingTries) throw thrown;
      await runtime.wait(retryAfterMs, signal);
    }
  }
}
function sharedListings() {
  const running = /* @__PURE__ */ new Map();
  const waiting = /* @__PURE__ */ new Map();
  async function read(store, wanted) {
    for await (const metadata of listAll(store)) {
      if (metadata.mark === void 0) continue;
      const copies = wanted.get(formatMark(metadata.mark));
      if (copies !== void 0 && !copies.some(({ id }) => id === metadata.id)) copies.push(metadata);
    }
  }
  function next(store) {
    const queued = waiting.get(store);
    if (queued) return queued;
    const wanted = /* @__PURE__ */ new Map();
    const before = running.get(store) ?? Promise.resolve();
    const listed = before.then(() => {
      waiting.delete(store);
      const result = read(store, wanted);
      const ended = result.then(
        () => void 0,
        () => void 0
      );
      running.set(store, ended);
      void ended.then(() => running.get(store) === ended && running.delete(store));
      return result;
    });
    const listing = { wanted, listed };
    waiting.set(store, listing);
    return listing;
  }
  return {
    /** The copies with this mark, by a listing that starts after this call. Throws what the listing throws. */
    async marked(store, mark) {
      const { wanted, listed } = next(store);
      const copies = wanted.get(formatMark(mark)) ?? [];
      wanted.set(formatMark(mark), copies);
      await listed;
      return copies;
    }
  };
}

// history:src/replication/listed-copies.ts
async function listCopies(primary, store, options = {}) {
  const copies = compactMap();
  let unmarked = 0;
  for await (const metadata of listAll(store, options)) {
    const { mark, id } = metadata;
    if (mark === void 0) {
      unmarked += 1;
      options.foreign?.(id, metadata.name);
    }
    if (mark?.store !== primary) continue;
    const others = copiesIn(copies, mark.certificate).filter((copy2) => copy2.id !== id);
    const copy = { id, revision: metadata.revision ?? "", facts: listedFacts(metadata) };
    const rows = [...others, copy].map(({ id: id2, revision, facts }) => [id2, revision, facts]);
    copies.set(mark.certificate, JSON.stringify(rows));
  }
  return { store: store.id, copies, unmarked };
}
function copiesIn(copies, certificate2) {
  const listed = copies.get(certificate2);
  if (listed === void 0) return [];
  const rows = JSON.parse(listed);
  return rows.map(([id, revision, facts]) => ({ id, revision, facts }));
}

// history:src/replication/reconcile-compare.ts
var concurrency = 32;
async function compare(comparer, link, options = {}) {
  const { runtime, timing, records } = comparer;
  const { signal, moved: moved2, full = false } = options;
  const startedAt = runtime.now();
  const tally = { listed: 0, included: 0, expired: 0, pages: 0 };
  const paged = () => {
    tally.pages += 1;
  };
  const { backups, notListed } = await listBackups(comparer, link, { signal, paged });
  const found = findings();
  const uncopied = compactMap();
  const tick = (id) => backups.filter(({ copies }) => copies.tick(id)).length > 0;
  const wasSeen = (id) => uncopied.tick(id) || backups.some(({ copies }) => copies.isTicked(id));
  for await (const batch of batches(listAll(link.primary, { runtime, signal, paged }), concurrency)) {
    const fresh = batch.filter(({ id }) => {
      if (wasSeen(id)) return false;
      if (!tick(id)) uncopied.set(id, "");
      return true;
    });
    tally.listed += fresh.length;
    const included = fresh.filter((metadata) => includes(link.filter, metadata));
    tally.included += included.length;
    tally.expired += included.filter(({ notAfter = startedAt }) => notAfter < startedAt).length;
    const known = await Promise.all(included.map(({ id }) => records.get(link.name, id)));
    for (const [index, metadata] of included.entries()) {
      const record2 = known[index];
      const reason = reasonToAsk(link, metadata, record2, backups, { now: startedAt, timing });
      found.note(metadata.id, record2, reason ?? (full ? "due-for-a-full-look" : void 0));
    }
    await moved2?.(tally.listed);
  }
  for await (const record2 of records.all(link.name)) {
    const isListed = wasSeen(record2.certificate);
    tick(record2.certificate);
    if (!isListed) found.noteGone(link, record2, startedAt);
  }
  for (const { copies } of backups) for (const certificate2 of copies.unticked()) found.noteOrphan(certificate2);
  return {
    startedAt,
    ...tally,
    ...found.done(link),
    unmarked: backups.reduce((sum, { unmarked }) => sum + unmarked, 0),
    compared: backups.map(({ store }) => store),
    notListed
  };
}
async function listBackups({ runtime, log }, link, options) {
  const listings = await Promise.allSettled(
    link.backups.map((store) => listCopies(link.primary.id, store, { runtime, ...options }))
  );
  options.signal?.throwIfAborted();
  const backups = listings.flatMap((listing) => listing.status === "fulfilled" ? [listing.value] : []);
  const notListed = listings.flatMap(
    (listing, index) => listing.status === "rejected" ? [{ store: link.backups[index]?.id ?? "", error: asCodedError(listing.reason) }] : []
  );
  const [nobody] = notListed;
  if (backups.length === 0 && nobody !== void 0) throw nobody.error;
  for (const { store, error } of notListed)
    log("error", "backup_not_listed", { link: link.name, backup: store, ...errorFields(error) });
  return { backups, notListed };
}
var overwrites = /* @__PURE__ */ new Set(["different", "changed-at-the-backup", "doubled"]);
var hasCopy = ({ backups }) => backups.some(({ id }) => id !== void 0);
var isPending = ({ requested, replicated, wakeAt }) => requested > replicated || wakeAt !== void 0;
function findings() {
  const asks = compactMap();
  const counts = {};
  const due = [];
  const tally = { copied: 0, changing: 0, vanishing: 0, retained: 0 };
  const ask = (certificate2, reason) => {
    counts[reason] = (counts[reason] ?? 0) + 1;
    asks.set(certificate2, reason);
  };
  return {
    note(certificate2, record2, reason) {
      const copied = record2 !== void 0 && hasCopy(record2);
      if (copied) tally.copied += 1;
      if (reason === void 0) return;
      if (copied && overwrites.has(reason) && !isPending(record2)) tally.changing += 1;
      ask(certificate2, reason);
    },
    noteGone({ policy }, record2, now) {
      const { certificate: certificate2, absentSince, backups } = record2;
      const copied = hasCopy(record2);
      if (copied) tally.copied += 1;
      if (absentSince === void 0) {
        if (copied && !isPending(record2)) tally.vanishing += 1;
        ask(certificate2, "gone-from-primary");
        return;
      }
      if (!copied) return;
      tally.retained += 1;
      const unsaid = backups.some((state) => state.id !== void 0 && state.retainedAt === void 0);
      const afterMs = policy.removal?.afterMs ?? Number.POSITIVE_INFINITY;
      if (now - absentSince >= afterMs && due.length < limits.removalsConsidered)
        due.push({ certificate: certificate2, since: absentSince });
      else if (unsaid && !isPending(record2)) ask(certificate2, "gone-from-primary");
    },
    noteOrphan(certificate2) {
      if (asks.get(certificate2) === void 0) ask(certificate2, "orphaned");
    },
    /** Of what is due to be removed as much as the policy allows at once, what has been gone longest first. */
    done({ policy }) {
      const most = Math.max(1, Math.floor((policy.removal?.maxShare ?? 0) * tally.copied));
      for (const { certificate: certificate2 } of due.toSorted((a, b) => a.since - b.since).slice(0, most))
        ask(certificate2, "removal-due");
      return { asks, counts, ...tally };
    }
  };
}
function reasonToAsk(link, listed, record2, backups, { now, timing }) {
  if (record2 !== void 0 && rests(link, record2, listed))
    return isDueForFullLook(listed.id, record2, now, timing) ? "due-for-a-full-look" : void 0;
  const sides = backups.map(({ store, copies }) => {
    const all = copiesIn(copies, listed.id);
    const recorded2 = record2?.backups.find((state) => state.store === store);
    return { all, listed: all[0], recorded: recorded2 };
  });
  if (sides.some(({ all }) => all.length > 1)) return "doubled";
  if (sides.some((side) => side.listed !== void 0 && side.listed.id !== side.recorded?.id))
    return "not-the-recorded-copy";
  if (record2 === void 0) return "unknown";
  const isAside = record2.aside !== void 0 || record2.refusal?.byPolicy === true;
  if (isAside || record2.absentSince !== void 0 || changedHere(record2, listed)) return "different";
  if (sides.some((side) => side.listed === void 0)) return "missing";
  const changedThere = sides.some(
    (side) => side.listed !== void 0 && (side.recorded?.revision ?? "") !== side.listed.revision
  );
  const serves = record2.refusal !== void 0 || sides.every((side) => side.listed === void 0 || sameFacts(side.listed.facts, listedFacts(listed)));
  if (changedThere || !serves) return "changed-at-the-backup";
  return isDueForFullLook(listed.id, record2, now, timing) ? "due-for-a-full-look" : void 0;
}
function rests(link, record2, listed) {
  const isAside = record2.aside !== void 0 || record2.refusal?.byPolicy === true;
  return isAside && record2.absentSince === void 0 && !restEnded(link, record2) && !changedHere(record2, listed);
}
function changedHere({ primary, refusal }, listed) {
  const seen = refusal?.byPolicy === true ? refusal : primary;
  const facts = listedFacts(listed);
  return seen?.revision !== listed.revision || (seen?.listedFacts ?? facts) !== facts;
}
function restEnded({ policy, backups }, { aside, refusal }) {
  if (aside === "excluded" || aside === "marked" && policy.onward) return true;
  if (refusal?.code === "certificate_region_forbidden") return regionProblem({ policy, backups }) === void 0;
  return refusal?.code === "certificate_chain_missing" && refusal.byPolicy === true && !policy.requireChain;
}
function sameFacts(a, b) {
  const other = b.split("|");
  return a.split("|").every((fact, index) => fact === "" || other[index] === "" || fact === other[index]);
}
function isDueForFullLook(id, record2, now, timing) {
  const { primary, refusal, lastError } = record2;
  const lookedAt = (refusal === void 0 ? void 0 : lastError?.at) ?? primary?.lookedAt;
  if (lookedAt === void 0) return true;
  const spread = [...id].reduce((sum, character) => (sum * 31 + (character.codePointAt(0) ?? 0)) % 997, 7) / 997;
  return now - lookedAt >= timing.fullLookMs * (6 - spread) / 7;
}
async function* batches(items, size) {
  let batch = [];
  for await (const item of items) {
    batch.push(item);
    if (batch.length === size) {
      yield batch;
      batch = [];
    }
  }
  if (batch.length > 0) yield batch;
}

// history:src/replication/reconcile-turn.ts
var leases = 2;
var keepEveryMs = 5e3;
async function takeTurn(given, link) {
  const { links, runtime, timing, owner } = given;
  const { name } = link;
  const leaseMs = leases * timing.leaseMs;
  const startedAt = runtime.now();
  const lease = {
    owner: owner?.id ?? runtime.newId(),
    now: startedAt,
    until: startedAt + leaseMs,
    skewMs: timing.skewMs
  };
  let begun = await links.beginReconcile(name, lease);
  if ("running" in begun && owner?.hasDied(begun.running.owner ?? "") === true)
    begun = await links.beginReconcile(name, { ...lease, instead: begun.running.token });
  if ("running" in begun) {
    const { startedAt: since = startedAt, step = "comparing", done = 0, until = startedAt } = begun.running;
    const retryAfterMs = Math.max(0, until + timing.skewMs + 1 - startedAt);
    throw new CodedError(
      "reconcile_running",
      `another reconcile or restore of ${name} has been running since ${new Date(since).toISOString()}; it is ${step}, and ${done} certificates far`,
      { fields: { link: name, step, done, retryAfterMs } }
    );
  }
  const { token } = begun;
  let keptAt = startedAt;
  let ended = false;
  return {
    async keep(step, done) {
      const now = runtime.now();
      if (now - keptAt < Math.min(keepEveryMs, leaseMs / 8)) return;
      keptAt = now;
      if (await links.keepReconcile(name, token, { until: now + leaseMs, step, done })) return;
      ended = true;
      throw new CodedError("reconcile_running", `this reconcile of ${name} took so long that another one has begun`);
    },
    async complete({ listed, included, unmarked, notListed }) {
      ended = true;
      await links.endReconcile(name, token, {
        completed: {
          listed,
          included,
          unmarked,
          notListed: notListed.map(({ store }) => store),
          tookMs: runtime.now() - startedAt
        },
        startedAt
      });
    },
    async brake(brake2) {
      ended = true;
      await links.endReconcile(name, token, { brake: brake2 });
    },
    async release() {
      if (ended) return;
      ended = true;
      await links.endReconcile(name, token, { released: true });
    },
    async fail(thrown, stopped) {
      if (ended) return;
      const { code, message, fields } = asCodedError(thrown);
      const store = typeof fields.store === "string" ? { store: fields.store } : {};
      const at = runtime.now();
      const end = stopped ? { stoppedAt: at } : { failure: { at, code, message, ...store } };
      await links.endReconcile(name, token, end).catch(() => void 0);
    }
  };
}

// history:src/replication/timing.ts
var defaultTiming = {
  leaseMs: 6e4,
  skewMs: 5e3,
  lookMs: 2e4,
  commitMs: 1e4,
  backoffBaseMs: 1e3,
  backoffCapMs: 15 * 6e4,
  refusalLooksMs: [15e3, 6e4, 5 * 6e4, 20 * 6e4],
  absenceMs: 6e4,
  notificationKeepMs: 7 * 24 * 36e5,
  fullLookMs: 7 * 24 * 36e5
};
function settledMs(backups, timing) {
  const longest = Math.max(0, ...backups.map(({ abilities }) => abilities.settlesMs + abilities.listingLagMs));
  return longest + timing.skewMs;
}
function backoffMs(attempts, random, timing, retryAfterMs = 0) {
  const ceiling = Math.min(timing.backoffCapMs, timing.backoffBaseMs * 2 ** Math.min(attempts - 1, 30));
  return Math.ceil(retryAfterMs + random() * ceiling);
}

// history:src/replication/reconcile.ts
async function reconcile(reconciler, link, options = {}) {
  await reconciler.links.bind(link.name, link.primary.id);
  const turn = await takeTurn(reconciler, link);
  try {
    const comparison = await compare(reconciler, link, {
      signal: options.signal,
      full: options.full,
      moved: (compared) => moveOn(turn, "comparing", compared, options)
    });
    const chosen = await options.confirm?.(comparison);
    if (options.confirm === void 0) await brake(turn, link, comparison, options.allowChanges ?? 0);
    const asked = await askAll(reconciler, link, { comparison, chosen, turn, options });
    await reconciler.links.noteReconciled(link.name, comparison.compared, comparison.startedAt);
    await turn.complete(comparison);
    await wake2(reconciler, link, asked.first);
    const { listed, included, expired, retained, unmarked, notListed, pages } = comparison;
    return { link: link.name, listed, included, expired, retained, unmarked, notListed, pages, asked: asked.counts };
  } catch (thrown) {
    await turn.fail(thrown, options.signal?.aborted === true);
    throw thrown;
  }
}
function brakeOf({ policy }, comparison, now) {
  const { changing, vanishing, copied } = comparison;
  const share = policy.brakeShare ?? defaultBrakeShare;
  const allowed = Math.max(limits.brakeLeast, Math.floor(share * copied));
  return changing + vanishing > allowed ? { at: now, changing, vanishing, copied, allowed } : void 0;
}
async function brake(turn, link, comparison, allowChanges) {
  const held = brakeOf(link, comparison, comparison.startedAt);
  if (held === void 0 || held.changing + held.vanishing <= allowChanges) return;
  await turn.brake(held);
  const { changing, vanishing, copied, allowed } = held;
  throw new CodedError(
    "reconcile_brake",
    `${changing} of ${copied} copies would be written over and ${vanishing} originals are gone, and ${allowed} are allowed without a person: nothing was changed`,
    { fields: { link: link.name, changing, vanishing, copied, allowed } }
  );
}
async function askAll(reconciler, link, run) {
  const { comparison, chosen, turn, options } = run;
  const { asks } = comparison;
  const counts = {};
  const first = [];
  const doubtMs = settledMs(link.backups, reconciler.timing);
  let done = 0;
  for (const batch of batchesOf(asks.keys(), concurrency2)) {
    options.signal?.throwIfAborted();
    const wanted = batch.filter((certificate2) => chosen?.has(certificate2) ?? true);
    await Promise.all(
      wanted.map(async (certificate2) => {
        const reason = asks.get(certificate2);
        const now = reconciler.runtime.now();
        const inDoubt = reason === "doubled" || reason === "not-the-recorded-copy";
        const byMark = inDoubt || reason === "orphaned";
        await reconciler.records.ask({
          link: link.name,
          certificate: certificate2,
          now,
          ...byMark ? { doubt: now + doubtMs } : {},
          ...reason === "removal-due" ? { removalAskedAt: now } : {}
        });
        counts[reason] = (counts[reason] ?? 0) + 1;
        if (first.length < limits.reconcileWakes) first.push(certificate2);
      })
    );
    done += wanted.length;
    await moveOn(turn, "asking", done, options);
  }
  return { counts, first };
}
var concurrency2 = 32;
async function moveOn(turn, step, done, { progress }) {
  progress?.(step, done);
  await turn.keep(step, done);
}
async function wake2({ dispatch, log }, link, certificates) {
  if (certificates.length === 0) return;
  try {
    await dispatch.dispatch(certificates.map((certificate2) => ({ link: link.name, certificate: certificate2 })));
  } catch (thrown) {
    log("warn", "dispatch_failed", { link: link.name, ...errorFields(asCodedError(thrown)) });
  }
}
function* batchesOf(items, size) {
  let batch = [];
  for (const item of items) {
    batch.push(item);
    if (batch.length < size) continue;
    yield batch;
    batch = [];
  }
  if (batch.length > 0) yield batch;
}

// history:src/replication/bring-equal.ts
import { createHash as createHash2 } from "node:crypto";

// history:src/replication/deadline.ts
async function withDeadline(runtime, at, work, late) {
  const call = new AbortController();
  const timer = new AbortController();
  const expired = runtime.wait(Math.max(0, at - runtime.now()), timer.signal).then(
    () => "expired",
    () => "ended"
  );
  const result = work(call.signal).then(
    (value) => ({ value }),
    (error) => ({ error })
  );
  const first = await Promise.race([result, expired]);
  timer.abort("ended");
  if (typeof first === "string") {
    call.abort();
    return late();
  }
  if ("error" in first) throw first.error;
  return first.value;
}

// history:src/replication/look.ts
function readBy(runtime, at, store, read) {
  return withDeadline(runtime, at, read, () => ({
    state: "unreadable",
    error: new CodedError("store_unavailable", `${store.id} did not answer a read in time`, {
      fields: { store: store.id }
    })
  })).catch((thrown) => ({ state: "unreadable", error: asCodedError(thrown) }));
}
async function lookAtPrimary(options) {
  const { runtime, at, store, id, keys } = options;
  const reading = await readBy(runtime, at, store, async (signal) => keys.keep(await store.read(id, { signal })));
  if (reading.state !== "unreadable" || reading.error.code !== "store_content_unreadable") return { reading };
  const described = await readBy(runtime, at, store, (signal) => store.readMetadata(id, { signal }));
  return described.state === "present" ? { reading, described: described.value } : { reading };
}
async function lookAtBackup(options) {
  const { runtime, at, store, state, mark } = options;
  const { id } = state;
  const [known, copies] = await Promise.all([
    id === void 0 ? void 0 : readBy(runtime, at, store, (signal) => store.readMetadata(id, { signal })),
    options.byMark || store.abilities.findsMarks ? findCopies(runtime, at, store, mark, options.listings) : void 0
  ]);
  return { store, state, ...known === void 0 ? {} : { known }, ...copies };
}
async function findCopies(runtime, at, store, mark, listings) {
  const find = (signal) => store.findByMark?.(mark, { signal }) ?? listings.marked(store, mark);
  try {
    return {
      marked: await withDeadline(runtime, at, find, () => {
        throw new CodedError("store_unavailable", `${store.id} could not be searched for copies in time`, {
          fields: { store: store.id }
        });
      })
    };
  } catch (thrown) {
    return { markedError: asCodedError(thrown) };
  }
}
function backupStates(record2, backups) {
  return backups.map(({ id }) => record2.backups.find(({ store }) => store === id) ?? { store: id, attempts: 0 });
}

// history:src/replication/backup-calls.ts
function backupCalls(runtime, store, writeBy, keys) {
  const fields = { store: store.id };
  let wrote = false;
  let doubtful = false;
  async function send(write) {
    if (runtime.now() >= writeBy) {
      throw new CodedError("store_unavailable", "no time was left in the lease to send a write", { fields });
    }
    wrote = true;
    try {
      return await withDeadline(runtime, writeBy, write, () => {
        throw new CodedError("store_unanswered", `${store.id} did not answer a write in time`, { fields });
      });
    } catch (thrown) {
      if (asCodedError(thrown).entry.applied === "unknown") doubtful = true;
      throw thrown;
    }
  }
  async function held(read) {
    const reading = await readBy(runtime, writeBy, store, read);
    if (reading.state === "unreadable") throw reading.error;
    return reading.state === "present" ? reading.value : void 0;
  }
  const readMetadata = (id) => held((signal) => store.readMetadata(id, { signal }));
  return {
    send,
    read: (id) => held(async (signal) => keys.keep(await store.read(id, { signal }))),
    readMetadata,
    async removeMarked(copies, mark) {
      let removed = 0;
      for (const { id } of copies) {
        if (!sameMark((await readMetadata(id))?.mark, mark)) continue;
        await send((signal) => store.delete(id, { signal }));
        removed += 1;
      }
      return removed;
    },
    get wrote() {
      return wrote;
    },
    get doubtful() {
      return doubtful;
    }
  };
}

// history:src/replication/bring-equal.ts
var unreadableAfterAttempts = 3;
async function bringEqual(task, look) {
  const { runtime, timing, sound } = task;
  const attempt = new Attempt(task, look);
  try {
    await attempt.run();
    const { id, revision } = attempt;
    const changed = look.state.fingerprint !== sound.fingerprint || look.state.metadataDigest !== attempt.wantedDigest || attempt.replaced;
    const replicatedAt = changed ? runtime.now() : look.state.replicatedAt;
    const state = {
      store: look.store.id,
      attempts: 0,
      fingerprint: sound.fingerprint,
      metadataDigest: attempt.wantedDigest,
      ...id === void 0 ? {} : { id },
      ...revision === void 0 ? {} : { revision },
      ...replicatedAt === void 0 ? {} : { replicatedAt }
    };
    return { ...attempt.summary(), state, equal: true };
  } catch (thrown) {
    const error = asCodedError(thrown);
    const state = attempt.stateAfterFailure();
    if (thrown instanceof Waiting) return { ...attempt.summary(), state, equal: false, again: thrown.until };
    const now = runtime.now();
    const lastError = { code: error.code, message: error.message, at: now };
    if (thrown instanceof Unfit) {
      const { revision } = attempt;
      const kept = { ...state, lastError, ...revision === void 0 ? {} : { revision } };
      return { ...attempt.summary(), state: kept, equal: false, error, refused: true };
    }
    const attempts = look.state.attempts + 1;
    const notBefore = now + backoffMs(attempts, runtime.random, timing, error.retryAfterMs);
    const doubtful = attempt.summary().doubtful || error.code === "store_conflict";
    return {
      ...attempt.summary(),
      state: { ...state, attempts, notBefore, lastError },
      equal: false,
      doubtful,
      again: notBefore,
      error
    };
  }
}
var Waiting = class extends Error {
  until;
  constructor(until) {
    super("waiting for doubt to pass");
    this.until = until;
  }
};
var Unfit = class extends CodedError {
};
var Attempt = class {
  actions = [];
  wantedDigest;
  #wanted;
  #given;
  #task;
  #look;
  #store;
  #calls;
  /** Id of our copy, as soon as it is known. */
  id;
  revision;
  /** An old copy was left behind by a replacement. */
  leftBehind = false;
  replaced = false;
  constructor(task, look) {
    this.#task = task;
    this.#look = look;
    this.#store = look.store;
    this.#calls = backupCalls(task.runtime, look.store, task.writeBy, task.keys);
    this.id = look.state.id;
    this.#given = descriptive(task.sound.metadata, task.mark, look.store);
    this.#wanted = look.store.asKept(this.#given, task.mark);
    this.wantedDigest = metadataDigestOf(this.#wanted);
  }
  summary() {
    const { wrote, doubtful } = this.#calls;
    const searched = this.#look.marked !== void 0;
    return { actions: this.actions, wrote, doubtful: doubtful || this.leftBehind, searched };
  }
  async run() {
    const holding = await this.#choose();
    if (holding === void 0) {
      this.id = void 0;
      await this.#import("imported");
      return;
    }
    this.id = holding.id;
    const content = await this.#makeContentEqual(holding);
    if (content === "replaced") return;
    await this.#removeSurplus(content.proven);
    const described = content.metadata ?? holding.metadata ?? await this.#calls.readMetadata(holding.id);
    await this.#describe(described, holding.id);
    if (this.#look.markedError !== void 0) throw this.#look.markedError;
  }
  /** What is known of the backup after a failure: its copy's id as it is now, the rest as it was. */
  stateAfterFailure() {
    const { id: _id, notBefore: _notBefore, lastError: _lastError, ...kept } = this.#look.state;
    return this.id === void 0 ? kept : { ...kept, id: this.id };
  }
  /** Which copy is ours: the one that the record knows, else one found by our mark and proven to be there. */
  async #choose() {
    const { known, state, marked } = this.#look;
    const { mark, sound } = this.#task;
    if (known?.state === "present") {
      const metadata = known.value;
      if (metadata.mark !== void 0 && !sameMark(metadata.mark, mark)) {
        throw new CodedError("store_copy_not_ours", `the copy ${metadata.id} carries the mark of another certificate`, {
          fields: { store: this.#store.id, copy: metadata.id, mark: formatMark(metadata.mark) }
        });
      }
      return { id: metadata.id, metadata };
    }
    if (known?.state === "unreadable") {
      if (known.error.code !== "store_content_unreadable" || state.id === void 0) throw known.error;
      return { id: state.id, unreadable: true };
    }
    const differs = (copy) => factsDiffer(copy, sound) ? 1 : 0;
    const candidates = (marked ?? []).filter(({ id }) => id !== state.id).sort((a, b) => differs(a) - differs(b) || (a.id < b.id ? -1 : 1));
    for (const { id } of candidates) {
      const found = await this.#confirm(id);
      if (found === void 0) continue;
      this.actions.push("adopted");
      return found;
    }
    return void 0;
  }
  /** A listing may lag: a copy that it shows counts only when a direct read shows it too, still with our mark. */
  async #confirm(id) {
    const { mark } = this.#task;
    try {
      const full = await this.#calls.read(id);
      return full !== void 0 && sameMark(full.metadata.mark, mark) ? { id, metadata: full.metadata, full } : void 0;
    } catch (thrown) {
      if (asCodedError(thrown).code !== "store_content_unreadable") throw thrown;
    }
    const metadata = await this.#calls.readMetadata(id);
    return sameMark(metadata?.mark, mark) ? { id, unreadable: true, ...metadata && { metadata } } : void 0;
  }
  /**
   * Writes the content if it differs. Answers what was said of the copy last, which the recorded revision goes with, and whether a full
   * read of this pass has shown it equal.
   */
  async #makeContentEqual(holding) {
    const seen = await this.#compare(holding);
    if (seen.differs) {
      const metadata2 = await this.#reimport(holding);
      return metadata2 === "replaced" ? metadata2 : { proven: false, metadata: metadata2 };
    }
    const metadata = seen.full?.metadata ?? holding.metadata;
    this.revision = metadata?.revision;
    return { proven: seen.full !== void 0, metadata };
  }
  /** Writes name, description, tags and mark if they differ. */
  async #describe(described, id) {
    const { sound, mark } = this.#task;
    if (described === void 0) return;
    if (metadataDigestOf(described) === this.wantedDigest && sameMark(described.mark, mark)) return;
    const answer = await this.#calls.send((signal) => this.#store.updateMetadata(id, this.#given, mark, { signal }));
    this.revision = answer.metadata?.revision;
    this.actions.push("described");
    if (answer.metadata !== void 0 && factsDiffer(answer.metadata, sound)) throw this.#holdsOther(id);
  }
  /** Whether the content differs. Metadata is enough where it already differs; only what looks equal is read in full. */
  async #compare(holding) {
    const { sound } = this.#task;
    if (holding.unreadable === true) return { differs: true };
    const differs = holding.full === void 0 && holding.metadata !== void 0 && factsDiffer(holding.metadata, sound);
    if (differs && sound.content.chain.length > 0) return { differs };
    const reading = await this.#tryRead(holding);
    if (reading === "unreadable") return { differs: true };
    const { content } = reading;
    if (this.#equals(content)) return { differs: false, full: reading };
    if (sound.content.chain.length === 0 && content.chain.length > 0 && content.leaf.issuer === sound.content.leaf.issuer) {
      this.revision = reading.metadata.revision;
      throw new Unfit(
        "certificate_chain_missing",
        "the primary holds a leaf without its chain, and the copy of the same issuer has one: the copy stays as it is",
        { fields: { store: this.#store.id, copy: holding.id } }
      );
    }
    return { differs: true, full: reading };
  }
  /** Replaces the content in place, or by a new copy where the service refuses that. Answers what is said of the copy then. */
  async #reimport(holding) {
    const { content } = this.#task.sound;
    if (this.#store.abilities.reimportsInPlace) {
      try {
        const answer = await this.#calls.send((signal) => this.#store.reimport(holding.id, content, { signal }));
        const metadata = await this.#believe(answer);
        this.actions.push("reimported");
        return metadata;
      } catch (thrown) {
        const { code } = asCodedError(thrown);
        if (code === "store_gone") this.id = void 0;
        if (code !== "store_refused") throw thrown;
      }
    }
    if (!await this.#adoptEqual(holding.id)) await this.#import("replaced", holding.id);
    return "replaced";
  }
  /** Takes over another copy with our mark that is equal already: a replacement whose maker did not live to record it. */
  async #adoptEqual(instead) {
    const { sound } = this.#task;
    for (const copy of this.#look.marked ?? []) {
      if (copy.id === instead || factsDiffer(copy, sound)) continue;
      const found = await this.#confirm(copy.id);
      if (found?.full === void 0 || !this.#equals(found.full.content)) continue;
      this.id = copy.id;
      this.leftBehind = true;
      this.replaced = true;
      this.revision = found.full.metadata.revision;
      this.actions.push("adopted");
      return true;
    }
    return false;
  }
  async #import(action, replaces) {
    const { beganAt, doubt, mark, sound } = this.#task;
    if (this.#look.markedError !== void 0) throw this.#look.markedError;
    if (doubt !== void 0 && (doubt > beganAt || this.#look.marked === void 0)) throw new Waiting(doubt);
    const replacement = replaces === void 0 ? "" : this.#replacementOf(replaces);
    const token = sha256(`${formatMark(mark)}${replacement}`);
    const metadata = replacement === "" || !this.#store.abilities.uniqueNames ? this.#given : { ...this.#given, name: `${this.#given.name}-${sha256(replacement).slice(0, 8)}` };
    const answer = await this.#calls.send(
      (signal) => this.#store.import({ content: sound.content, metadata, mark, token }, { signal })
    );
    this.id = answer.id;
    this.replaced = true;
    if (replaces !== void 0) this.leftBehind = true;
    await this.#believe(answer);
    this.actions.push(action);
  }
  /**
   * Tells a replacement from others: it is made once for each content, and once more for each copy of ours that an earlier attempt
   * left and that could not be taken over, so that neither is in its way.
   */
  #replacementOf(replaced) {
    const left = (this.#look.marked ?? []).map(({ id }) => id).filter((id) => id !== replaced);
    return ` instead of ${[replaced, ...left.toSorted()].join(" and ")} as ${this.#task.sound.fingerprint}`;
  }
  /** Compares what the service says it now holds, from its answer, or from a read where the answer says too little. Answers that. */
  async #believe(answer) {
    const { sound } = this.#task;
    const { metadata } = answer;
    this.revision = metadata?.revision;
    if (metadata !== void 0 && (metadata.serial !== void 0 || metadata.notAfter !== void 0)) {
      if (factsDiffer(metadata, sound)) throw this.#holdsOther(answer.id);
      return metadata;
    }
    const full = await this.#calls.read(answer.id);
    if (full === void 0 || !this.#equals(full.content)) throw this.#holdsOther(answer.id);
    this.revision = full.metadata.revision;
    return full.metadata;
  }
  /**
   * Removes other copies with our mark, after the kept one is proven by a full read of this pass. Not while there is doubt: a removal of the
   * kept one may be on its way, from when another one was kept. The look that ends the doubt does it.
   */
  async #removeSurplus(proven) {
    const kept = this.id;
    const surplus = (this.#look.marked ?? []).filter(({ id }) => id !== kept);
    const { beganAt, doubt } = this.#task;
    if (surplus.length === 0 || kept === void 0 || doubt !== void 0 && doubt > beganAt) return;
    if (!proven) {
      const full = await this.#calls.read(kept);
      if (full === void 0 || !this.#equals(full.content)) throw this.#holdsOther(kept);
    }
    const removed = await this.#calls.removeMarked(surplus, this.#task.mark);
    if (removed > 0) this.actions.push("surplus-removed");
  }
  async #tryRead(holding) {
    if (holding.full !== void 0) return holding.full;
    try {
      const full = await this.#calls.read(holding.id);
      if (full !== void 0) return full;
    } catch (thrown) {
      const { code } = asCodedError(thrown);
      const hopeless = code === "store_unavailable" && this.#look.state.attempts >= unreadableAfterAttempts && this.#store.abilities.reimportsInPlace && this.#task.sound.content.chain.length > 0;
      if (code === "store_content_unreadable" || hopeless) return "unreadable";
      throw thrown;
    }
    this.id = void 0;
    throw new CodedError("store_gone", `the copy ${holding.id} vanished while it was looked at`, {
      fields: { store: this.#store.id, copy: holding.id }
    });
  }
  /** Whether content read from this store equals the primary's, as far as the store gives it. */
  #equals(content) {
    const { sound } = this.#task;
    if (this.#store.abilities.givesKeys) return fingerprintOf(content) === sound.fingerprint;
    const { leaf, chain } = sound.content;
    return fingerprintOf({ leaf: content.leaf, chain: content.chain }) === fingerprintOf({ leaf, chain });
  }
  #holdsOther(id) {
    return new CodedError("store_holds_other", `the copy ${id} is not what was written to it`, {
      fields: { store: this.#store.id, copy: id }
    });
  }
};
function factsDiffer(metadata, sound) {
  const facts = factsOf(sound.content);
  return metadata.serial !== void 0 && metadata.serial !== facts.serial || metadata.notBefore !== void 0 && metadata.notBefore !== facts.notBefore || metadata.notAfter !== void 0 && metadata.notAfter !== facts.notAfter;
}
function descriptive(metadata, mark, store) {
  const { name, description, tags } = metadata;
  if (!store.abilities.uniqueNames) return { name, description, tags };
  const suffix = suffixOf(mark);
  const kept = store.asKept({ name: `${name}${suffix}`, description, tags }, mark).name;
  const room = kept.endsWith(suffix) ? name.length : Math.max(0, kept.length - suffix.length);
  return { name: `${name.slice(0, room)}${suffix}`, description, tags };
}
var suffixOf = (mark) => `-${sha256(mark.certificate).slice(0, 8)}`;
var sha256 = (text) => createHash2("sha256").update(text).digest("hex");

// history:src/replication/commit.ts
async function commitSurely(worker, link, record2, pass) {
  const { records, runtime, timing } = worker;
  const { certificate: certificate2, leaseToken: token, requested: seen } = record2;
  const { fields, doubt, wakeAt } = pass;
  let failure2 = new CodedError(
    "internal",
    `the table refuses the commit of ${certificate2} and shows its lease as ours`
  );
  for (let attempt = 1; attempt <= commitAttempts; attempt += 1) {
    try {
      const answer = await records.commit({
        link: link.name,
        certificate: certificate2,
        token,
        seen,
        fields,
        ...doubt === void 0 ? {} : { doubt },
        ...wakeAt === void 0 ? {} : { wakeAt }
      });
      if (answer !== "refused") return answer;
      const row = await records.get(link.name, certificate2);
      if (row?.leaseToken === token) {
        if (row.leaseUntil !== void 0) continue;
        return row.requested === seen ? "committed" : "moved";
      }
      if (pass.wrote) {
        const now = runtime.now();
        await records.ask({ link: link.name, certificate: certificate2, now, doubt: Math.max(now + pass.settled, row?.doubt ?? 0) });
      }
      return "refused";
    } catch (thrown) {
      failure2 = thrown;
      await runtime.wait(backoffMs(attempt, runtime.random, timing));
    }
  }
  throw failure2;
}
var commitAttempts = 4;

// history:src/replication/keys-read.ts
function keysRead() {
  const contents = /* @__PURE__ */ new Set();
  let over = false;
  return {
    keep(reading) {
      if (reading.state !== "present") return reading;
      if (over) reading.value.content.privateKey?.pem.wipe();
      else contents.add(reading.value.content);
      return reading;
    },
    wipe() {
      over = true;
      for (const { privateKey } of contents) privateKey?.pem.wipe();
      contents.clear();
    }
  };
}

// history:src/replication/pass-outcome.ts
function primaryState(record2, verdict, beganAt) {
  const found = foundIn(verdict);
  if (found === void 0) return record2.primary;
  const { metadata, fingerprint, metadataDigest } = found;
  const notAfter = Date.parse(found.content.leaf.validTo);
  return {
    name: metadata.name,
    fingerprint,
    metadataDigest,
    listedFacts: listedFacts(metadata),
    lookedAt: beganAt,
    // OpenSSL reads a certificate whose dates are none, and a row holds no number that is none.
    ...Number.isNaN(notAfter) ? {} : { notAfter },
    ...metadata.revision === void 0 ? {} : { revision: metadata.revision },
    ...changeMoment(record2, found, beganAt)
  };
}
function changeMoment(record2, { metadata }, beganAt) {
  if (metadata.lastModified !== void 0) return { changedAt: metadata.lastModified, changedAtFrom: "last-modified" };
  if (record2.occurredAt !== void 0) return { changedAt: record2.occurredAt, changedAtFrom: "event" };
  return { changedAt: record2.eventAt ?? beganAt, changedAtFrom: "acknowledged" };
}
function foundIn(verdict) {
  if (verdict.kind === "sound") return verdict;
  return verdict.kind === "refused" || verdict.kind === "aside" ? verdict.found : void 0;
}
function leaseHolderFields(worker, record2, verdict, outcomes, primary) {
  const { runtime, timing } = worker;
  const now = runtime.now();
  const always = {
    attempts: 0,
    backups: outcomes.map(({ state }) => state),
    ...primary === void 0 ? {} : { primary }
  };
  const unfit = outcomes.find(({ refused }) => refused)?.error;
  if (verdict.kind === "unreadable") {
    const attempts = record2.attempts + 1;
    const notBefore = now + backoffMs(attempts, runtime.random, timing, verdict.error.retryAfterMs);
    const { absentSince, aside, refusal } = record2;
    const kept = {
      ...absentSince === void 0 ? {} : { absentSince },
      ...aside === void 0 ? {} : { aside },
      ...refusal === void 0 ? {} : { refusal }
    };
    return { ...always, ...kept, attempts, notBefore, lastError: recorded(verdict.error, now) };
  }
  if (verdict.kind === "absent") return { ...always, absentSince: record2.absentSince ?? now };
  if (verdict.kind === "aside") return { ...always, aside: verdict.why };
  if (verdict.kind === "refused") {
    return { ...always, ...refusalOf(record2, { ...verdict, byPolicy: true }, now) };
  }
  if (unfit !== void 0) {
    const facts = `${unfit.code} ${verdict.fingerprint}`;
    return { ...always, ...refusalOf(record2, { error: unfit, facts, metadata: verdict.metadata }, now) };
  }
  return always;
}
function refusalOf(record2, finding, now) {
  const { error, facts, metadata, byPolicy } = finding;
  const same = record2.refusal?.facts === facts ? record2.refusal : void 0;
  return {
    refusal: {
      code: error.code,
      facts,
      since: same?.since ?? now,
      looks: (same?.looks ?? 0) + 1,
      ...byPolicy === void 0 ? {} : { byPolicy },
      ...metadata === void 0 ? {} : { listedFacts: listedFacts(metadata) },
      ...metadata?.revision === void 0 ? {} : { revision: metadata.revision }
    },
    lastError: recorded(error, now)
  };
}
function recorded(error, at) {
  return { code: error.code, message: error.message, at };
}
function nextDoubt(record2, pass) {
  const { doubt } = record2;
  if (pass.outcomes.some(({ doubtful }) => doubtful)) return Math.max(doubt ?? 0, pass.now + pass.settled);
  const settledAndSeen = doubt !== void 0 && doubt <= pass.beganAt && pass.outcomes.every(({ searched }) => searched);
  return settledAndSeen && pass.allEqual ? void 0 : doubt;
}
function nextLook(link, record2, fields, pass) {
  const { beganAt, timing, doubt } = pass;
  const moments = [];
  if (fields.notBefore !== void 0) moments.push(fields.notBefore);
  for (const { again } of pass.outcomes) if (again !== void 0) moments.push(again);
  if (doubt !== void 0 && doubt > beganAt) moments.push(doubt);
  const refusalWait = fields.refusal && timing.refusalLooksMs[fields.refusal.looks - 1];
  if (refusalWait !== void 0) moments.push(beganAt + refusalWait);
  if (fields.absentSince !== void 0) {
    const confirmAt = fields.absentSince + Math.max(timing.absenceMs, link.primary.abilities.readSettlesMs);
    if (beganAt < confirmAt) moments.push(confirmAt);
  }
  if (record2.eventAt !== void 0) {
    const readSettledAt = record2.eventAt + link.primary.abilities.readSettlesMs;
    if (beganAt < readSettledAt) moments.push(readSettledAt);
  }
  return moments.length === 0 ? void 0 : Math.min(...moments);
}

// history:src/replication/retire.ts
function isGone(link, record2, beganAt, timing) {
  const { absentSince } = record2;
  const wait = Math.max(timing.absenceMs, link.primary.abilities.readSettlesMs);
  return absentSince !== void 0 && beganAt >= absentSince + wait;
}
function mayRemove({ policy }, record2, now) {
  const { absentSince, removalAskedAt } = record2;
  if (policy.removal === void 0 || absentSince === void 0 || removalAskedAt === void 0) return false;
  return now - absentSince >= policy.removal.afterMs;
}
var said = /^Retained since \d{4}-\d\d-\d\d: /;
async function retire(task, look, gone) {
  const { runtime, timing, mark } = task;
  const { store, state } = look;
  const calls = backupCalls(runtime, store, task.writeBy, task.keys);
  const actions = [];
  const summary = () => {
    const { wrote, doubtful } = calls;
    return { actions, equal: false, searched: look.marked !== void 0, wrote, doubtful };
  };
  const { id: _id, retainedAt: _retainedAt, notBefore: _notBefore, lastError: _lastError, ...kept } = state;
  try {
    const copies = ours(task, look);
    if (gone.remove) {
      if (await calls.removeMarked(copies, mark) > 0) actions.push("removed");
      return { ...summary(), state: { store: store.id, attempts: 0 } };
    }
    const [copy] = copies;
    if (copy === void 0) return { ...summary(), state: { ...kept, attempts: 0 } };
    const revision = said.test(copy.description) ? copy.revision : await sayRetained(task, store, calls, copy, gone.since);
    if (calls.wrote) actions.push("retained");
    const { revision: _revision, ...rest } = kept;
    const retained = { ...rest, id: copy.id, attempts: 0, retainedAt: runtime.now() };
    return { ...summary(), state: revision === void 0 ? retained : { ...retained, revision } };
  } catch (thrown) {
    const error = asCodedError(thrown);
    const now = runtime.now();
    const attempts = state.attempts + 1;
    const notBefore = now + backoffMs(attempts, runtime.random, timing, error.retryAfterMs);
    const lastError = { code: error.code, message: error.message, at: now };
    return { ...summary(), state: { ...state, attempts, notBefore, lastError }, again: notBefore, error };
  }
}
function ours({ mark }, look) {
  const { known, marked = [], markedError } = look;
  if (known?.state === "unreadable") throw known.error;
  if (markedError !== void 0) throw markedError;
  const recorded2 = known?.state === "present" ? [known.value] : [];
  const others = marked.filter(({ id }) => id !== recorded2[0]?.id).toSorted((a, b) => a.id < b.id ? -1 : 1);
  return [...recorded2, ...others].filter((copy) => sameMark(copy.mark, mark));
}
async function sayRetained({ mark }, store, calls, copy, since) {
  const { id, name, tags } = copy;
  const day = new Date(since).toISOString().slice(0, 10);
  const line = `Retained since ${day}: the original is gone from the primary.`;
  const description = copy.description === "" ? line : `${line}
${copy.description}`;
  const answer = await calls.send((signal) => store.updateMetadata(id, { name, description, tags }, mark, { signal }));
  return answer.metadata?.revision;
}

// history:src/replication/replicate.ts
async function replicate(worker, link, certificate2, { beginBy = Number.POSITIVE_INFINITY } = {}) {
  const passes = [];
  for (let round = 0; round < limits.passesInARow; round += 1) {
    if (round > 0 && worker.runtime.now() > beginBy) break;
    const pass = await onePass(worker, link, certificate2);
    if (pass === void 0) return { passes };
    passes.push(pass.report);
    if (pass.answer === "refused") return { passes };
    if (pass.answer === "committed") return pass.wakeAt === void 0 ? { passes } : { passes, again: pass.wakeAt };
  }
  return { passes, again: worker.runtime.now() };
}
async function onePass(worker, link, certificate2) {
  const { runtime, timing, records } = worker;
  const settled = settledMs(link.backups, timing);
  const claimedAt = runtime.now();
  const leaseUntil = claimedAt + timing.leaseMs;
  const [claim, binding] = await Promise.all([
    records.claim({
      link: link.name,
      certificate: certificate2,
      owner: runtime.newId(),
      now: claimedAt,
      leaseUntil,
      skewMs: timing.skewMs,
      doubt: claimedAt + settled
    }),
    worker.links.bindingOf(link.name)
  ]);
  if (!claim.claimed) return void 0;
  const { record: record2 } = claim;
  if (binding.primary !== void 0 && binding.primary !== link.primary.id) {
    await giveBack(worker, record2);
    throw moved(link.name, link.primary.id, binding.primary);
  }
  const beganAt = runtime.now();
  const keys = keysRead();
  const { verdict, outcomes } = await lookAndWrite(worker, link, record2, {
    beganAt,
    writeBy: leaseUntil - timing.commitMs,
    reconciled: binding.reconciled,
    keys
  }).finally(() => keys.wipe());
  const primary = primaryState(record2, verdict, beganAt);
  const fields = leaseHolderFields(worker, record2, verdict, outcomes, primary);
  const allEqual = verdict.kind === "sound" && outcomes.every(({ equal }) => equal);
  const doubt = nextDoubt(record2, { beganAt, outcomes, allEqual, now: runtime.now(), settled });
  const wakeAt = nextLook(link, record2, fields, { beganAt, outcomes, doubt, timing });
  const wrote = outcomes.some((outcome) => outcome.wrote);
  const answer = await commitSurely(worker, link, record2, { fields, doubt, wakeAt, wrote, settled });
  const report = {
    link: link.name,
    certificate: certificate2,
    verdict,
    backups: outcomes,
    record: record2,
    committedAt: runtime.now(),
    ...primary === void 0 ? {} : { primary }
  };
  logPass(worker.log, report, answer, fields);
  return { report, answer, wakeAt };
}
async function giveBack({ records, runtime }, record2) {
  const { link, certificate: certificate2, leaseToken: token, requested: seen, doubt, wakeAt = runtime.now() } = record2;
  const { attempts, notBefore, lastError, absentSince, aside, refusal, primary, backups } = record2;
  const fields = { attempts, notBefore, lastError, absentSince, aside, refusal, primary, backups };
  await records.commit({
    link,
    certificate: certificate2,
    token,
    seen,
    wakeAt,
    fields,
    ...doubt === void 0 ? {} : { doubt }
  });
}
async function lookAndWrite(worker, link, record2, pass) {
  const { runtime, timing, listings } = worker;
  const { beganAt, writeBy, keys } = pass;
  const { doubt } = record2;
  const mark = { store: link.primary.id, certificate: record2.certificate };
  const at = Math.min(beganAt + timing.lookMs, writeBy);
  const states = backupStates(record2, link.backups);
  const verdictSoon = lookAtPrimary({ runtime, at, store: link.primary, id: record2.certificate, keys }).then(({ reading, described }) => judge(link, reading, runtime.now(), described)).catch((thrown) => ({ kind: "unreadable", error: asCodedError(thrown) }));
  const outcomes = await Promise.all(
    link.backups.map(async (store, index) => {
      const state = states[index] ?? { store: store.id, attempts: 0 };
      if (state.notBefore !== void 0 && state.notBefore > beganAt) return untouched(state, state.notBefore);
      const byMark = doubt !== void 0 || !pass.reconciled.has(store.id);
      const [verdict, look] = await Promise.all([
        verdictSoon,
        lookAtBackup({ runtime, at, store, state, mark, byMark, listings })
      ]);
      if (verdict.kind === "absent" && isGone(link, record2, beganAt, timing)) {
        const remove = mayRemove(link, record2, runtime.now());
        if (state.retainedAt !== void 0 && !remove) return untouched(state);
        return retire({ runtime, timing, beganAt, writeBy, mark, keys }, look, {
          since: record2.absentSince ?? beganAt,
          remove
        });
      }
      if (verdict.kind !== "sound") return untouched(state);
      return bringEqual({ runtime, timing, beganAt, writeBy, doubt, mark, sound: verdict, keys }, look);
    })
  );
  return { verdict: await verdictSoon, outcomes };
}
function untouched(state, again) {
  const nothing = { state, actions: [], equal: false, searched: false, wrote: false, doubtful: false };
  return again === void 0 ? nothing : { ...nothing, again };
}
function logPass(log, report, answer, fields) {
  const { link, certificate: certificate2, verdict } = report;
  const about = { link, certificate: certificate2, name: report.primary?.name };
  if (fields.refusal !== void 0 && fields.refusal.facts !== report.record.refusal?.facts) {
    log("warn", "certificate_refused", { ...about, code: fields.refusal.code, message: fields.lastError?.message });
  }
  if (verdict.kind === "unreadable") log("warn", "primary_unreadable", { ...about, ...errorFields(verdict.error) });
  for (const { state, actions, error, refused } of report.backups) {
    const at = { ...about, backup: state.store, copy: state.id };
    if (actions.length > 0) log("info", "copy_written", { ...at, actions });
    if (error !== void 0 && refused !== true)
      log("warn", "backup_failed", { ...at, ...errorFields(asCodedError(error)) });
  }
  log("debug", "pass", { ...about, verdict: verdict.kind, answer });
}

// history:src/replication/sweep.ts
async function sweep(sweeper, links) {
  const woken = await Promise.all(
    links.map(async (link) => {
      const [due] = await Promise.all([wakeDue(sweeper, link), refreshVerificationKey(sweeper, link)]);
      return [link.name, due];
    })
  );
  return { woken: woken.reduce((sum, [, count]) => sum + count, 0), byLink: new Map(woken) };
}
async function wakeDue({ records, dispatch, runtime, log, most = 1e3 }, link) {
  try {
    const certificates = await records.due(link.name, runtime.now(), most);
    if (certificates.length > 0) {
      await dispatch.dispatch(certificates.map((certificate2) => ({ link: link.name, certificate: certificate2 })));
    }
    return certificates.length;
  } catch (thrown) {
    log("error", "sweep_failed", { link: link.name, ...errorFields(asCodedError(thrown)) });
    return 0;
  }
}
async function refreshVerificationKey({ links, runtime, log }, link) {
  if (link.primary.notificationKey === void 0) return;
  try {
    const pem = await link.primary.notificationKey();
    if (pem !== await links.verificationKey(link.name))
      await links.saveVerificationKey(link.name, pem, runtime.now());
  } catch (thrown) {
    log("warn", "verification_key_not_refreshed", { link: link.name, ...errorFields(asCodedError(thrown)) });
  }
}
export {
  CodedError,
  acknowledge,
  errorRegistry,
  idempotencyRecords,
  linkRecords,
  reconcile,
  replicate,
  replicationRecords,
  sharedListings,
  sweep
};
