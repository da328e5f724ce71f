import * as acme from 'acme-client';
import { defined } from '../../../defined.ts';
import { CodedError } from '../../../errors.ts';
import type { Secret } from '../../../secret.ts';
import { acmeCaller, newAcmeCaller, readProblem, sendAcmeRequest } from './acme-http.ts';
import type { Authority, Challenge, OrderStanding } from './authority.ts';

export interface AcmeOptions {
  /**
   * Address of the directory (RFC 8555 section 7.1.1). Using it means agreeing to its terms of
   * service.
   */
  readonly directory: string;
  /** `mailto:` addresses that the authority may write to. */
  readonly contact: readonly string[];
  /**
   * PEM of the only authorities that the directory's own certificate is checked against; absent:
   * those of the platform.
   */
  readonly trust?: string | undefined;
  /**
   * Where the authority makes accounts only for customers (RFC 8555 section 7.3.4): the id of a
   * key, and the key as base64url.
   */
  readonly eab?: { readonly keyId: string; readonly key: Secret } | undefined;
  /**
   * The private key of the account, PEM. Asked when it is needed, and kept by the library as long
   * as this lives.
   */
  readonly accountKey: () => Promise<Secret>;
  /** How long one request may take, from its first to its last byte. Default 30 seconds. */
  readonly requestMs?: number | undefined;
  readonly now: () => number;
}

// The library's own attempts would wait by the real clock, and hide how long the authority asked to
// wait.
Object.assign(acme.axios.defaults, {
  adapter: sendAcmeRequest,
  acmeSettings: { retryMaxAttempts: 0, retryDefaultDelay: 0 },
});

/**
 * An authority that speaks ACME (RFC 8555), by dns-01. Its account is made when it is first needed,
 * and found again by its key.
 */
export function acmeAuthority(options: AcmeOptions): Authority {
  const { directory, contact, trust, eab, accountKey, requestMs = 30_000, now } = options;
  const caller = newAcmeCaller({ trust, timeoutMs: requestMs, now });
  let account: Promise<acme.Client> | undefined;

  async function openAccount(): Promise<acme.Client> {
    const key = await accountKey();
    const client = new acme.Client({
      directoryUrl: directory,
      accountKey: key.revealBytes(),
      ...(eab !== undefined && { externalAccountBinding: { kid: eab.keyId, hmacKey: eab.key.reveal() } }),
    });
    key.wipe();
    await client.createAccount({ termsOfServiceAgreed: true, ...(contact.length > 0 && { contact: [...contact] }) });
    return client;
  }

  /**
   * One piece of work as our account. One that was forgotten by the authority is made anew, once.
   */
  async function asUs<T>(work: (client: acme.Client) => Promise<T>): Promise<T> {
    return acmeCaller.run(caller, async () => {
      for (let attempt = 1; ; attempt++) {
        try {
          account ??= openAccount();
          return await work(await account);
        } catch (thrown) {
          const error = coded(thrown, directory);
          // The next one tries anew, also where the directory could not be read.
          if (error.fields.type === 'accountDoesNotExist' || (await account?.catch(() => 'failed')) === 'failed') {
            account = undefined;
          }
          if (error.fields.type !== 'accountDoesNotExist' || attempt > 1) throw error;
        }
      }
    });
  }

  /** The same on an order. That it is gone is no refusal: the next look at it says so. */
  async function onOrder<T>(work: (client: acme.Client) => Promise<T>): Promise<T> {
    try {
      return await asUs(work);
    } catch (thrown) {
      if (!isGone(thrown)) throw thrown;
      throw new CodedError('acme_unavailable', thrown.message, { cause: thrown, fields: thrown.fields });
    }
  }

  const orderAt = (client: acme.Client, url: string) => client.getOrder({ url } as acme.Order);

  return {
    id: directory,

    begin: (domains) =>
      asUs(async (client) => {
        const identifiers = domains.map((value) => ({ type: 'dns', value }));
        return (await client.createOrder({ identifiers })).url;
      }),

    look: (url) =>
      asUs(async (client): Promise<OrderStanding> => {
        const order = await orderAt(client, url);
        switch (order.status) {
          case 'pending':
            return pendingStanding(client, await client.getAuthorizations(order));
          case 'ready':
            return { state: 'ready' };
          case 'processing':
            return { state: 'working' };
          case 'valid':
            return { state: 'issued' };
          case 'invalid':
            return refusedStanding(order, await client.getAuthorizations(order));
          default:
            throw new CodedError('acme_unavailable', `${directory}: an order of the unknown status ${order.status}`);
        }
      }).catch((thrown: unknown) => {
        if (isGone(thrown)) return { state: 'gone' };
        throw thrown;
      }),

    answer: (url) =>
      onOrder(async (client) => {
        await client.completeChallenge({ type: 'dns-01', url, status: 'pending', token: '' });
      }),

    finalize: (url, domains, privateKey) =>
      onOrder(async (client) => {
        const [commonName] = domains;
        const key = privateKey.revealBytes();
        try {
          const [, csr] = await acme.crypto.createCsr({ ...defined({ commonName }), altNames: [...domains] }, key);
          await client.finalizeOrder(await orderAt(client, url), csr);
        } catch (thrown) {
          // One of its servers is behind another, or a request whose answer was lost has finalized
          // it.
          if (!isNotReady(thrown)) throw thrown;
        } finally {
          key.fill(0);
        }
      }),

    download: (url) =>
      onOrder(async (client) => {
        const order = await orderAt(client, url);
        // The library would go on asking by the real clock.
        if (order.status !== 'valid')
          throw new CodedError('acme_unavailable', `${directory}: the order is ${order.status}`);
        return client.getCertificate(order);
      }),
  };
}

/** What the authorizations of a pending order leave to be done. */
async function pendingStanding(
  client: acme.Client,
  authorizations: readonly acme.Authorization[],
): Promise<OrderStanding> {
  const failed = failureIn(authorizations);
  if (failed !== undefined) return { state: 'refused', error: failed };
  const challenges: Challenge[] = [];
  for (const { status, identifier, challenges: offered } of authorizations) {
    if (status !== 'pending') continue;
    const challenge = offered.find(({ type }) => type === 'dns-01');
    if (challenge === undefined) {
      const message = `the authority offers no dns-01 for ${identifier.value}`;
      return { state: 'refused', error: new CodedError('acme_refused', message) };
    }
    const value = await client.getChallengeKeyAuthorization(challenge);
    challenges.push({ url: challenge.url, domain: identifier.value, value });
  }
  return challenges.length === 0 ? { state: 'working' } : { state: 'challenged', challenges };
}

function refusedStanding(order: acme.Order, authorizations: readonly acme.Authorization[]): OrderStanding {
  const failed = failureIn(authorizations);
  if (failed !== undefined) return { state: 'refused', error: failed };
  const { type, detail } = readProblem(order.error);
  const message = `the order is invalid${type === '' ? '' : ` (${type})`}${detail === '' ? '' : `: ${detail}`}`;
  return { state: 'refused', error: new CodedError('acme_refused', message, { fields: { type } }) };
}

/** The first authorization that came to nothing, with what the authority says it found. */
function failureIn(authorizations: readonly acme.Authorization[]): CodedError | undefined {
  const failed = authorizations.find(({ status }) => status !== 'pending' && status !== 'valid');
  if (failed === undefined) return undefined;
  const problem = failed.challenges.find(({ error }) => error !== undefined)?.error;
  const { type, detail } = readProblem(problem);
  const said = `${type === '' ? '' : ` (${type})`}${detail === '' ? '' : `: ${detail}`}`;
  const message = `the proof for ${failed.identifier.value} is ${failed.status}${said}`;
  return new CodedError('acme_challenge_failed', message, { fields: { domain: failed.identifier.value, type } });
}

/** RFC 8555 does not say how an order is forgotten; servers answer 404. */
function isGone(thrown: unknown): thrown is CodedError {
  return thrown instanceof CodedError && thrown.code === 'acme_refused' && thrown.fields.status === 404;
}

/** RFC 8555 section 7.4: the order is in another state. */
function isNotReady(thrown: unknown): boolean {
  return thrown instanceof CodedError && thrown.code === 'acme_refused' && thrown.fields.type === 'orderNotReady';
}

/** What is not coded yet was thrown by the library about an answer that makes no sense to it. */
function coded(thrown: unknown, directory: string): CodedError {
  if (thrown instanceof CodedError) return thrown;
  const text = thrown instanceof Error ? thrown.message : String(thrown);
  return new CodedError('acme_unavailable', `${directory}: ${text}`, { cause: thrown });
}
