import { type Command, Option } from 'commander';
import type { CodedError } from '../../errors.ts';
import { jsonText, visible } from '../../foreign-text.ts';
import { errorFields, jsonLog, type Log } from '../../log.ts';
import { drawnProgress, type Progress } from './progress.ts';
import { type Paint, paintFor, screenOf, type Terminal } from './screen.ts';
import { type Cell, type Column, clean, tableLines } from './text.ts';

/**
 * What all commands print through. A command is written like this:
 *
 *     export function statusCommand(host: Host): Command {
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
 * stdout carries results, stderr carries problems, progress and logs. With `--json` stdout carries
 * nothing but JSON, one object a line (so that it streams, and `jq` reads it), and problems on
 * stderr are JSON lines too. With `--quiet` people see only what is wrong. `line`, `finding` and
 * `table` may be called without asking for either: they know. What a command throws is printed and
 * turned into the exit code by command-line.ts; a command that goes on after a failure prints it
 * with `problem`. What others wrote needs no care here: each line is made visible on its way out
 * (screen.ts). `clean` bounds how long it may be. Tests run commands in their own process with
 * `runCommand` of test/support/command.ts.
 */

/** The signals that ask a process to stop. */
export type StopSignal = 'SIGINT' | 'SIGTERM';

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

export interface Output {
  readonly json: boolean;
  readonly quiet: boolean;
  /** Colours for stdout; none where it is no terminal, or `NO_COLOR` is set. */
  readonly paint: Paint;
  /**
   * Lines for people on stdout, each a line whatever it holds. Nothing with `--json` or `--quiet`.
   */
  line(...lines: readonly string[]): void;
  /**
   * Lines for people on stdout about something that is wrong: with `--quiet` too. Nothing with
   * `--json`.
   */
  finding(...lines: readonly string[]): void;
  /** One JSON object on a line of its own, with `--json` only. `undefined` members are left out. */
  item(value: object): void;
  /** A table for people; foreign text in cells is cleaned. Nothing with `--json` or `--quiet`. */
  table(columns: readonly Column[], rows: readonly (readonly Cell[])[]): void;
  /**
   * A failure that does not end the command, on stderr; `about` says of what. The command sets the
   * exit code from `error.entry.exit`.
   */
  problem(error: CodedError, about?: string): void;
  /**
   * Shows long work on stderr: a bar on a terminal, else a line every ten seconds; nothing with
   * `--quiet`. One at a time; `end` it in `finally`.
   */
  progress(what: string, total?: number): Progress;
  /** What people read goes through this from now on; JSON does not. */
  reword(words: (text: string) => string): void;
  /**
   * For `compose` and the rooms: warnings and errors, on stderr; JSON lines with `--json`, else
   * words.
   */
  readonly log: Log;
}

/** What a command prints through. `now` is for progress and logs. */
export function commandOutput(options: OutputOptions, host: Host, now: () => number = Date.now): Output {
  const { json = false, quiet = false } = options;
  const [stdout, stderr] = [screenOf(host.stdout), screenOf(host.stderr)];
  let bar: ReturnType<typeof drawnProgress> | undefined;
  let words = (text: string) => text;
  const print = (stream: Terminal, ...lines: readonly string[]) => {
    bar?.erase();
    // A line feed in one of them is somebody else's.
    for (const line of lines) stream.write(`${(json ? line : words(line)).replaceAll('\n', visible)}\n`);
  };
  const paint = paintFor(stdout);
  const line = (...lines: readonly string[]) => {
    if (!json && !quiet) print(stdout, ...(lines.length === 0 ? [''] : lines));
  };
  const jsonLines = jsonLog({ least: 'warn', now, write: (text) => print(stderr, text.trimEnd()) });
  const watchable = stderr.isTTY ? 'bar' : json ? 'none' : 'lines';

  return {
    json,
    quiet,
    paint,
    line,
    finding(...lines) {
      if (!json) print(stdout, ...lines);
    },
    item(value) {
      if (json) print(stdout, jsonText(value));
    },
    table(columns, rows) {
      for (const text of tableLines(columns, rows, paint.faint)) line(text);
    },
    problem: (error, about) => print(stderr, ...problemLines(error, { json, about, paint: paintFor(stderr) })),
    progress(what, total) {
      bar = drawnProgress(what, total, {
        screen: stderr,
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

/**
 * What a person, or with `json` a program, reads of a failure: what was tried and found, and what
 * to do.
 */
export function problemLines(
  error: CodedError,
  options: { readonly json?: boolean; readonly about?: string | undefined; readonly paint?: Paint } = {},
): readonly string[] {
  const { json = false, about, paint = plainPaint } = options;
  const { code, entry } = error;
  if (json) return [jsonText({ error: { about, ...errorFields(error), remedy: error.remedy, exit: entry.exit } })];
  const subject = about === undefined ? '' : `${clean(about)}: `;
  const [first = '', ...more] = messageLines(error);
  return [
    `${paint.bad('certstandby:')} ${subject}${first}`,
    ...more,
    `  ${clean(error.remedy)} ${paint.faint(`[${code}]`)}`,
  ];
}

/** The message of a failure in lines: one, unless it lists mistakes of a file. */
function messageLines({ message, fields }: CodedError): readonly string[] {
  const lines = Array.isArray(fields.mistakes) ? message.split('\n') : [message];
  return lines.map(clean);
}

const plainPaint = paintFor({ write: () => {} });

/** The same process, with screens for its streams: what commands get. */
export function onScreens(host: Host): Host {
  return {
    stdout: screenOf(host.stdout),
    stderr: screenOf(host.stderr),
    env: host.env,
    get exitCode() {
      return host.exitCode;
    },
    set exitCode(code) {
      host.exitCode = code;
    },
    on: (signal, listener) => host.on(signal, listener),
    exit: (code) => host.exit(code),
  };
}
