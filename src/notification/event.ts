/** What happened to a certificate, as far as its service says. The first five change certificates; the others only inform. */
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

/** What a verified notification says. It is only a reason to look: nothing it says about content is ever used. */
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
  /** The sender's id of the event (version 5). */
  readonly eventId?: string;
  /** When it happened by the sender's clock, epoch milliseconds (version 5). */
  readonly occurredAt?: number;
  /** SHA-256 of the verified payload bytes, hex. The same for every spelling of one notification. */
  readonly digest: string;
}
