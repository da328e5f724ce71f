import { CodedError } from '../errors.ts';

/**
 * That a request was not sent, because a limit that we keep to ourselves leaves no room for it yet:
 * `store_limited`. To wait for that is no failure of the store, and no attempt: there is room when
 * the wait is over.
 */
export function ownLimit(
  message: string,
  fields: CodedError['fields'] & { readonly retryAfterMs: number },
): CodedError {
  return new CodedError('store_limited', message, { fields: { ...fields, ownLimit: true } });
}

/** Whether an error is that, and not the word of the service. */
export const isOwnLimit = ({ code, fields }: CodedError): boolean =>
  code === 'store_limited' && fields.ownLimit === true;
