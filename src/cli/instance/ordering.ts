import { X509Certificate } from 'node:crypto';
import { statSync } from 'node:fs';
import { isIP } from 'node:net';
import { resolve } from 'node:path';
import type { Command } from 'commander';
import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import { isLoopback } from '../../http/loopback.ts';
import type { OrderingOptions } from '../../instance/orders/ordering.ts';
import { limits } from '../../limits.ts';
import { readTextFileSync, whyUnreadable } from '../../regular-file.ts';
import { Secret } from '../../secret.ts';
import type { Host } from '../output/output.ts';
import type { InstanceSettings } from './folder.ts';

/**
 * Options of `instance run` about orders; each can stand in `instances.json` too, below `ordering`.
 */
export interface OrderingCommandOptions {
  readonly acmeDirectory?: string;
  readonly acmeContact?: readonly string[];
  readonly acmeCa?: string;
  readonly acmeEabKeyId?: string;
  readonly acmeEabKeyFile?: string;
  readonly dnsHook?: string;
  readonly dnsHookEnv?: readonly string[];
  readonly dnsServer?: string;
}

/** What every DNS hook gets of the environment. */
const hookVariables = ['PATH', 'HOME', 'LANG', 'TZ'] as const;

export function withOrderingOptions(command: Command): Command {
  return command
    .option(
      '--acme-directory <url>',
      'the ACME directory of the authority that issues what is ordered; giving it accepts its terms of service (default: a development authority that nobody trusts)',
    )
    .option('--acme-contact <addresses...>', 'mail addresses that the authority may write to')
    .option(
      '--acme-ca <file>',
      'PEM: what the certificate of the directory itself is checked against, if the authority is your own',
    )
    .option(
      '--acme-eab-key-id <id>',
      'binds the account to the one that you have with the authority: the id of the key it gave',
    )
    .option('--acme-eab-key-file <file>', 'that key, base64url, in its first line')
    .option(
      '--dns-hook <program>',
      'publishes the records that prove domains: called with add or remove, the name of the record, and its value (default: whoever answers cert_domain_validation_required)',
    )
    .option(
      '--dns-hook-env <names...>',
      `variables of the environment that it gets beside ${hookVariables.join(', ')}: its credentials, for example`,
    )
    .option(
      '--dns-server <address>',
      'the DNS server that is asked whether a record is published: 10.0.0.53, or 127.0.0.1:8053 (default: those of the domain)',
    );
}

/**
 * Who issues, and how domains are proven: by these options, else by the settings of the folder,
 * whose paths count from it. Throws `instances_settings_invalid`.
 */
export function orderingOf(
  options: OrderingCommandOptions,
  {
    folder,
    settings,
    host,
  }: { readonly folder: string; readonly settings: InstanceSettings | undefined; readonly host: Host },
): OrderingOptions {
  const kept = settings?.ordering ?? {};
  const path = (given: string | undefined, inFolder: string | undefined) =>
    given === undefined ? inFolder && resolve(folder, inFolder) : resolve(given);
  const directory = options.acmeDirectory ?? kept.acmeDirectory;
  const contact = options.acmeContact ?? kept.acmeContact ?? [];
  const trust = path(options.acmeCa, kept.acmeCa);
  const eabKeyId = options.acmeEabKeyId ?? kept.acmeEabKeyId;
  const eabKeyFile = path(options.acmeEabKeyFile, kept.acmeEabKeyFile);
  const hook = path(options.dnsHook, kept.dnsHook);
  const hookNames = options.dnsHookEnv ?? kept.dnsHookEnv ?? [];
  const dnsServer = options.dnsServer ?? kept.dnsServer;
  const others = [contact[0], trust, eabKeyId, eabKeyFile, hook, dnsServer];
  if (directory === undefined && others.some((given) => given !== undefined)) {
    throw invalid('there is no --acme-directory for which the other options about orders would count');
  }
  if ((eabKeyId === undefined) !== (eabKeyFile === undefined)) {
    throw invalid('--acme-eab-key-id and --acme-eab-key-file go together');
  }
  if (hook === undefined && hookNames.length > 0)
    throw invalid('there is no --dns-hook that --dns-hook-env counts for');
  if (dnsServer !== undefined) checkServer(dnsServer);
  return {
    ...(directory !== undefined && {
      acme: {
        directory: checkedDirectory(directory),
        contact: contact.map(mailto),
        ...(trust !== undefined && { trust: readTrust(trust) }),
        ...(eabKeyId !== undefined &&
          eabKeyFile !== undefined && { eab: { keyId: eabKeyId, key: readEabKey(eabKeyFile) } }),
      },
    }),
    ...(hook !== undefined && { dnsHook: { command: checkedHook(hook), env: hookEnvironment(host, hookNames) } }),
    ...defined({ dnsServer }),
  };
}

function checkedDirectory(text: string): string {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  const local = url !== undefined && isLoopback(url.hostname);
  if (url?.protocol === 'https:' || (local && url.protocol === 'http:')) return text;
  throw invalid(`the ACME directory ${text} is not an https address`);
}

function mailto(text: string): string {
  if (!/^[^\s@,?]+@[^\s@,?]+$/.test(text)) throw invalid(`the ACME contact ${text} is not a mail address`);
  return `mailto:${text}`;
}

function checkServer(text: string): void {
  const [, bracketed, v4] = /^(?:\[([\da-fA-F:]+)\]|([\d.]+))(?::\d{1,5})?$/.exec(text) ?? [];
  if (isIP(text) !== 0 || isIP(bracketed ?? v4 ?? '') !== 0) return;
  throw invalid(`the DNS server ${text} is not an address such as 10.0.0.53 or 127.0.0.1:8053`);
}

function checkedHook(path: string): string {
  const file = statSync(path, { throwIfNoEntry: false });
  if (file?.isFile() === true && (file.mode & 0o111) !== 0) return path;
  throw invalid(`the DNS hook ${path} is no program that can be run here`);
}

/** PEM in which nothing can be trusted would be found out only at the first order. */
function readTrust(path: string): string {
  const text = readText(path);
  const [first] = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(text) ?? [];
  try {
    if (first !== undefined && new X509Certificate(first).subject !== undefined) return text;
  } catch (cause) {
    throw invalid(`the file ${path} holds a certificate that cannot be read`, cause);
  }
  throw invalid(`the file ${path} holds no certificate as PEM`);
}

function readEabKey(path: string): Secret {
  const key = readText(path).trim();
  if (/^[\w-]{16,}$/.test(key)) return new Secret(key);
  throw invalid(`the file ${path} holds no key as base64url`);
}

function readText(path: string): string {
  try {
    return readTextFileSync(path, { maxBytes: limits.textFileBytes });
  } catch (cause) {
    throw invalid(`the file ${path} cannot be read (${whyUnreadable(path, cause)})`, cause);
  }
}

/**
 * The hook gets these, and what is named for it; so nothing that opens a root key or a table,
 * unless that is named.
 */
function hookEnvironment(
  { env }: Pick<Host, 'env'>,
  named: readonly string[],
): Readonly<Record<string, string | undefined>> {
  const missing = named.find((name) => env[name] === undefined);
  if (missing !== undefined)
    throw invalid(`the variable ${missing} that the DNS hook is to get (--dns-hook-env) is not set`);
  return Object.fromEntries([...hookVariables, ...named].map((name) => [name, env[name]]));
}

function invalid(message: string, cause?: unknown): CodedError {
  return new CodedError('instances_settings_invalid', message, defined({ cause }));
}
