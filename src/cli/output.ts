import { styleText } from 'node:util';
import { type Command, Option } from 'commander';
import type { CodedError } from '../errors.ts';
import { errorFields, jsonLog, type Log } from '../log.ts';
import { drawnProgress, type Progress } from './progress.ts';
import { type Cell, type Column, clean, tableLines } from './text.ts';

/**
 * What all commands print through. A command is written like this:
 *
 *     export function statusCommand(host: Host = process): Command {
 *       return withOutputOptions(new Command('status').description('…'))
 *         .action(async (options: StatusOptions) => {           // StatusOptions extends OutputOptions
 *           const output = commandOutput(options, host);
 *           output.line(`${count(7, 'certificate')} in the primary`);              // for people
 *           output.item({ certificates: 7 });                                      // for programs
 *           output.finding(`billing: ${output.paint.bad('expired')}`);             // for people, --quiet too
 *           host.exitCode = 6;                                                     // never process.exitCode
 *         });
 *     }
 *
 * stdout carries results, stderr carries problems, progress and logs. With `--json` stdout carries nothing but JSON, one object a
 * line (so that it streams, and `jq` reads it), and problems on stderr are JSON lines too. With `--quiet` people see only what
 * is wrong. `line`, `finding` and `table` may be called without asking for either: they know. What a command throws is printed and
 * turned into the exit code by command-line.ts; a command that goes on after a failure prints it with `problem`.
 * Tests run commands in their own process with `runCommand` of test/support/command.ts.
 */

/** The part of a stream that is used here. */
export interface Terminal {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly hasColors?: () => boolean;
}

type StopSignal = 'SIGINT' | 'SIGTERM';

/** What a command meets of its process: `process` itself, or what a test puts in its place. */
export interface Host {
  readonly stdout: Terminal;
  readonly stderr: Terminal;
  /** Where a person types. Absent in tests that ask nothing. */
  readonly stdin?: NodeJS.ReadableStream & { readonly isTTY?: boolean };
  readonly env: Readonly<Record<string, string | undefined>>;
  exitCode?: number | string | null | undefined;
  on(signal: StopSignal, listener: (signal: StopSignal) => void): unknown;
  exit(code: number): never;
}

/** What `withOutputOptions` adds to the options of a command. */
export interface OutputOptions {
  readonly json?: boolean;
  readonly quiet?: boolean;
}

/** Adds `--json` and `--quiet` to a command. */
export function withOutputOptions(command: Command): Command {
  return command
    .addOption(new Option('--json', 'print JSON, one object a line, and nothing else on stdout'))
    .addOption(new Option('-q, --quiet', 'print only what is wrong'));
}

/** Colours by what they mean. Without colours each is the text itself. */
export interface Paint {
  good(text: string): string;
  warning(text: string): string;
  bad(text: string): string;
  strong(text: string): string;
  faint(text: string): string;
}

export interface Output {
  readonly json: boolean;
  readonly quiet: boolean;
  /** Colours for stdout; none where it is no terminal, or `NO_COLOR` is set. */
  readonly paint: Paint;
  /** A line for people on stdout. Nothing with `--json` or `--quiet`. Foreign text in it goes through `clean` of text.ts first. */
  line(text?: string): void;
  /** A line for people on stdout about something that is wrong: with `--quiet` too. Nothing with `--json`. */
  finding(text: string): void;
  /** One JSON object on a line of its own, with `--json` only. `undefined` members are left out. */
  item(value: object): void;
  /** A table for people; foreign text in cells is cleaned. Nothing with `--json` or `--quiet`. */
  table(columns: readonly Column[], rows: readonly (readonly Cell[])[]): void;
  /** A failure that does not end the command, on stderr; `about` says of what. The command sets the exit code from `error.entry.exit`. */
  problem(error: CodedError, about?: string): void;
  /** Shows long work on stderr: a bar on a terminal, else a line every ten seconds; nothing with `--quiet`. One at a time; `end` it in `finally`. */
  progress(what: string, total?: number): Progress;
  /** What people read goes through this from now on; JSON does not. */
  reword(words: (text: string) => string): void;
  /** For `compose` and the rooms: warnings and errors, on stderr; JSON lines with `--json`, else words. */
  readonly log: Log;
}

/** What a command prints through. `now` is for progress and logs. */
export function commandOutput(options: OutputOptions, host: Host = process, now: () => number = Date.now): Output {
  const { json = false, quiet = false } = options;
  const { stdout, stderr } = host;
  let bar: ReturnType<typeof drawnProgress> | undefined;
  let words = (text: string) => text;
  const print = (stream: Terminal, text: string) => {
    bar?.erase();
    stream.write(`${json ? text : words(text)}\n`);
  };
  const paint = paintFor(stdout);
  const line = (text = '') => void (json || quiet || print(stdout, text));
  const jsonLines = jsonLog({ least: 'warn', now, write: (text) => print(stderr, text.trimEnd()) });
  const watchable = stderr.isTTY ? 'bar' : json ? 'none' : 'lines';

  return {
    json,
    quiet,
    paint,
    line,
    finding: (text) => void (json || print(stdout, text)),
    item: (value) => void (json && print(stdout, JSON.stringify(value))),
    table(columns, rows) {
      for (const text of tableLines(columns, rows, paint.faint)) line(text);
    },
    problem: (error, about) => print(stderr, problemText(error, { json, about, paint: paintFor(stderr) })),
    progress(what, total) {
      bar = drawnProgress(what, total, {
        write: (text) => stderr.write(text),
        style: quiet ? 'none' : watchable,
        columns: () => stderr.columns || 80,
        now,
      });
      return bar;
    },
    reword(wording) {
      words = wording;
    },
    log: json
      ? jsonLines
      : (level, event, fields = {}) => {
          if (level === 'debug' || level === 'info') return;
          const { message = '', code, ...rest } = fields;
          const about = [rest.link, rest.name ?? rest.certificate, rest.backup].filter(Boolean).join(', ');
          const said = [event.replaceAll('_', ' '), about, message].filter(Boolean).map(String).map(clean).join(': ');
          print(stderr, `certstandby: ${said}${code === undefined ? '' : ` [${code}]`}`);
        },
  };
}

/** What a person, or with `json` a program, reads of a failure: what was tried and found, and what to do. Without a line end. */
export function problemText(
  error: CodedError,
  options: { readonly json?: boolean; readonly about?: string | undefined; readonly paint?: Paint } = {},
): string {
  const { json = false, about, paint = plainPaint } = options;
  const { message, code, entry } = error;
  if (json) return JSON.stringify({ error: { about, ...errorFields(error), remedy: error.remedy, exit: entry.exit } });
  const subject = about === undefined ? '' : `${clean(about)}: `;
  return `${paint.bad('certstandby:')} ${subject}${message}\n  ${error.remedy} ${paint.faint(`[${code}]`)}`;
}

const same = (text: string) => text;
const plainPaint: Paint = { good: same, warning: same, bad: same, strong: same, faint: same };

/** Colours if the stream is a terminal that has some and `NO_COLOR` does not forbid them. (`hasColors` of Node looks at both.) */
export function paintFor(stream: Terminal): Paint {
  if (stream.isTTY !== true || stream.hasColors?.() !== true) return plainPaint;
  const style = (format: Parameters<typeof styleText>[0]) => (text: string) =>
    styleText(format, text, { validateStream: false });
  return {
    good: style('green'),
    warning: style('yellow'),
    bad: style('red'),
    strong: style('bold'),
    faint: style('dim'),
  };
}
