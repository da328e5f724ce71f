import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { asCodedError, type CodedError } from '../../errors.ts';
import type { HttpAnswer } from '../../http/client.ts';
import { parseJson } from '../../http/service-failure.ts';
import { otherwise } from '../../lenient.ts';
import { type Runtime, unlessAborted } from '../../runtime.ts';
import { Secret } from '../../secret.ts';
import { textOf } from './connection.ts';
import { vaultDefaults as defaults } from './defaults.ts';
import { errorsIn, failed, noToken, type VaultCall, vaultError } from './failure.ts';
import type { LoginKind } from './settings.ts';

/** A secret, or a way to read it when it is wanted. */
export type SecretGiven = Secret | (() => Promise<Secret>);

export interface LoginOptions {
  readonly login: LoginKind;
  /** Where it is mounted. Default: its own name. */
  readonly mount?: string;
  readonly namespace?: string;
  readonly token?: SecretGiven;
  readonly tokenFile?: string;
  readonly role?: string;
  readonly roleId?: string;
  readonly secretId?: SecretGiven;
  readonly secretIdWrapped?: boolean;
  readonly jwt?: SecretGiven;
  readonly jwtFile?: string;
}

/**
 * A request without the token of a store. Answers whatever the server says; throws if it does not.
 */
export type BareSend = (
  call: VaultCall,
  request: {
    readonly method: 'GET' | 'POST';
    /** After `/v1/`. */
    readonly path: string;
    readonly token?: Secret;
    readonly namespace?: string | undefined;
    readonly body?: () => unknown;
  },
) => Promise<HttpAnswer>;

export interface VaultTokens {
  /** A token that is good for some seconds at least. Throws coded errors. */
  token(options?: { readonly signal?: AbortSignal | undefined }): Promise<Secret>;
  /**
   * Another token, after this one was refused for `call`. Throws `store_unauthorized`, as that of
   * the token or of the right that is missing, where there is none that could be tried.
   */
  another(
    rejected: Secret,
    call: VaultCall,
    answer: HttpAnswer,
    options?: { readonly signal?: AbortSignal | undefined },
  ): Promise<Secret>;
  /** Revokes the token, where it came from a login of ours. Never throws. */
  revoke(): Promise<void>;
}

interface Living {
  readonly secret: Secret;
  /** From which login: then it is ours to revoke. */
  readonly isOurs: boolean;
  readonly at: number;
  /** Absent: it does not expire. */
  expiresAt?: number;
  renewAt?: number;
  isRenewable: boolean;
  /** What a renewal gave or the login, in milliseconds. */
  readonly termMs: number;
}

const authSchema = z.object({
  auth: z.object({
    // It stands in a header: whatever else it were, an error that quotes the header would show it.
    client_token: z.string().check(z.regex(/^[\x21-\x7e]+$/)),
    lease_duration: otherwise(z.number(), 0),
    renewable: otherwise(z.boolean(), false),
  }),
});
const renewalSchema = z.object({
  auth: z.object({ lease_duration: z.number(), renewable: otherwise(z.boolean(), false) }),
});
const lookupSchema = z.object({
  data: z.object({ ttl: otherwise(z.number(), 0), renewable: otherwise(z.boolean(), false) }),
});
const unwrapSchema = z.object({ data: z.object({ secret_id: z.string() }) });

const renewAtShare = 2 / 3;
const expiresEarlyMs = 2_000;
const retryRenewalMs = 30_000;
/** A token that is younger has the policies that its role has now. */
const freshMs = 60_000;

/**
 * Tokens of one store: by a login of ours, renewed in the background after two thirds of their term
 * and had anew when the server caps a renewal; or one that somebody gave us. Terms are measured by
 * our own clock from the moment of asking. A token file is read again when its token is refused. A
 * wrapped secret id is unwrapped once, and kept in memory.
 */
export function vaultTokens(
  options: LoginOptions & {
    readonly store: string;
    readonly runtime: Runtime;
    readonly send: BareSend;
    /** Files of the connection are read again, before a login. */
    readonly renewFiles: () => void;
  },
): VaultTokens {
  const { login, runtime, send, store } = options;
  const mount = options.mount ?? login;
  const namespace = options.namespace;
  let living: Living | undefined;
  let flight: Promise<Living> | undefined;
  let unwrapped: Secret | undefined;
  const callOf = (operation: string): VaultCall => ({ store, operation, writes: false });

  function had(secret: Secret, askedAt: number, isOurs: boolean, seconds: number, isRenewable: boolean): Living {
    const termMs = seconds * 1_000;
    const ends = termMs > 0 && {
      expiresAt: askedAt + Math.max(termMs / 2, termMs - expiresEarlyMs),
      renewAt: askedAt + termMs * renewAtShare,
    };
    return { secret, isOurs, at: askedAt, termMs, isRenewable, ...ends };
  }

  function once(): Promise<Living> {
    flight ??= (async () => {
      try {
        living = await (login === 'token' ? given() : loggedIn());
        return living;
      } finally {
        flight = undefined;
      }
    })();
    return flight;
  }

  /** A token that somebody gave us, and for how long it is good, if it may say so itself. */
  async function given(): Promise<Living> {
    const { token, tokenFile = '' } = options;
    const secret = token === undefined ? new Secret(textOf(tokenFile).trim()) : await read(token);
    const askedAt = runtime.now();
    const call = callOf('look up the token');
    const answer = await send(call, { method: 'GET', path: 'auth/token/lookup-self', token: secret, namespace });
    if (answer.status !== 200) return had(secret, askedAt, false, 0, false);
    const { ttl, renewable } = z.safeParse(lookupSchema, parseJson(answer.text)).data?.data ?? {
      ttl: 0,
      renewable: false,
    };
    return had(secret, askedAt, false, ttl, renewable);
  }

  async function loggedIn(): Promise<Living> {
    options.renewFiles();
    const call = callOf(`log in by ${login}`);
    const body = await credentials();
    const askedAt = runtime.now();
    const answer = await send(call, { method: 'POST', path: `auth/${mount}/login`, namespace, body });
    if (answer.status !== 200) throw refused(call, answer);
    const auth = z.safeParse(authSchema, parseJson(answer.text)).data?.auth;
    if (auth === undefined)
      throw failed(call, 'store_nonsense', 'its answer holds no token', { status: answer.status });
    return had(new Secret(auth.client_token), askedAt, true, auth.lease_duration, auth.renewable);
  }

  async function credentials(): Promise<() => unknown> {
    const { role, roleId, jwt, jwtFile = defaults.serviceAccountToken } = options;
    if (login === 'approle') {
      const secretId = await secretIdNow();
      return () => ({ role_id: roleId, secret_id: secretId.reveal() });
    }
    if (login === 'cert') return () => defined({ name: role });
    const token = jwt === undefined ? new Secret(textOf(jwtFile).trim()) : await read(jwt);
    return () => ({ role, jwt: token.reveal() });
  }

  async function secretIdNow(): Promise<Secret> {
    const { secretId = new Secret(''), secretIdWrapped = false } = options;
    if (!secretIdWrapped) return read(secretId);
    if (unwrapped !== undefined) return unwrapped;
    const call = callOf('unwrap the secret id');
    const answer = await send(call, {
      method: 'POST',
      path: 'sys/wrapping/unwrap',
      token: await read(secretId),
      namespace,
    });
    if (answer.status === 400 || answer.status === 403) {
      throw failed(call, 'store_unauthorized', 'the wrapping token was used before, or has expired', {
        status: answer.status,
        reason: 'unwrapped_before',
        remedy:
          'A wrapping token works once: if nobody of yours has unwrapped it, somebody else has, and knows the secret id. Destroy that secret id, find out who read it, and give a new wrapped one.',
      });
    }
    if (answer.status !== 200) throw vaultError(call, answer);
    const found = z.safeParse(unwrapSchema, parseJson(answer.text)).data?.data.secret_id;
    if (found === undefined) throw failed(call, 'store_nonsense', 'what was wrapped is no secret id', { status: 200 });
    unwrapped = new Secret(found);
    return unwrapped;
  }

  /** 400 too: logins answer that to credentials that they do not take. */
  function refused(call: VaultCall, answer: HttpAnswer): CodedError {
    if (answer.status !== 400 && answer.status !== 403 && answer.status !== 404) return vaultError(call, answer);
    const isNotThere = answer.status === 404 || errorsIn(answer)?.some((one) => /no handler for route/.test(one));
    const what = isNotThere
      ? `no login is mounted at auth/${mount}`
      : 'it does not take what it was given to log in with';
    return failed(call, 'store_unauthorized', what, {
      status: answer.status,
      reason: isNotThere ? 'no_login' : 'login_refused',
      remedy: isNotThere
        ? `Mount it (vault auth enable -path=${mount} ${login}), or correct loginMount and loginNamespace of the store.`
        : loginRemedies[login],
    });
  }

  /** Gives the token that lives more time, or has another one; the failure is told when it ends. */
  async function prolong(of: Living): Promise<void> {
    if (!of.isRenewable) {
      await once();
      return;
    }
    const call = callOf('renew the token');
    const askedAt = runtime.now();
    const answer = await send(call, {
      method: 'POST',
      path: 'auth/token/renew-self',
      token: of.secret,
      namespace,
      body: () => ({}),
    });
    const auth = answer.status === 200 ? z.safeParse(renewalSchema, parseJson(answer.text)).data?.auth : undefined;
    if (auth === undefined) {
      await once();
      return;
    }
    const renewed = had(of.secret, askedAt, of.isOurs, auth.lease_duration, auth.renewable);
    // Above its maximum a server caps what it gives, whatever was asked for: then another one is
    // had.
    const isCapped = renewed.termMs < of.termMs * 0.9;
    if (living === of)
      living = { ...renewed, termMs: Math.max(of.termMs, renewed.termMs), isRenewable: auth.renewable && !isCapped };
  }

  return {
    async token({ signal } = {}) {
      const now = runtime.now();
      if (living === undefined || now >= (living.expiresAt ?? Number.POSITIVE_INFINITY))
        return (await unlessAborted(signal, once())).secret;
      if (now >= (living.renewAt ?? Number.POSITIVE_INFINITY)) {
        living.renewAt = now + retryRenewalMs;
        // It still serves, and when it no longer does, another one is asked for, and what stands in
        // the way is thrown.
        prolong(living).catch(() => {});
      }
      return living.secret;
    },

    async another(rejected, call, answer, { signal } = {}) {
      if (living !== undefined && living.secret !== rejected) return living.secret;
      const isFresh = living !== undefined && runtime.now() - living.at < freshMs;
      const lookup = await send(callOf('look up the token'), {
        method: 'GET',
        path: 'auth/token/lookup-self',
        token: rejected,
        namespace,
      });
      const isGood = lookup.status === 200;
      // Policies of its role may have changed since it was had; the newest one is believed.
      if (isGood && (isFresh || login === 'token')) throw vaultError(call, answer);
      if (login === 'token' && options.tokenFile === undefined) throw noToken(call, answer.status);
      const next = await unlessAborted(signal, once());
      if (login === 'token' && next.secret.reveal() === rejected.reveal()) throw noToken(call, answer.status);
      return next.secret;
    },

    async revoke() {
      const last = living;
      living = undefined;
      unwrapped?.wipe();
      if (last === undefined || !last.isOurs) return;
      try {
        await send(callOf('revoke the token'), {
          method: 'POST',
          path: 'auth/token/revoke-self',
          token: last.secret,
          namespace,
          body: () => ({}),
        });
      } catch (thrown) {
        // It ends by itself.
        asCodedError(thrown);
      }
    },
  };
}

const read = async (secret: SecretGiven): Promise<Secret> => (secret instanceof Secret ? secret : secret());

const loginRemedies: Readonly<Record<LoginKind, string>> = {
  token: 'Put a valid token in its place.',
  approle: 'Put a valid role id and secret id in their places (vault write -f auth/approle/role/<role>/secret-id).',
  kubernetes:
    'See that the role exists and is for this service account and its namespace, and that the audience of the token is the role’s.',
  jwt: 'See that the role exists, and that issuer, audience and subject of the token are those that it takes; the token may have expired.',
  cert: 'See that the certificate is one that this login trusts, that it has not expired, and that the role names it.',
};
