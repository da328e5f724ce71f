import type { CertificateContent, CertificatePem } from '../certificate/certificate.ts';
import { type PartNames, parseContent } from '../certificate/pem.ts';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import type { ServiceCall } from '../http/service-failure.ts';

/** What each call of a store has for its errors. */
export function storeCalls(of: Pick<ServiceCall, 'store' | 'remedies' | 'means'>) {
  const calls =
    (writes: boolean) =>
    (operation: string, certificate?: string): ServiceCall => ({
      ...of,
      operation,
      writes,
      ...defined({ certificate }),
    });
  return { reads: calls(false), writes: calls(true) };
}

/**
 * The content of an answer in which this PEM was found; its key is wiped. Throws
 * `store_content_unreadable`, with the reason as its cause.
 */
export function contentIn(call: ServiceCall, pem: CertificatePem | undefined, names: PartNames): CertificateContent {
  try {
    if (pem === undefined) throw new CodedError('certificate_malformed', 'the service gives no content');
    return parseContent(pem, names);
  } catch (thrown) {
    if (!(thrown instanceof CodedError)) throw thrown;
    const { store, operation, certificate } = call;
    throw new CodedError('store_content_unreadable', `${operation} at ${store}: ${thrown.message}`, {
      cause: thrown,
      fields: { store, operation, certificate, reason: thrown.code },
    });
  } finally {
    pem?.privateKey?.wipe();
  }
}
