/**
 * The limits of the program, in one place, each tested one below, at, and one above. What only one
 * service or one algorithm knows (how often an order is looked at, bytes of a key) stands with it.
 */
export const limits = {
  /** Body of a notification, in bytes. */
  notificationBytes: 256 * 1024,
  /**
   * How far the time at which a notification was signed may be from our clock (Standard Webhooks
   * takes five minutes). Milliseconds.
   */
  notificationSkewMs: 5 * 60 * 1000,
  /** Certificates named by one notification. */
  notificationCertificates: 100,
  /** Characters of a name, a type or an id of an event that are kept from a notification. */
  notificationTextCharacters: 256,
  /**
   * Characters of a name, or of the beginning of an id, that stands for a certificate in a
   * notification. What is longer is found by a reconcile.
   */
  hintCharacters: 1024,
  /**
   * Hints of one link that one listing of its primary looks for. If more wait, a reconcile takes
   * their place.
   */
  hintsAtOnce: 1_000,
  /** Characters of a shared secret in a header: a shorter one could be guessed from its digest. */
  senderSecretLeastCharacters: 24,
  senderSecretMostCharacters: 1_024,
  /** Characters of a bearer token, and how long one may be good, in milliseconds. */
  bearerTokenCharacters: 8 * 1024,
  bearerTokenLifeMs: 25 * 3_600_000,
  /** Characters of a certificate id in a notification. */
  certificateIdCharacters: 128,
  /** Least length of the RSA key that verifies notifications, in bits (RFC 7518, 3.3). */
  verificationKeyBits: 2048,
  /**
   * Keys that verify notifications, of one link, and how long one is used after its sender has
   * ceased to serve it.
   */
  verificationKeys: 32,
  goneKeyMs: 60 * 60 * 1000,
  /** Until a request to the receiver must have arrived: its headers, all of it. Milliseconds. */
  requestHeadersMs: 10_000,
  requestMs: 30_000,
  /**
   * How long the receiver goes on reading, and throwing away, what follows a refused body, so that
   * its sender gets to read the answer.
   */
  lingerMs: 1_000,
  /** How long a server that closes waits for requests under way, in milliseconds. */
  closeMs: 10_000,
  /** Connections that the receiver holds at once. */
  receiverConnections: 1_000,
  /** Connections that a server of instances holds at once, and one for those who watch. */
  instanceConnections: 1_000,
  monitorConnections: 100,
  /** Ports tried, one after the other, where the next free one will do. */
  portsTried: 50,
  /**
   * PEM text of one of: certificate, chain, private key, in bytes (IBM Secrets Manager's limit,
   * taken for all).
   */
  pemBytes: 100 * 1024,
  /**
   * Bits of an RSA modulus: at least, at most in a certificate or a key that verifies, at most in a
   * private key.
   */
  rsaLeastBits: 512,
  rsaPublicKeyBits: 16_384,
  /**
   * Signing with one holds everything else up: 45 ms for 8,192 bits where 4,096 take 6, and 350 for
   * 16,384 (Node 20 and 24).
   */
  rsaPrivateKeyBits: 8192,
  /**
   * RSA private keys up to this size are not asked whether their numbers fit each other: a
   * signature is quick all the same.
   */
  rsaUncheckedBits: 4096,
  /**
   * Bits of the public exponent of an RSA key (the most that the CA/Browser Forum's Baseline
   * Requirements let an authority certify).
   */
  rsaExponentBits: 256,
  /**
   * DER of the certificates that a process remembers so as not to decode them again, in bytes:
   * some 1,500 of an ordinary size, most of them intermediates that many leaves share.
   */
  rememberedCertificateBytes: 2 * 1024 * 1024,
  /** Certificates in a chain, the leaf not counted. */
  chainCertificates: 10,
  /**
   * Body of an answer of a store, in bytes: a page of 200 certificates without content fits many
   * times.
   */
  storeAnswerBytes: 8 * 1024 * 1024,
  /** One file of a directory store, in bytes: leaf and chain in one, with comments. */
  storeFileBytes: 2 * 1024 * 1024,
  /** What is kept beside a copy in a directory (name, description, tags, mark), in bytes. */
  storeSideFileBytes: 256 * 1024,
  /** Files in the folder of one certificate. */
  storeFolderFiles: 1_000,
  /**
   * Files, and bytes of each, that are looked at to say what a folder holds that has no
   * certificate.
   */
  storeFilesLookedAt: 16,
  storeLookedAtBytes: 4 * 1024,
  /**
   * Elements of a listing that could not be read, or are no certificates, that a report names;
   * beyond, it counts them.
   */
  elementsNamed: 1_000,
  /**
   * A file that a person wrote or names, in bytes: configuration, settings, secrets, authorities to
   * trust, passphrases.
   */
  textFileBytes: 4 * 1024 * 1024,
  /** One file of an archive, in bytes: three PEM texts at their limit, with room. */
  archiveFileBytes: 512 * 1024,
  /**
   * Files of an archive that lie beside each other in one folder, in bytes: some thousand
   * certificates, each under a name of its own.
   */
  archiveFolderBytes: 64 * 1024 * 1024,
  /**
   * Certificates and files of one archive: every certificate of the largest estate, five files
   * each.
   */
  archiveCertificates: 200_000,
  archiveFiles: 1_200_000,
  /**
   * Files of an archive that are named one by one because nothing is known of them; the rest is
   * counted.
   */
  passedOverNamed: 20,
  /** Certificates of a zip, whose directory holds no more files than 65,535. */
  zipCertificates: 10_000,
  /** Characters of a name, description or tag in an archive. */
  archiveTextCharacters: 10_240,
  /** Characters of a passphrase that is to keep private keys. */
  passphraseCharacters: 12,
  /** A key that signs reports of drills or checkpoints, or its public half, in bytes. */
  signingKeyBytes: 16 * 1024,
  /** The authorities that a drill trusts, and a report of the largest estate, in bytes. */
  drillTrustBytes: 8 * 1024 * 1024,
  drillReportBytes: 256 * 1024 * 1024,
  /** A PKCS#12 file, in bytes: a keystore of a few hundred certificates with their chains. */
  pkcs12FileBytes: 2 * 1024 * 1024,
  /** Keys and certificates of one PKCS#12 file, and how deep its structure may be nested. */
  pkcs12Bags: 2_000,
  pkcs12Depth: 32,
  /**
   * Rounds of one key derivation that a PKCS#12 file may ask for: three times what GnuTLS, the most
   * thorough of the programs that make them, does (600,000). The longest that PBKDF2 holds its
   * thread, where nothing can end it, is then some 4 seconds.
   */
  pkcs12Iterations: 2_000_000,
  /**
   * N times r times p of scrypt: eight times OpenSSL's default. It takes 128 bytes of memory for
   * each.
   */
  scryptWork: 1024 * 1024,
  /** How long one PKCS#12 file may take to open, in milliseconds, and how much memory. */
  pkcs12OpenMs: 120_000,
  pkcs12MemoryMib: 512,
  /**
   * How long one of many certificates may take to be read, in milliseconds: longer than a service
   * takes that answers at all.
   */
  readMs: 120_000,
  /**
   * Pages of one listing: 200,000 certificates at 200 a page, with room. Stops a listing that runs
   * in circles.
   */
  listingPages: 10_000,
  /**
   * How often, and for how long each time, one page of a listing waits until the store allows it.
   */
  listingTries: 10,
  listingWaitMs: 60_000,
  /**
   * How often, and for how long each time, a person waits for one certificate that is being changed
   * just now.
   */
  changingTries: 4,
  changingWaitMs: 10_000,
  /** How often a restore sends one request that the store limits; many wait for the same room. */
  restoreTries: 1_000,
  /**
   * Copies that are due to be removed, as far as one reconcile looks at them; it removes the oldest
   * of them, as many as the policy allows.
   */
  removalsConsidered: 10_000,
  /** The share of the copies that may change without a person, where the policy says nothing. */
  brakeShare: 0.2,
  /**
   * A reconcile that would change no more copies than this has no brake, however small the estate.
   */
  brakeLeast: 10,
  /**
   * Spans of time by which the uses of a quota are counted, and how often a count is tried that
   * somebody else changes meanwhile.
   */
  quotaSpans: 64,
  quotaTries: 32,
  /**
   * How long a turn to write is kept for a certificate that does not come, in milliseconds: twice a
   * lease.
   */
  slotKeptMs: 120_000,
  /** Rows of changes that are counted against the brake which are asked for at once. */
  brakePage: 500,
  /**
   * How far ahead of this clock a counted change may lie before it is taken for one of a clock that
   * was set back, in milliseconds.
   */
  brakeAheadMs: 60_000,
  /** Wake-ups of one link that one sweep hands over; the next one goes on. */
  sweepWakes: 1_000,
  /** Wake-ups that one reconcile hands over; what is beyond is due, and the sweep wakes it. */
  reconcileWakes: 1_000,
  /**
   * Longest wait that a `Retry-After` can ask for: one reconcile period, since a service that names
   * a date may have a wrong clock.
   */
  retryAfterMs: 60 * 60 * 1000,
  /**
   * Certificates whose recent writes a limited store remembers; the one written to longest ago is
   * forgotten first.
   */
  limitedCertificates: 10_000,
  /** Wake-ups that one invocation of a function carries, where a queue does not say. */
  wakesOfOneInvocation: 40,
  /** How often one pass begins again because something was asked for meanwhile. */
  passesInARow: 3,
  /**
   * Body of a request to our own instance, in bytes: three PEM texts and their JSON escapes, with
   * room.
   */
  instanceBodyBytes: 1024 * 1024,
  /**
   * A map of ids that stands where one is to be written, in bytes: the largest estate, moved a few
   * times.
   */
  idMapBytes: 256 * 1024 * 1024,
  /** Certificates that one request of a search looks at. */
  searchedCertificates: 1_000,
  /** Name of a file or folder, in bytes: what file systems take (NAME_MAX). */
  fileNameBytes: 255,
  /** Characters of a search term. */
  searchCharacters: 256,
  /**
   * Certificates counted by expiry beyond which the counts of an instance may be some seconds old.
   */
  countedCertificates: 1_000,
  /** Characters of a CRN. Longer than any that Certificate Manager gave. */
  crnCharacters: 300,
  /**
   * Characters of an API key of our own instance, at least: what is shorter may have been thought
   * up by somebody.
   */
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
  /**
   * Domains of one order (what Let's Encrypt takes), and characters of the first one, which is the
   * common name (X.520).
   */
  orderedDomains: 100,
  commonNameCharacters: 64,
  /** Orders that one server works on at the same moment. */
  ordersAtOnce: 8,
  /** Body of an answer of a certificate authority, in bytes. */
  acmeAnswerBytes: 1024 * 1024,
  /** Characters of the reason of a failed order that are kept. */
  orderFailureCharacters: 1_000,
  /** Requests under way at once to one channel. */
  deliveriesAtOnce: 4,
  /** Notifications that wait for one channel; what is beyond goes straight to the dead letters. */
  deliveriesWaiting: 10_000,
  /** A line of a snapshot, in bytes: a row of the table as JSON, sealed, with room. */
  snapshotLineBytes: 1024 * 1024,
  /** Plain data keys of one tenant in memory at once. */
  dataKeysInMemory: 100,
  /**
   * Longest time that a plain data key may be kept in memory, and how much longer while no root key
   * can be asked. Milliseconds.
   */
  dataKeyCacheMs: 60 * 60 * 1000,
  dataKeyOutageMs: 24 * 60 * 60 * 1000,
  /** The file of a root key, in bytes: far more than one takes. */
  rootKeyFileBytes: 4 * 1024,
  /**
   * Partition and sort key of a row of the table together, in bytes of UTF-8 (DynamoDB takes 1,024
   * for the sort key, LMDB 1,978 for both).
   */
  tableKeyBytes: 1000,
  /**
   * A row of the table as JSON, in bytes: DynamoDB's limit for an item, so that no engine takes
   * what another refuses.
   */
  tableRowBytes: 400 * 1024,
  /**
   * How deep lists and maps in a field of the table may be nested: DynamoDB takes 32, the field
   * itself counted.
   */
  tableDepth: 31,
  /** From when on, before its end, a certificate should have been renewed. Milliseconds. */
  expiryNearMs: 14 * 86_400_000,
  /** Until a channel must have answered. Milliseconds. */
  alertRequestMs: 15_000,
  /** An answer of a channel, in bytes. */
  alertAnswerBytes: 64 * 1024,
  /** Findings told one by one; more at once are told together, so many in one message at most. */
  alertsAlone: 3,
  alertsTogether: 20,
  /** Messages to one channel in one round; the next round goes on. */
  alertMessages: 10,
  /** Characters of the words of one finding that are told. */
  alertCharacters: 2_000,
  /**
   * How long a link that signs in to the console is good, and a session that began with it.
   * Milliseconds.
   */
  consoleLinkMs: 10 * 60_000,
  consoleSessionMs: 8 * 3_600_000,
  /** Sessions of one console; of more the oldest ends. */
  consoleSessions: 32,
  /**
   * Connections that the console holds at once; bytes of the headers of a request, and of a form.
   */
  consoleConnections: 100,
  consoleHeaderBytes: 16 * 1024,
  consoleFormBytes: 4 * 1024,
  /**
   * Requests of one connection that the console holds before the first of them is answered, and how
   * long a connection may neither say nor take anything.
   */
  consolePipelined: 4,
  consoleSilenceMs: 120_000,
  /**
   * One line of the audit trail, in bytes, and lines and bytes that are written at once, well below
   * what a row takes.
   */
  auditLineBytes: 64 * 1024,
  auditBlockLines: 100,
  auditBlockBytes: 128 * 1024,
  /** Lines that wait to be written in one process, and their bytes; what is beyond is counted. */
  auditWaitingLines: 10_000,
  auditWaitingBytes: 16 * 1024 * 1024,
  /**
   * A chain goes on in a new one after so many lines, so that one can be examined in memory; and
   * when it has told nothing for so long, so that a chain that retention removes is not gone on
   * with. Milliseconds.
   */
  auditChainLines: 100_000,
  auditChainIdleMs: 7 * 86_400_000,
  /** A moment that is further ahead than this was told by a clock that was wrong. Milliseconds. */
  auditClockMs: 3_600_000,
  /** Events of one sender that are told one by one in a minute; the others are counted. */
  auditEventsPerMinute: 300,
  /** How long a process that ends waits for what is still to be written, in milliseconds. */
  auditCloseMs: 5_000,
  /** How long a function waits for what it told, before it answers. Milliseconds. */
  auditFunctionFlushMs: 1_000,
  /** Chains that one checkpoint on the table tells of. */
  auditCheckpointChains: 500,
  /** A checkpoint that was kept elsewhere, in bytes: some 200,000 chains. */
  auditCheckpointBytes: 64 * 1024 * 1024,
  /** The least time for which the trail is kept. Milliseconds. */
  auditKeepLeastMs: 31 * 86_400_000,
  /**
   * Events that the console remembers; pages that hear of them at once, for how long each until it
   * has to ask anew, in milliseconds, and bytes that wait for one that does not read.
   */
  consoleEvents: 50,
  consoleStreams: 40,
  consoleStreamMs: 3_600_000,
  consoleStreamBytes: 256 * 1024,
  /** How long the lists of certificates stay in memory that nobody looks at, in milliseconds. */
  consoleIdleMs: 600_000,
  /** Rows of one page of the table. */
  tablePageRows: 1000,
  /**
   * Rows of one page of the table as JSON, in bytes: a page that would grow beyond ends early
   * (DynamoDB's limit).
   */
  tablePageBytes: 1024 * 1024,
} as const;
