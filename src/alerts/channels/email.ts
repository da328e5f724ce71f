import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import { visible, visibleWithin } from '../../foreign-text.ts';
import { isLoopback } from '../../http/loopback.ts';
import { limits } from '../../limits.ts';
import { unlessAborted } from '../../runtime.ts';
import type { Secret } from '../../secret.ts';
import { ofKind, optional, required, secretReference, text } from '../../settings.ts';
import { timeLimit } from '../../time-limit.ts';
import { type ChannelConfig, type ChannelContext, type ChannelKind, commonOf, commonSettings } from '../channel.ts';
import { type Message, plainLines, subject } from '../message.ts';

const host = text(/^[\w.:-]{1,255}$/, 'the name or address of a machine');
const address = text(/^[^\s@<>,;"]{1,64}@[A-Za-z0-9.-]{1,255}$/, 'an address such as ops@example.com');

const securities = ['starttls', 'tls', 'none'] as const;
const ports = { starttls: 587, tls: 465, none: 25 } as const;

const schema = ofKind('email', 'mail, by an SMTP server', {
  host: required(host, 'the SMTP server that takes mail from here'),
  port: optional(z.int().check(z.minimum(1), z.maximum(65_535)), 'its port', {
    otherwise: '587; 465 with security: tls, 25 with none',
  }),
  security: optional(
    z.enum(securities),
    'how it is encrypted: STARTTLS, without which nothing is sent, TLS from the start, or not at all, on loopback only',
    { default: 'starttls' },
  ),
  user: optional(z.string(), 'the user that logs in there', { otherwise: 'nobody logs in' }),
  password: optional(secretReference, 'where the password of that user stands', {
    otherwise: 'nobody logs in',
    secret: true,
  }),
  from: required(address, 'the address that sends'),
  to: required(z.array(address).check(z.minLength(1, 'at least one address')), 'the addresses that are told'),
  ...commonSettings,
});

interface EmailConfig extends ChannelConfig {
  readonly host: string;
  readonly port: number;
  readonly security: (typeof securities)[number];
  readonly login?: { readonly user: string; readonly password: Secret };
  readonly from: string;
  readonly to: readonly string[];
}

/** Longer subjects are cut, in characters. */
const mostSubject = 200;
/**
 * Until a whole message must be taken, from the connection on. A server may look at a mail for
 * minutes before it takes it; whoever does not wait for that sends it twice (RFC 5321, section
 * 4.5.3.2.6).
 */
const wholeMs = 5 * 60_000;

/** What nodemailer throws: `code` tells which step failed, `responseCode` what was answered. */
interface MailFailure {
  readonly code?: string;
  readonly responseCode?: number;
  readonly response?: string;
}

export const email: ChannelKind = {
  kind: 'email',
  schema,
  together: true,
  longestMs: wholeMs,
  mistakes: ({ host: server, security, user, password }) => [
    ...(security === 'none' && typeof server === 'string' && !isLoopback(server)
      ? [{ setting: 'security', what: 'must be starttls or tls; none is allowed on loopback only' }]
      : []),
    ...((user === undefined) !== (password === undefined)
      ? [{ setting: user === undefined ? 'user' : 'password', what: 'is missing: user and password go together' }]
      : []),
  ],
  toConfig: (given: z.infer<typeof schema>, context: ChannelContext): EmailConfig => {
    const { host: server, security = 'starttls', port = ports[security], user, from, to } = given;
    const login = user === undefined ? undefined : { user, password: context.secret('password') };
    return {
      kind: 'email',
      ...commonOf(given, context),
      ...defined({ host: server, port, security, login, from, to }),
    } as EmailConfig;
  },
  async send(config: EmailConfig, message, { log, signal }) {
    const transport = await transportTo(config, wholeMs);
    const done = new AbortController();
    try {
      // Ends the session with it: what has been given up must not be delivered all the same.
      const limit = timeLimit(wholeMs, signal, done.signal);
      const { rejected } = await transport.sendMail({ ...mailOf(config, message), signal: limit });
      if (rejected.length === 0) return;
      // To the others it has gone, and would go again: only a test fails for these.
      if (message.told.some(({ event }) => event === 'test')) throw notFor(config, rejected);
      log('warn', 'alert_addresses_refused', { channel: config.name, message: message.id, addresses: rejected.length });
    } catch (thrown) {
      throw thrown instanceof CodedError ? thrown : failureOf(config, thrown);
    } finally {
      done.abort('done');
      transport.close();
    }
  },
  /** As a mail is sent, up to the login, and then farewell. */
  async reach(config: EmailConfig, { signal }) {
    const { port, security, login } = config;
    const transport = await transportTo(config, limits.alertRequestMs);
    try {
      await unlessAborted(signal, transport.verify());
    } catch (thrown) {
      throw failureOf(config, thrown);
    } finally {
      transport.close();
    }
    const how = { starttls: ', by STARTTLS', tls: ', by TLS', none: '' }[security];
    const who = login === undefined ? '' : `, and does not refuse the login of ${visible(login.user)}`;
    return `can be reached at ${config.host}, port ${port}${how}${who}`;
  },
};

/**
 * What speaks SMTP as the configuration says. `answerMs`: how long it may be silent once it has
 * greeted. Loads the library.
 */
async function transportTo({ host: server, port, security, login }: EmailConfig, answerMs: number) {
  const { createTransport } = await import('nodemailer');
  return createTransport({
    host: server,
    port,
    secure: security === 'tls',
    requireTLS: security === 'starttls',
    ignoreTLS: security === 'none',
    ...(login && { auth: { user: login.user, pass: login.password.reveal() } }),
    connectionTimeout: limits.alertRequestMs,
    greetingTimeout: limits.alertRequestMs,
    socketTimeout: answerMs,
    disableFileAccess: true,
    disableUrlAccess: true,
  });
}

/** Plain text alone, under one id however often it is sent, which nobody answers by a machine. */
function mailOf({ from, to }: EmailConfig, message: Message) {
  return {
    from: { name: 'certstandby', address: from },
    to: to.map((each) => ({ name: '', address: each })),
    subject: visibleWithin(subject(message), mostSubject),
    text: `${plainLines(message).map(visible).join('\n')}\n`,
    messageId: `<${message.id}@${from.slice(from.lastIndexOf('@') + 1)}>`,
    date: new Date(message.at),
    headers: { 'Auto-Submitted': 'auto-generated' },
  };
}

const who = ({ name, host: server }: EmailConfig) => `the channel ${name} (email, ${server})`;

function notFor(config: EmailConfig, rejected: readonly (string | { readonly address?: string })[]): CodedError {
  const addresses = rejected.map((each) => (typeof each === 'string' ? each : (each.address ?? '')));
  return new CodedError('alert_refused', `${who(config)} takes nothing for ${addresses.map(visible).join(', ')}`, {
    fields: { channel: config.name, remedy: `Correct alerts.channels.${config.name}.to; the others are told.` },
  });
}

/** Reasons by which no connection was there, over which a mail could have gone. */
const unreached: ReadonlySet<string> = new Set([
  ...['EAI_AGAIN', 'ECONNREFUSED', 'EDNS', 'EHOSTUNREACH', 'ENETUNREACH', 'ENOTFOUND', 'ETLS'],
]);

function failureOf(config: EmailConfig, thrown: unknown): CodedError {
  const { code, responseCode = 0 } = (thrown ?? {}) as MailFailure;
  const { name } = config;
  const isFinal = code === 'EAUTH' || code === 'ETLS' || responseCode >= 500;
  // Refused when its text was there: what it says is at fault, or how long it is.
  const aboutMessage = code === 'EMESSAGE' && responseCode >= 500;
  const reason = reasonIn(thrown);
  const why =
    responseCode === 0
      ? ` was not reached: ${reason || 'it did not answer in time'}`
      : saidIn(config, thrown as MailFailure);
  const remedy =
    code === 'EAUTH'
      ? `The server does not let that user in: see to user and password of alerts.channels.${name}.`
      : code === 'ETLS'
        ? `The server offers no STARTTLS: give the port that does, or security: tls, in alerts.channels.${name}.`
        : undefined;
  return new CodedError(isFinal ? 'alert_refused' : 'alert_unavailable', `${who(config)}${why}`, {
    fields: {
      channel: name,
      ...(reason !== '' && { reason }),
      ...(aboutMessage && { aboutMessage }),
      ...((responseCode !== 0 || unreached.has(reason)) && { notTaken: true }),
      ...(responseCode !== 0 && { smtpStatus: responseCode }),
      ...defined({ remedy }),
    },
  });
}

/**
 * What the server answered. It may repeat what it was sent: of a login only the code is told, and
 * elsewhere nothing of the password.
 */
function saidIn({ login }: EmailConfig, { code, responseCode, response = '' }: MailFailure): string {
  if (code === 'EAUTH') return ` answered ${responseCode}`;
  const password = login?.password.reveal() ?? '';
  const base64 = (text: string) => Buffer.from(text).toString('base64');
  const forms = password === '' ? [] : [base64(`\0${login?.user}\0${password}`), base64(password), password];
  const said = forms.reduce((text, form) => text.replaceAll(form, '…'), response);
  return ` answered ${visibleWithin(said, 200)}`;
}

/** The code of what is underneath: nodemailer puts its own in its place, and keeps it. */
function reasonIn(thrown: unknown): string {
  const { code, originalCode } = (thrown ?? {}) as { readonly code?: unknown; readonly originalCode?: unknown };
  const found = [originalCode, code].find((each) => typeof each === 'string') ?? '';
  // Whoever gave up says only that.
  return found === 'EABORT' ? '' : found;
}
