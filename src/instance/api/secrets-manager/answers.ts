import { asCodedError } from '../../../errors.ts';
import { type Answer, errorAnswer } from '../http.ts';

/** The answer for a failure, in the shape of Secrets Manager's errors. */
export function secretsErrorAnswer(thrown: unknown, trace: string): Answer {
  const { code } = asCodedError(thrown);
  const { status, body, headers } = errorAnswer(thrown);
  const { message } = body as { readonly message: string };
  return {
    status,
    body: { trace, status_code: status, errors: [{ code, message, more_info: '' }] },
    headers: { ...headers, 'x-global-transaction-id': trace },
  };
}
