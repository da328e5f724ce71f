/**
 * What happened to a certificate, as far as its service says. The first five change certificates;
 * the others only inform.
 */
export type LifecycleKind =
  | 'imported'
  | 'reimported'
  | 'issued'
  | 'renewed'
  | 'deleted'
  | 'about-to-expire'
  | 'expired'
  | 'failed'
  | 'test'
  | 'other'
  | 'unknown';

/**
 * What a sender names where it does not know the id of a certificate. It is made durable as it is,
 * and a worker finds out what it means.
 */
export interface Hint {
  /** The name of a certificate, exactly; or how its id begins. */
  readonly by: 'name' | 'id-start';
  readonly text: string;
}

/**
 * What a verified notification says. It is only a reason to look: nothing it says about content is
 * ever used.
 */
export interface LifecycleEvent {
  readonly kind: LifecycleKind;
  /** Whether this kind changes certificates, and so asks for a look. */
  readonly changes: boolean;
  /** The sender's own word for the kind, cut and cleaned for logs. */
  readonly type: string;
  /** Payload version; 0 if the sender gave none. */
  readonly version: number;
  /** Id of the store that sent it: the pinned one, proven equal. */
  readonly store: string;
  /** The certificates concerned, each once; at most `limits.notificationCertificates`. */
  readonly certificates: readonly { readonly id: string; readonly name: string }[];
  /**
   * Certificates that it names without their ids; at most `limits.notificationCertificates`.
   * Absent: none.
   */
  readonly hints?: readonly Hint[];
  /** It does not say what has changed: everything is compared. Absent: it names what has. */
  readonly something?: true;
  /**
   * The sender proved itself, and not the body: anybody who can send may have invented its ids and
   * times. Absent: what it says was signed with it.
   */
  readonly unsigned?: true;
  /** The sender's id of the event (version 5). */
  readonly eventId?: string;
  /** When it happened by the sender's clock, epoch milliseconds (version 5). */
  readonly occurredAt?: number;
  /**
   * What is the same for every delivery of this event, and for no other event: SHA-256 in hex,
   * where a notification is one event of its verified payload bytes, whatever their spelling.
   */
  readonly digest: string;
}
