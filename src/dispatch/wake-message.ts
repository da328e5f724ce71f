import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Wake } from './dispatch.ts';

/** A wake-up as the text of a message: nothing but names. */
export const wakeMessage = ({ link, certificate }: Wake): string => JSON.stringify({ link, certificate });

/** The wake-up in a message. Throws `dispatch_malformed` if it is none. */
export function readWake(text: string): Wake {
  const { link, certificate } = asObject(text);
  if (isName(link) && isName(certificate)) return { link, certificate };
  throw new CodedError(
    'dispatch_malformed',
    'a message that is to wake a worker does not name a link and a certificate',
  );
}

function asObject(text: string): Readonly<Record<string, unknown>> {
  try {
    const value: unknown = JSON.parse(text);
    return typeof value === 'object' && value !== null ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}

const isName = (value: unknown): value is string =>
  typeof value === 'string' && value !== '' && value.length <= limits.tableKeyBytes;
