import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Wake } from './dispatch.ts';

/** A wake-up as the text of a message: nothing but names. */
export const wakeMessage = (wake: Wake): string => JSON.stringify(plainWake(wake));

/** A wake-up with its own members and no others. */
export const plainWake = ({ link, certificate, about }: Wake): Wake => ({
  link,
  certificate,
  ...defined({ about }),
});

/** The wake-up in a message. Throws `dispatch_malformed` if it is none. */
export function readWake(text: string): Wake {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw malformed();
  }
  return asWake(value);
}

/**
 * The wake-ups in a value that came as a parameter. Throws `dispatch_malformed` unless it is a list
 * of such, of bearable length.
 */
export function asWakes(value: unknown): readonly Wake[] {
  if (!Array.isArray(value) || value.length > limits.wakesOfOneInvocation) throw malformed();
  return value.map(asWake);
}

function asWake(value: unknown): Wake {
  const { link, certificate, about } = (value ?? {}) as Readonly<Record<string, unknown>>;
  if (isName(link) && isName(certificate))
    return { link, certificate, ...(about === 'hints' ? ({ about } as const) : {}) };
  throw malformed();
}

const isName = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= limits.tableKeyBytes;

const malformed = () =>
  new CodedError('dispatch_malformed', 'a message that is to wake a worker does not name a link and a certificate');
