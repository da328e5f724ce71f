import { asCodedError } from '../../errors.ts';
import type { Log, LogFields } from '../../log.ts';

/** What is known of a request while it is answered; each is filled in as soon as it is known. */
export interface AuditNotes {
  /** The name of the API key, once the token was found genuine. */
  initiator?: string;
  /** Once it was read. */
  body?: unknown;
}

/**
 * An action as Certificate Manager's audit events name it; of some, only the body says which of two
 * it is.
 */
export type AuditAction = string | ((body: unknown) => string);

/** What a route has to do with. */
export type AuditTarget = 'certificate' | 'channel' | 'dead_letter';

/**
 * Does the work of one request, and writes one audit line about it, whatever becomes of it: who,
 * what, on what, with which outcome. Nothing of bodies and answers gets into it but the id of what
 * was made. Throws what the work throws.
 */
export async function audited<T>(
  log: Log,
  about: {
    readonly action: AuditAction;
    readonly operation: string;
    readonly instance: string;
    readonly target?: AuditTarget | undefined;
    /** Empty where the path names nothing. */
    readonly id: string;
    readonly address: string | undefined;
  },
  work: (notes: AuditNotes) => Promise<T>,
): Promise<T> {
  const { action, operation, instance, target, id, address } = about;
  const notes: AuditNotes = {};
  const write = (outcome: LogFields, made = '') => {
    log('info', 'audit', {
      action: typeof action === 'string' ? action : action(notes.body),
      operation,
      initiator: notes.initiator ?? 'unknown',
      address,
      instance,
      ...(target !== undefined && { [target]: id === '' ? made || undefined : id }),
      ...outcome,
    });
  };
  try {
    const result = await work(notes);
    write({ outcome: 'success' }, idOf(result));
    return result;
  } catch (error) {
    const { code, entry } = asCodedError(error);
    write({ outcome: 'failure', code, status: entry.status });
    throw error;
  }
}

/** The id of what an answer shows: the last segment of a CRN, or the id of a channel. */
function idOf(answer: unknown): string {
  const { _id, id } = (answer ?? {}) as { readonly _id?: unknown; readonly id?: unknown };
  return String(_id ?? id ?? '').replace(/^.*:/, '');
}
