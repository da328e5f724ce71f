import { CommanderError, Option } from 'commander';
import { isLoopback } from '../http/loopback.ts';

/** The exit code of a mistake in the command line itself. */
export const usageExit = 2;

/** `--config`, as every command that reads a configuration takes it. */
export function configOption(): Option {
  return new Option('-c, --config <file>', 'the configuration file').default('certstandby.yaml');
}

/** A TCP port, 0 for any free one. Throws what the command line prints. */
export function portNumber(text: string): number {
  const port = Number(text);
  if (!Number.isInteger(port) || port < 0 || port > 65_535) throw usage(`${text} is not a port`);
  return port;
}

/** A whole number above 0. Throws what the command line prints. */
export function wholeNumber(text: string): number {
  const value = Number(text);
  if (!Number.isSafeInteger(value) || value < 1) throw usage(`${text} is not a whole number above 0`);
  return value;
}

/** Seconds, a day at the most. Throws what the command line prints. */
export function seconds(text: string): number {
  const value = Number(text);
  if (!(value >= 0 && value <= 86_400)) throw usage(`${text} is not a number of seconds`);
  return value;
}

/**
 * The address under which senders reach the receiver: `https://…`, or `http://` on this machine.
 * Throws what the command line prints.
 */
export function callbackBase(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const local = url !== undefined && isLoopback(url.hostname);
  const plain = url?.search === '' && url.hash === '' && url.username === '' && url.password === '';
  if (plain && url.protocol === 'http:' && !local)
    throw usage(`${text} must begin with https://: plain http:// is taken on this machine alone`);
  if (!plain || !(url.protocol === 'https:' || url.protocol === 'http:'))
    throw usage(`${text} is not an address such as https://certstandby.example.com`);
  return text;
}

function usage(message: string): CommanderError {
  return new CommanderError(usageExit, 'usage', `error: ${message}`);
}
