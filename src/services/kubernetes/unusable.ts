import { CodedError, type ErrorFields } from '../../errors.ts';

/**
 * What the configuration gives to reach a cluster is no use: a kubeconfig that cannot be
 * understood, a login that fails. It may be mended while this runs, and is read anew then.
 */
export function unusable(message: string, fields: ErrorFields, cause?: unknown): CodedError {
  return new CodedError('store_unauthorized', message, {
    fields: { remedy: 'Mend what the message names; it is read anew within a minute.', ...fields },
    ...(cause === undefined ? {} : { cause }),
  });
}
