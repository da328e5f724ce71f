/**
 * The one registry of coded errors. Everything known about a failure stands in its entry, and the
 * rest of the program asks the entry: nothing matches on message text.
 */

import { limits } from './limits.ts';
import {
  byCause,
  type ErrorFields,
  place,
  placeOrReach,
  type RemediesByReason,
  type Remedy,
  reach,
} from './remedies-by-cause.ts';
import { thousands } from './words.ts';

/** What one kind of failure means to each part of the program. */
interface ErrorEntry {
  /** HTTP status with which the receiver or the instance answers when this reaches a request. */
  readonly status: number;
  /**
   * Exit code of the command line when this ends a command: 2 usage, 3 configuration, 4 a service,
   * 5 the table, 6 certificates differ or were refused, 130 stopped by a signal, 1 anything else.
   */
  readonly exit: number;
  /** Whether the same attempt may succeed later without a person. */
  readonly retry: boolean;
  /**
   * For a write: whether it may have taken effect all the same. `unknown` sets doubt (see
   * replication/).
   */
  readonly applied: 'no' | 'unknown';
  /**
   * What a person should do about it; where one code has several causes, by the fields that tell
   * them apart. See `remedyOf`.
   */
  readonly remedy: Remedy;
  /** What a person should know first, whoever says the remedy. */
  readonly lead?: string;
}

const badNotification = { exit: 1, retry: false, applied: 'no' } as const;
const service = { status: 502, exit: 4 } as const;
const certificate = { status: 400, exit: 6, retry: false, applied: 'no' } as const;
const request = { exit: 1, retry: false, applied: 'no' } as const;
const file = { status: 500, exit: 3, retry: true, applied: 'no' } as const;
const configuration = { status: 500, exit: 3, retry: false, applied: 'no' } as const;

/** The reasons by which an authority is not trusted, with one remedy for all. */
const ownAuthority = (remedy: string) =>
  Object.fromEntries(
    [
      'DEPTH_ZERO_SELF_SIGNED_CERT',
      'SELF_SIGNED_CERT_IN_CHAIN',
      'UNABLE_TO_GET_ISSUER_CERT',
      'UNABLE_TO_GET_ISSUER_CERT_LOCALLY',
      'UNABLE_TO_VERIFY_LEAF_SIGNATURE',
    ].map((reason) => [reason, remedy]),
  );

/** A listener that cannot listen, or a setting that is not valid. */
const settingRemedy = byCause('Correct the setting that the message names.', {
  EADDRINUSE: 'Another program listens there (ss -ltnp shows which): stop it, or give another port.',
  EADDRNOTAVAIL: 'This machine does not have that address (ip address shows those that it has): give one of them.',
  EACCES: 'This user may not listen on a port that low: give one from 1024 on, or the capability CAP_NET_BIND_SERVICE.',
  ENOTFOUND: 'That host name is not known here: give an address of this machine.',
  ENOENT: 'There is no file at that path: correct it, or put the file there.',
});

/** What is wrong with a certificate before anything is judged: the same wherever it lies. */
const contentRemedies = {
  certificate_chain_too_long: `Give at most ${limits.chainCertificates} chain certificates.`,
  certificate_key_encrypted: 'Remove the passphrase: openssl pkey -in key.pem -out plain.pem',
  certificate_key_unsupported: `Use an RSA or RSA-PSS key of ${limits.rsaLeastBits} to ${thousands(limits.rsaPrivateKeyBits)} bits, an ECDSA key on P-256, P-384 or P-521, or an Ed25519 key.`,
} as const;

export const errorRegistry = {
  // Notifications: what arrives at the callback URL.
  notification_malformed: {
    ...badNotification,
    status: 400,
    remedy: ({ expected }) =>
      `Send ${expected ?? 'the JSON object {"data": "<compact JWS>"} exactly as the certificate service makes it'}.`,
  },
  notification_not_genuine: {
    ...badNotification,
    status: 401,
    remedy: ({ signs }) =>
      `Only notifications signed ${signs ?? 'by the instance that this link is bound to'} are accepted.`,
  },
  notification_foreign: {
    ...badNotification,
    status: 403,
    remedy:
      'Let nobody but its own sender post to this callback, about the store that it tells of: register its URL nowhere else.',
  },
  notification_too_large: {
    ...badNotification,
    status: 413,
    remedy: `Send at most ${limits.notificationBytes} bytes in one notification.`,
  },
  notification_method: { ...badNotification, status: 405, remedy: 'Use POST.' },
  notification_media_type: {
    ...badNotification,
    status: 415,
    remedy: ({ header }) =>
      header === 'content-encoding'
        ? 'Send the body as it is, not compressed: without Content-Encoding, or with identity.'
        : 'Send Content-Type: application/json.',
  },
  notification_unknown_link: {
    ...badNotification,
    status: 404,
    remedy: 'Use the callback URL of a link or a sender in the configuration: /callback/<name>.',
  },
  notification_key_unknown: {
    status: 503,
    exit: 4,
    retry: true,
    applied: 'no',
    remedy:
      'It names a key that is not among the pinned ones. The sweep fetches new keys; if this stays so, look which key the sender signs with.',
  },
  notification_untimely: {
    status: 503,
    exit: 4,
    retry: true,
    applied: 'no',
    remedy: 'Set the clocks of the sender and of this machine by NTP; certstandby doctor compares this one.',
  },
  notification_key_missing: {
    status: 503,
    exit: 4,
    retry: true,
    applied: 'no',
    remedy:
      'The key that verifies has not been fetched yet; the sweep fetches it. Check that the primary can be reached, or the address where the keys of the sender are served.',
  },

  // Telling a receiver of changes.
  notify_key_invalid: {
    status: 400,
    exit: 2,
    retry: false,
    applied: 'no',
    remedy:
      'Give whsec_ and base64 as the receiver has it, or a private key that certstandby notify --new-key has made.',
  },
  notify_refused: {
    status: 502,
    exit: 4,
    retry: false,
    applied: 'no',
    remedy: byCause('Read its answer: it does not take this message, however often it is sent.', {
      notification_unknown_link: 'Give the callback URL of a sender: /callback/<its name under senders>.',
    }),
  },
  notify_failed: {
    status: 503,
    exit: 4,
    retry: true,
    applied: 'unknown',
    remedy: byCause('The change is not known there. Run the command again, or certstandby reconcile there.', {
      notification_not_genuine:
        'The receiver does not know this key: put it there (secret or publicKey; nextSecret and nextPublicKey while keys change), and run the command again.',
      notification_untimely: 'Set the clocks of both machines by NTP, and run the command again.',
      notification_unknown_link:
        'There is no sender of this name there: give the callback URL of one, /callback/<its name under senders>.',
      no_receiver:
        'Something else answers there, a proxy or another program: give the callback URL of a sender, /callback/<its name under senders>.',
      ECONNREFUSED: 'Nothing listens there: start certstandby serve, or correct the address.',
      ENOTFOUND: 'That host name is not known here: correct the address.',
    }),
  },

  // Telling people what is wrong.
  alert_unavailable: {
    status: 503,
    exit: 4,
    retry: true,
    applied: 'unknown',
    remedy: reach(
      'What it is to be told is kept, and sent by itself. If it stays so, see to the channel; certstandby alerts test tries it.',
    ),
  },
  alert_refused: {
    status: 502,
    exit: 4,
    retry: true,
    applied: 'no',
    remedy:
      'Correct what alerts.channels in the configuration says of it; certstandby alerts test tries it. What it is to be told is kept, and sent by itself.',
  },

  // Stores: what a certificate service answered, or did not.
  store_unavailable: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: reach('Check that the store can be reached from here.'),
  },
  store_unanswered: {
    ...service,
    retry: true,
    applied: 'unknown',
    lead: 'Whether it took effect is not known yet; it is looked at again.',
    remedy: reach(''),
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
    remedy: byCause(
      'Check the credentials of the store, and what they may do there: where they are stands below stores.<name> in the configuration.',
      {},
    ),
  },
  store_refused: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: (fields) =>
      fields.status === 404
        ? 'Nothing is there by what stores.<name> in the configuration says: correct its address, or what it names there.'
        : byCause('The store refuses this request; read its reason.', {})(fields),
  },
  // Why a service does not take a write. Only the first says something about the content: the
  // others are for a person there.
  store_content_refused: {
    ...service,
    retry: false,
    applied: 'no',
    remedy:
      'The store does not take this content; read its reason. The copy there stays as it is until the certificate changes.',
  },
  store_quota_used_up: {
    ...service,
    retry: false,
    applied: 'no',
    remedy: 'A quota of the store is used up. Have it raised, or wait until it begins anew.',
  },
  store_held: {
    ...service,
    retry: false,
    applied: 'no',
    remedy: 'Somebody has locked this certificate in the store, or made it immutable: take the lock off there.',
  },
  store_in_use: {
    ...service,
    retry: false,
    applied: 'no',
    remedy: 'Something uses this certificate in the store, so that it cannot be changed or removed: detach it there.',
  },
  store_rewrites_content: {
    ...service,
    retry: false,
    applied: 'no',
    remedy:
      'The store has given back something else than it was given, twice. Compare the chains, and give the primary the one that the store keeps.',
  },
  store_listed_unread: {
    ...service,
    retry: true,
    applied: 'no',
    remedy:
      'The store lists a copy that a read of it does not find; nothing is imported or removed there until both agree.',
  },
  store_copy_vacant: {
    ...service,
    retry: true,
    applied: 'no',
    remedy:
      'Its place is occupied and holds no content. Where it carries our mark it is brought back and written over by itself; certstandby reconcile asks for that.',
  },
  store_operation_unfinished: {
    ...service,
    retry: false,
    applied: 'unknown',
    remedy:
      'The service goes on with a write for longer than it says it may. Nothing more was written there. See in the service how it stands, and run this again when it has ended: what is there by then is found.',
  },
  store_operation_failed: {
    ...service,
    retry: false,
    applied: 'no',
    remedy:
      'The service took the write, ended it, and the content is not there. See in the service why, mend that, and run this again.',
  },
  store_search_running: {
    ...service,
    retry: true,
    applied: 'no',
    remedy:
      'The store lists too much to be searched within one look; the search goes on, and what it finds is used by a later look.',
  },
  store_name_taken: {
    ...service,
    retry: false,
    applied: 'no',
    remedy: 'Something else has the name in the backup: rename or remove it there, or take naming: exact off the link.',
  },
  store_name_unfit: {
    ...service,
    retry: false,
    applied: 'no',
    remedy:
      'The link names copies exactly (naming: exact), and the backup cannot hold this name: rename the original, or take naming: exact off the link.',
  },
  store_mark_unknown: {
    ...service,
    retry: false,
    applied: 'no',
    remedy:
      'The store keeps no more than a digest of the mark, and no record here tells which certificate it is of: use the table of the deployment that made the copy.',
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
    remedy: ({ status }) =>
      typeof status === 'number' && status >= 300 && status < 400
        ? 'That address redirects to another one, and the credentials do not go along. Put the address of the service itself into the configuration.'
        : 'Something that is not the store answered (a proxy?). Check the address of the store.',
  },
  store_content_unreadable: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: byCause(
      'Mend or remove what the message names. A copy that the records know needs nobody: certstandby reconcile writes it anew.',
      contentRemedies,
    ),
  },
  store_layout_unknown: {
    ...service,
    exit: 6,
    retry: true,
    applied: 'no',
    remedy:
      'Give each certificate a folder of its own with fullchain.pem and privkey.pem, or the file names of a tool that the README names; or move it elsewhere.',
  },
  store_form_unknown: {
    ...service,
    exit: 6,
    retry: true,
    applied: 'no',
    remedy:
      'Put it there in PEM: of DER, openssl x509 -inform der -in <file> -out fullchain.pem; of PKCS#12, openssl pkcs12 -in <file> -nodes -out fullchain.pem.',
  },
  store_name_unreadable: {
    ...service,
    exit: 6,
    retry: true,
    applied: 'no',
    remedy: 'Rename it: its name is not UTF-8, or too long to be kept as an id.',
  },
  store_copy_unclear: {
    ...service,
    exit: 6,
    retry: true,
    applied: 'no',
    remedy:
      'Put back what stood beside that copy (certstandby.json), or remove its folder if it is not needed: then a new copy is made.',
  },
  store_version_unknown: {
    ...service,
    exit: 6,
    retry: true,
    applied: 'no',
    remedy: 'A newer version of certstandby wrote it: use that one.',
  },
  store_root_unusable: {
    ...service,
    retry: true,
    applied: 'no',
    remedy:
      'Mount the folder of the store, or make it (mkdir -m 700), and let the user that certstandby runs as read it.',
  },
  store_full: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: 'Make room on the disk of the folder (df -h, df -i), or raise its quota.',
  },
  store_not_writable: {
    ...service,
    retry: true,
    applied: 'no',
    remedy:
      'Let the user that certstandby runs as write to the folder, on a file system that is mounted for writing and knows symbolic links.',
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

  store_copy_overwritten: {
    ...service,
    retry: false,
    applied: 'no',
    remedy:
      'Somebody else changes copies there again and again: a second deployment on the same stores, a script, or the service. Look at its audit log, and have one of them stop.',
  },
  store_identity_changed: {
    ...service,
    retry: true,
    applied: 'no',
    remedy:
      'Bring back what was there: mount the share, put the old address back. If the new place is meant: certstandby store accept <store>',
  },
  store_identity_shared: {
    ...configuration,
    remedy:
      'Remove one of the two stores from the configuration. If one is a copy of the other, and is to be a store of its own: certstandby store accept <store>',
  },
  store_bound_exceeded: {
    ...service,
    retry: false,
    applied: 'no',
    remedy: 'State what was measured, with room, in the settings of the store; below each stands its line.',
  },
  prove_not_cleaned: {
    ...service,
    retry: true,
    applied: 'unknown',
    remedy: 'Run the same command again when the store answers: it begins by removing what an earlier run left.',
  },

  channel_missing: {
    ...service,
    retry: false,
    applied: 'no',
    remedy: 'Have the primary notify <address>/callback/<link>: certstandby doctor --register <address>',
  },

  // Certificates: why something is not parsed, or not copied.
  certificate_malformed: {
    ...certificate,
    remedy: byCause('Give PEM: one leaf certificate, its chain, and one private key.', {
      no_pem:
        'Give PEM, which begins with -----BEGIN. A certificate in DER becomes that by: openssl x509 -inform DER -in cert.der -out cert.pem',
      damaged_pem: 'The text was damaged on its way. Take the file again, whole, with all BEGIN and END lines.',
      several_keys: 'Leave the one private key in it that belongs to the certificate.',
      no_certificate:
        'Put the certificate into the file beside its key: openssl pkcs12 -export -in cert.pem -inkey key.pem -out new.p12',
      several_leaves: 'Give one certificate with its chain at a time.',
    }),
  },
  certificate_too_large: {
    ...certificate,
    remedy: `Give at most ${limits.pemBytes / 1024} KB of PEM for each of certificate, chain and key.`,
  },
  certificate_chain_too_long: { ...certificate, remedy: contentRemedies.certificate_chain_too_long },
  certificate_key_encrypted: { ...certificate, remedy: contentRemedies.certificate_key_encrypted },
  certificate_key_unsupported: { ...certificate, remedy: contentRemedies.certificate_key_unsupported },
  certificate_key_missing: {
    ...certificate,
    remedy: 'Without its private key it cannot serve: import the certificate together with its key.',
  },
  certificate_vacant: {
    ...certificate,
    remedy:
      'The primary has a place for it and no content there. Put the certificate in again, or bring back what was deleted; its copies stay as they are.',
  },
  certificate_key_withheld: {
    ...certificate,
    remedy:
      'Its service does not give this private key back, so it cannot be copied. Import it there with a key that may be exported, or leave it out by the filter of the link.',
  },
  certificate_key_mismatch: { ...certificate, remedy: 'Import the private key that belongs to this certificate.' },
  certificate_expired: {
    ...certificate,
    remedy: 'It no longer serves. Have it renewed where it was issued, and import the renewed one.',
  },
  certificate_chain_broken: {
    ...certificate,
    remedy: 'Import the certificate together with the certificate of the issuer that the message names.',
  },
  certificate_chain_expired: {
    ...certificate,
    remedy:
      'In the bundle of the primary, replace the certificate that the message names by its current one, which the issuer ' +
      'offers. The leaf itself need not be renewed.',
  },
  certificate_issuer_no_authority: {
    ...certificate,
    remedy:
      'In the bundle of the primary, replace the certificate that the message names by that of the certificate authority. ' +
      'If it is the only one that signed, have the certificate issued by an authority: no client takes it as it is.',
  },
  certificate_temporary: {
    ...certificate,
    remedy:
      'Nothing, if the real one is about to be issued: whoever issues it says what it waits for. To have such ones copied: standIns: true in the policy of the link.',
  },
  certificate_self_signed: {
    ...certificate,
    remedy:
      'Put the certificate of the authority back into the primary: a self-signed one keeps its place. If it is meant, remove the copy there, or say standIns: true in the policy of the link.',
  },
  certificate_going_back: {
    ...certificate,
    remedy:
      'Was the primary restored from an old state? Bring the newer certificates back there. If the older ones are meant, certstandby status shows the command that says so.',
  },
  certificate_change_held: {
    ...certificate,
    remedy:
      'Many certificates changed, and no event and no listing told. Look whether they are right in the primary. If they are meant, certstandby status shows the command that says so.',
  },
  certificate_chain_missing: { ...certificate, remedy: 'Import the certificate together with its intermediates.' },
  certificate_authority_key: {
    ...certificate,
    remedy:
      'Whoever has the key of an authority can issue certificates in its name, so it is not copied. If it is meant to be, as with a server whose own certificate says that it is an authority, write its name, without *, into filter.names of the link. A copy that was made before stays: delete it where it is not wanted.',
  },
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
    remedy: placeOrReach('Check the table: disk space and permissions, or reachability and rights.'),
  },
  table_row_unreadable: {
    status: 500,
    exit: 5,
    retry: false,
    applied: 'no',
    remedy: 'A row of the table cannot be understood. Nothing was changed; was it written by a newer version?',
  },

  // Keys: root keys, data keys, and what is sealed with them.
  keys_unavailable: {
    status: 503,
    exit: 4,
    retry: true,
    applied: 'no',
    remedy: reach('Check that the root key service can be reached from here; it is asked again.'),
  },
  keys_refused: {
    status: 503,
    exit: 4,
    retry: false,
    applied: 'no',
    remedy: reach('Check that the root key is enabled, and that these credentials may wrap and unwrap with it.'),
  },
  keys_unreadable: {
    status: 500,
    exit: 5,
    retry: false,
    applied: 'no',
    remedy:
      'A data key does not open under this root key. Put back the root key that wrapped it, or make it again: certstandby instance recover-root-key',
  },
  sealed_unreadable: {
    status: 500,
    exit: 5,
    retry: false,
    applied: 'no',
    remedy: 'A sealed value was damaged, moved or made elsewhere. Put it back from a backup, or from the primary.',
  },
  keys_file_missing: {
    status: 503,
    exit: 3,
    retry: false,
    applied: 'no',
    remedy: 'Put the root key file back, or make it again from its recovery text.',
  },
  keys_file_exposed: {
    status: 503,
    exit: 3,
    retry: false,
    applied: 'no',
    remedy:
      'Others may have read the root key. Make it yours alone (chmod 600), and change to a new root key if in doubt.',
  },
  keys_file_unusable: {
    status: 503,
    exit: 3,
    retry: false,
    applied: 'no',
    remedy: 'Put the root key file back as it was, or make it again from its recovery text.',
  },
  keys_recovery_text_wrong: {
    status: 400,
    exit: 2,
    retry: false,
    applied: 'no',
    remedy: 'Type the recovery text again, as it was shown when the root key was made.',
  },

  // Drills: reports and the key that signs them.
  drill_report_unreadable: {
    ...request,
    status: 400,
    exit: 2,
    remedy: 'Give a report as certstandby drill has written it: the .json file, not the page.',
  },
  drill_report_changed: {
    ...request,
    status: 400,
    exit: 6,
    remedy: 'Trust nothing in it. Find the report where it was first written, or drill again.',
  },
  drill_key_unusable: {
    ...configuration,
    remedy: place('Mend the folder of reports (drill.folder) or its signing.key.'),
  },

  // The audit trail.
  audit_checkpoint_unusable: {
    ...request,
    status: 400,
    exit: 6,
    remedy: byCause('Give a checkpoint as certstandby audit checkpoint has written it.', {
      another_key:
        'If the key is yours, of another machine say, give its public half with --key. Else trust nothing in the checkpoint.',
      broken: 'Trust nothing in it: find the checkpoint where it was first written, or give another one.',
    }),
  },
  audit_key_unusable: {
    ...configuration,
    remedy: place('Mend the folder of the audit trail (audit.folder) or its signing.key.'),
  },
  audit_not_kept: {
    ...configuration,
    remedy: 'Take audit: { write: false } out of the configuration, and start what runs with it anew.',
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
  instance_body_too_large: {
    ...request,
    status: 413,
    remedy: ({ limit = 'fewer' }) => `Send at most ${limit} bytes in one request.`,
  },
  instance_media_type: {
    ...request,
    status: 415,
    remedy: ({ wanted }) =>
      typeof wanted === 'string'
        ? `Send it with the header Content-Type: ${wanted}.`
        : 'Send the body as it is, not compressed: without Content-Encoding, or with identity.',
  },
  instance_request_invalid: { ...request, status: 400, remedy: 'Mend the request as the message says.' },
  instance_locked: {
    ...request,
    status: 412,
    remedy: 'Take the locks off this version first, or leave it as it is.',
  },
  instance_name_taken: {
    ...request,
    status: 409,
    remedy: 'Take another name, or make a new version of the secret that has it.',
  },
  instance_domains_differ: {
    ...request,
    status: 400,
    remedy: 'Reimport a certificate for the same domains, or import this one as a new certificate.',
  },
  instance_full: {
    ...request,
    status: 409,
    remedy: ({ what }) =>
      what === 'channels'
        ? 'Delete a channel that is not needed.'
        : 'Delete certificates that are not needed, or raise the limit.',
  },
  instance_limited: { ...request, status: 429, retry: true, remedy: 'Wait as long as Retry-After says.' },
  instance_busy: {
    ...request,
    status: 503,
    retry: true,
    remedy: 'Too many changes of one certificate at once; try again.',
  },
  instance_not_private: {
    ...configuration,
    remedy:
      'Give it a certificate of its own (--tls-certificate, --tls-key), or say --behind-proxy if something in front of it ends TLS, or let it listen on 127.0.0.1.',
  },
  instance_content_unreadable: {
    status: 500,
    exit: 6,
    retry: false,
    applied: 'no',
    remedy:
      'The certificate is there, and what was sealed for it does not open: it was changed, moved, or sealed with other keys. Reimport it.',
  },
  instance_not_configured: {
    ...request,
    status: 501,
    remedy:
      'Give certstandby instance run the ACME directory that issued the certificate, or another one (--acme-directory).',
  },
  instance_not_ordered: {
    ...request,
    status: 400,
    remedy: 'Reimport it with a renewed certificate; only what was ordered here is renewed here.',
  },
  instance_not_issued: {
    ...request,
    status: 409,
    remedy: 'Look at status and issuance_info: wait while it is pending; if it failed, mend the reason and renew it.',
  },
  instance_order_running: {
    ...request,
    status: 409,
    remedy: 'Wait until issuance_info says valid or failed, 20 minutes at the most.',
  },
  order_still_running: {
    status: 503,
    exit: 130,
    retry: false,
    applied: 'unknown',
    remedy:
      'Do not order it again: a second order gives a second certificate. Look with certstandby instance certificates.',
  },
  instance_order_over: { ...request, status: 409, remedy: 'Look at issuance_info: the order has ended already.' },
  instance_order_lost: {
    ...request,
    status: 409,
    remedy: 'Nobody works on it any more. Renew it, or order it, again.',
  },
  instance_reimported: {
    ...request,
    status: 409,
    remedy: 'What was reimported stays in force. Renew it again if the authority is to replace it.',
  },

  // Certificate authorities: why an order or a renewal failed. They stand in issuance_info and in
  // cert_order_failed, cert_renew_failed.
  acme_unavailable: {
    ...service,
    retry: true,
    applied: 'unknown',
    remedy: reach('Check that the ACME directory can be reached from here, and that its certificate is trusted.', {
      ...ownAuthority('Give the PEM file of the authority that it is of with --acme-ca.'),
    }),
  },
  acme_limited: {
    ...service,
    retry: true,
    applied: 'no',
    remedy: 'The certificate authority limits orders. Wait as long as it says, and renew or order then.',
  },
  acme_refused: {
    ...service,
    retry: false,
    applied: 'no',
    remedy: 'The certificate authority refuses this order; read its reason (domain, CAA record, account).',
  },
  acme_challenge_failed: {
    ...service,
    retry: false,
    applied: 'no',
    remedy:
      'The record was published, and the authority found something else. Do all name servers of the domain agree?',
  },
  acme_challenge_unpublished: {
    ...service,
    retry: false,
    applied: 'no',
    remedy:
      'Nobody published the record in time. Check the DNS hook, or what answers cert_domain_validation_required, and --dns-server.',
  },
  acme_no_publisher: {
    ...service,
    retry: false,
    applied: 'no',
    remedy:
      'Give certstandby instance run a DNS hook (--dns-hook), or make a url channel of version 4 or 5 that publishes the records.',
  },
  acme_hook_failed: {
    ...service,
    retry: true,
    applied: 'unknown',
    remedy:
      'Run the DNS hook by hand: <hook> add _acme-challenge.<domain> <value>. It must exit with 0 within its time. What it said on stderr is in the log of the server (instance_dns_hook_failed).',
  },
  acme_certificate_wrong: {
    ...service,
    retry: false,
    applied: 'no',
    remedy:
      'What the authority issued was not taken; what was there before stays. Look at the cause, and ask the authority.',
  },
  acme_overdue: {
    ...service,
    retry: false,
    applied: 'no',
    remedy: 'The authority did not finish the order in 20 minutes. Renew or order it again later.',
  },
  instance_deleted: {
    ...request,
    status: 404,
    remedy: 'Bring it back within seven days after it was deleted: certstandby instance reclaim --instance <crn>',
  },
  instance_erased: {
    ...request,
    status: 409,
    remedy:
      'What was erased does not come back. Make a new instance, or restore into another folder if that is what you want.',
  },
  instance_not_empty: {
    ...request,
    status: 409,
    remedy: 'Nothing that was there was changed. Restore into a folder or a table that does not have this instance.',
  },
  snapshot_unknown: {
    ...request,
    status: 400,
    exit: 2,
    remedy: 'Give a file that certstandby instance snapshot has written, to a version that knows its format.',
  },
  snapshot_damaged: {
    ...request,
    status: 400,
    exit: 6,
    remedy: 'Nothing was changed. Use another snapshot; one that was cut short or changed is never taken in part.',
  },
  instance_endpoint_forbidden: {
    ...request,
    status: 400,
    remedy:
      'Give the channel an endpoint on the public Internet, or let the instance have channels on this machine or in private networks.',
  },

  // Commands about instances, and the folder that they lie in.
  instances_missing: {
    ...configuration,
    remedy: 'Give the folder with --folder (doctor: --instances), or make one with certstandby instance create.',
  },
  instances_settings_invalid: {
    ...configuration,
    remedy: 'Mend the option, or what instances.json in the folder says; every mistake is listed.',
  },
  instances_unsound: {
    ...certificate,
    remedy:
      'Where a data key does not open, put back the root key that wrapped it (certstandby instance recover-root-key), or rewrap; where one certificate does not, reimport it.',
  },

  // Commands and configuration.
  configuration_invalid: {
    ...configuration,
    remedy: (fields) =>
      fields.mistakes === undefined ? settingRemedy(fields) : 'Mend the configuration file; every mistake is listed.',
  },
  configuration_missing: {
    ...configuration,
    remedy: (fields) =>
      fields.reason === undefined || fields.reason === 'ENOENT' || fields.reason === 'file_missing'
        ? 'Give its path with --config. The README shows one to begin with; certstandby up needs none.'
        : place('Give the path of a file that this user may read with --config.')(fields),
  },
  console_not_served: {
    ...configuration,
    remedy:
      'Start certstandby serve on this machine with the same configuration. Where it runs, its log says console_not_served: mostly something else has taken console.port.',
  },
  console_off: {
    ...configuration,
    remedy: 'Write console: {} into the configuration, and start certstandby serve anew.',
  },
  receiver_not_private: {
    ...configuration,
    remedy:
      'Write serve: { tls: { certificate: <file>, key: <file> } }, or serve: { behindProxy: true } if something in front of it ends TLS, or receiver: { host: 127.0.0.1 }.',
  },
  tls_unusable: {
    ...configuration,
    remedy: place('Give PEM files that belong together: the certificate followed by its chain, and its private key.'),
  },
  configuration_link_moved: {
    ...configuration,
    remedy:
      'The records of this link belong to another primary. If that one is lost: certstandby restore. If you are going home: certstandby failback. Else put it back into the configuration, or give the link a new name.',
  },

  folder_exposed: {
    ...configuration,
    remedy: 'Run the command that the message ends with, or give a folder that is yours alone: mkdir -m 700 <folder>',
  },
  // Files that somebody else wrote, read by `regular-file.ts`: what stands there in place of one
  // that can be read.
  file_missing: { ...file, remedy: 'Put the file there, or give the path at which it is.' },
  file_link_dangling: {
    ...file,
    remedy:
      'Put back what the symbolic link leads to (is a disk not mounted, or a folder moved?), or remove the link if that is gone for good.',
  },
  file_link_loop: { ...file, remedy: 'Remove the symbolic link, and make it again to the file that is meant.' },
  file_not_regular: {
    ...file,
    remedy: 'Only regular files are read. Put the file there in place of what the message names.',
  },
  file_forbidden: {
    ...file,
    remedy:
      'Let the user that certstandby runs as read the file, and enter each folder on the way to it; or run it as the user to whom they belong.',
  },
  file_too_large: { ...file, remedy: 'Look at what the file holds: what belongs there is far smaller.' },
  file_unreadable: {
    ...file,
    remedy: 'Mend what the message names: a disk, a mount, a file where a folder belongs, or a limit of the system.',
  },

  // Secrets that the configuration names by reference, read when they are needed.
  secret_unreadable: {
    ...configuration,
    remedy: reach('Put the secret where the configuration says it is, and let this role or user read it.'),
  },
  secret_unavailable: {
    status: 503,
    exit: 4,
    retry: true,
    applied: 'no',
    remedy: reach('Check that the service that keeps the secret can be reached from here; it is asked again.'),
  },

  // Waking workers.
  dispatch_unavailable: {
    status: 503,
    exit: 4,
    retry: true,
    applied: 'unknown',
    lead: 'Nothing is lost: what must be looked at is in the table, and the sweep wakes it within a minute.',
    remedy: byCause('Check the queue, and the right to send to it.', {}),
  },
  dispatch_malformed: {
    ...request,
    status: 400,
    remedy:
      'Something else than certstandby sends to its queue. Look at the message in the dead letter queue, and at who may send.',
  },

  // Reconcile, verify and adopt.
  reconcile_running: {
    status: 503,
    exit: 1,
    retry: true,
    applied: 'no',
    remedy: 'Wait until it has ended. If its process died, it counts as ended a few minutes later.',
  },
  reconcile_out_of_time: {
    status: 503,
    exit: 1,
    retry: true,
    applied: 'no',
    remedy:
      'What was asked for stays asked for. Raise the limit of requests of the stores, or run certstandby reconcile on a machine, with the same configuration.',
  },
  reconcile_brake: {
    ...certificate,
    remedy:
      'Look at certstandby reconcile --plan. If that is what you want: certstandby reconcile --apply <plan>, or --yes-change <number>.',
  },
  reconcile_vanished: {
    ...certificate,
    remedy:
      'If the primary lost them (a disk that is not mounted, a wrong folder, a wrong account), bring them back, and run certstandby reconcile again. If they are meant to be gone: certstandby reconcile --link <link> --accept-vanished <loss>.',
  },
  reconcile_held_changed: {
    ...request,
    status: 409,
    exit: 6,
    remedy: 'Look at what is kept now (certstandby status), and give the command that it shows.',
  },
  reconcile_vanished_changed: {
    ...certificate,
    remedy: 'Look with certstandby status at what is gone by now, and accept that one if it is meant.',
  },
  reconcile_plan_changed: {
    ...certificate,
    remedy: 'Look at the new plan with certstandby reconcile --plan, and apply that one.',
  },
  restore_refused: {
    ...certificate,
    remedy: 'Nothing was changed. See certstandby restore --help, or certstandby failback --help.',
  },

  restore_source_withholds_keys: {
    ...certificate,
    remedy:
      'Nothing was changed. A certificate without its private key serves nobody: name with --from a backup that gives private keys back.',
  },
  restore_primary_withholds_keys: {
    ...certificate,
    remedy:
      'Nothing was changed. From such a primary nothing could be copied any more: name as primary a store that gives private keys back.',
  },

  map_file_unusable: {
    ...request,
    status: 400,
    remedy: 'Give another path, or mend what stands there. certstandby map writes the map again at any time.',
  },

  // Archives: download and import.
  archive_exists: { ...request, status: 409, remedy: 'Give another path, or remove what stands there.' },
  archive_unusable: {
    ...request,
    status: 400,
    remedy: place('Check the path, its rights, and the room left on the disk.'),
  },
  archive_damaged: {
    ...request,
    status: 400,
    remedy: byCause(
      'Nothing was imported. Use another copy of the archive; one that was cut or changed is never taken in part.',
      {
        no_certificate:
          'Nothing was imported. Give each certificate a folder of its own with fullchain.pem and privkey.pem, or the file names of a ' +
          'tool that the README names.',
      },
    ),
  },
  archive_entry_damaged: {
    ...certificate,
    remedy: 'The rest of the archive is taken. Mend what the message names, and run the same command again.',
  },
  archive_unknown: {
    ...request,
    status: 400,
    remedy: 'Give an age file, a .p12 file or a folder of them, a folder of PEM files, or a zip of them.',
  },
  archive_java_keystore: {
    ...request,
    status: 400,
    remedy:
      'Nothing was imported. Make PKCS#12 of it: keytool -importkeystore -srckeystore old.jks -destkeystore new.p12 -deststoretype PKCS12',
  },
  archive_passphrase_missing: {
    ...request,
    status: 400,
    remedy:
      'Nothing was imported. Write the passphrase into the first line of a file, and give it with --passphrase-file <file>; an empty first line is the empty passphrase, which some exports have.',
  },
  archive_passphrase_wrong: {
    ...request,
    status: 400,
    remedy:
      'Nothing was imported. Give the passphrase (--passphrase-file) or the identity (--identity) of this archive.',
  },
  archive_not_sealed: {
    ...request,
    status: 400,
    remedy:
      'Nothing was imported. If you know where the file comes from, and that it came unchanged: --accept-no-mac reads it.',
  },
  archive_costly: {
    ...request,
    status: 400,
    remedy:
      'Nothing was imported. If you trust the file, let OpenSSL, which has no limits, write it again with less work: openssl pkcs12 -in old.p12 -legacy -out all.pem && openssl pkcs12 -export -in all.pem -out new.p12, then remove all.pem.',
  },
  archive_unsupported: {
    ...request,
    status: 400,
    remedy:
      'Nothing was imported. OpenSSL 3 may know it, and writes it again with AES-256 and SHA-256: openssl pkcs12 -in old.p12 -legacy -out all.pem && openssl pkcs12 -export -in all.pem -out new.p12, then remove all.pem.',
  },
  archive_conflict: {
    ...certificate,
    remedy:
      'Give --replace to replace what the store holds under this name. Where several have the name, nobody can say which: remove or rename one.',
  },

  archive_self_signed: {
    ...certificate,
    remedy:
      'No client trusts a self-signed certificate that trusted the one of an authority, so that one stays. If it is to give way all the same, give --replace-issued.',
  },
  archive_other_domains: {
    ...certificate,
    remedy:
      'They may be of two sites that share a name by mistake. If one is to replace the other all the same, give --replace-others.',
  },

  verification_key_last: {
    ...certificate,
    remedy:
      'Nothing was changed. Have the store, or the issuer of the sender, serve another key first: it is fetched within a minute. Where that cannot be waited for, pin one that you trust by links.<name>.verificationKey, or take the sender out of the configuration.',
  },
  adopt_refused: { ...certificate, remedy: 'Nothing was changed. See certstandby adopt --help.' },

  usage: { status: 400, exit: 2, retry: false, applied: 'no', remedy: place('See --help.') },
  interrupted: {
    status: 503,
    exit: 130,
    retry: true,
    applied: 'unknown',
    remedy: 'Nothing is lost and nothing is doubled. Run the same command again: it goes on where it stopped.',
  },
  internal: {
    status: 500,
    exit: 1,
    retry: false,
    applied: 'unknown',
    remedy: 'This is a fault in certstandby; please report it.',
  },
} as const satisfies Record<string, ErrorEntry>;

export type ErrorCode = keyof typeof errorRegistry;

export type { ErrorFields };

const fileCodes = (Object.keys(errorRegistry) as ErrorCode[]).filter((code) => code.startsWith('file_'));

/**
 * A failure with a code of the registry. The message says what was tried and what was found; the
 * remedy stands in the registry.
 */
export class CodedError extends Error {
  override readonly name = 'CodedError';
  readonly code: ErrorCode;
  readonly fields: ErrorFields;

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      readonly cause?: unknown;
      readonly fields?: ErrorFields;
      /**
       * What whoever throws this knows to be the remedy; it becomes the field `remedy`, unless the
       * fields have one.
       */
      readonly remedies?: RemediesByReason | undefined;
    } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.fields = options.fields ?? {};
    const remedy = this.fields.remedy ?? this.#among(options.remedies ?? {});
    if (remedy !== undefined) this.fields = { ...this.fields, remedy };
  }

  get entry(): ErrorEntry {
    return errorRegistry[this.code];
  }

  /** What a person should do about this failure. */
  get remedy(): string {
    return remedyOf(this.code, { ...this.fields, reason: this.reason });
  }

  /**
   * The code of what is underneath, as far as one is known: of the system, of TLS, or of this
   * registry.
   */
  get reason(): string | undefined {
    const { reason, engineCode, serviceCode } = this.fields;
    // What the service itself said is more than how the connection ended.
    const said = [reason, reasonOf(this.cause), serviceCode, engineCode];
    return said.find((one) => typeof one === 'string');
  }

  /** The remedy for the reason of this error, or else for its HTTP status. */
  #among(remedies: RemediesByReason): string | undefined {
    const keys = [this.reason, this.fields.status].map(String);
    const known = keys.find((key) => Object.hasOwn(remedies, key));
    return known === undefined ? undefined : remedies[known];
  }

  /** Milliseconds after which the other side allows the next attempt, if it said so. */
  get retryAfterMs(): number | undefined {
    const value = this.fields.retryAfterMs;
    return typeof value === 'number' ? value : undefined;
  }
}

/**
 * What a person should do about a failure with this code and these fields: what whoever threw it
 * said (the field `remedy`), else what the registry says for the cause that they tell.
 */
export function remedyOf(code: ErrorCode, fields: ErrorFields = {}): string {
  const { remedy, lead = '' }: ErrorEntry = errorRegistry[code];
  const said = typeof fields.remedy === 'string' ? fields.remedy : known(remedy, fields);
  return `${lead} ${said}`.trim();
}

/** What the registry says for the cause that these fields tell. */
function known(remedy: Remedy, fields: ErrorFields): string {
  if (typeof remedy === 'string') return remedy;
  // Where a file could not be read, the file is the cause, whatever it was for.
  const file = fileCodes.find((fileCode) => fileCode === fields.reason);
  return file === undefined ? remedy(fields) : remedyOf(file);
}

/** The code of the innermost of these causes that has one. Names and messages are no codes. */
function reasonOf(cause: unknown): string | undefined {
  let reason: string | undefined;
  let at = cause;
  // A cause may be its own cause.
  for (let depth = 0; depth < 8 && at instanceof Error; depth += 1) {
    const { code } = at as NodeJS.ErrnoException;
    if (typeof code === 'string') reason = code;
    if (at instanceof CodedError && typeof at.fields.reason === 'string') reason = at.fields.reason;
    at = at.cause;
  }
  return reason;
}

/** Any thrown thing as a coded error: itself, or `internal` with the thing as its cause. */
export function asCodedError(thrown: unknown): CodedError {
  if (thrown instanceof CodedError) return thrown;
  const text = thrown instanceof Error ? thrown.message : typeof thrown;
  return new CodedError('internal', `unexpected failure: ${text}`, { cause: thrown });
}
