import type { CodedError } from './errors.ts';
import { jsonText } from './foreign-text.ts';

type Level = 'debug' | 'info' | 'warn' | 'error';

/** Values that may stand in a log line. Content of certificates never does; names and ids do. */
export type LogFields = Readonly<Record<string, string | number | boolean | undefined | readonly string[]>>;

/** Structured logs: an event name in snake_case and its facts. */
export type Log = (level: Level, event: string, fields?: LogFields) => void;

const order: Readonly<Record<Level, number>> = { debug: 0, info: 1, warn: 2, error: 3 };

/**
 * A log that writes one JSON object a line, from `least` upwards. Foreign text is escaped: it
 * breaks no line and moves no cursor. A line that cannot be written is lost.
 */
export function jsonLog(options: {
  readonly least: Level;
  readonly now: () => number;
  readonly write: (line: string) => void;
}): Log {
  return (level, event, fields = {}) => {
    if (order[level] < order[options.least]) return;
    try {
      options.write(`${jsonText({ time: new Date(options.now()).toISOString(), level, event, ...fields })}\n`);
    } catch {
      // A full disk must not end what the line is about.
    }
  };
}

/** A log that says nothing. */
export const silentLog: Log = () => {};

/**
 * The fields of a log line for a failure: code, message, its own fields, and the code or name of
 * its cause.
 */
export function errorFields(error: CodedError): LogFields {
  const cause =
    error.cause instanceof Error ? ((error.cause as NodeJS.ErrnoException).code ?? error.cause.name) : undefined;
  return { ...error.fields, code: error.code, message: error.message, cause };
}
