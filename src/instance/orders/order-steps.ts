import { setMaxListeners } from 'node:events';
import { contentProblem } from '../../certificate/judgement.ts';
import { parseContent } from '../../certificate/pem.ts';
import { readBlocks } from '../../certificate/pem-blocks.ts';
import { asPkcs8, isPrivateKey, readPrivateKey } from '../../certificate/private-key.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { errorFields, type Log } from '../../log.ts';
import type { Runtime } from '../../runtime.ts';
import { Secret } from '../../secret.ts';
import { timeLimit } from '../../time-limit.ts';
import {
  type ContentPem,
  checkContentSize,
  isIssued,
  type KeptFacts,
  keptFacts,
  reimportedAuthority,
} from '../certificates/certificate-row.ts';
import type { CertificateRows } from '../certificates/certificate-rows.ts';
import type { Deliveries } from '../notifications/delivery.ts';
import { certificateItem } from '../notifications/events.ts';
import type { Authority, Challenge } from './authority/authority.ts';
import { developmentAuthorityId } from './authority/development-authority.ts';
import { newPrivateKey } from './authority/development-keys.ts';
import type { ChallengeLookup } from './challenge-lookup.ts';
import type { DnsHook } from './dns-hook.ts';
import type { OrderPolicy } from './order-policy.ts';
import { keyKindOf } from './order-request.ts';
import type { Order, OrderProgress, PublishedChallenge } from './order-rows.ts';

/** What one step has come to. */
export interface Step {
  /** What has been done since; absent if nothing. It is kept before the next step. */
  readonly advance?: OrderProgress;
  /** How long to wait before the next step; absent: not at all. */
  readonly waitMs?: number;
  /** The certificate, judged; the order is done. */
  readonly issued?: { readonly facts: KeptFacts; readonly pem: ContentPem; readonly authority: string };
}

export interface StepsContext {
  readonly instanceCrn: string;
  readonly authority: Authority;
  readonly rows: CertificateRows;
  readonly deliveries: Pick<Deliveries, 'publishValidation'>;
  /** Publishes records; without it, a listener of a channel does. */
  readonly hook?: DnsHook | undefined;
  readonly lookup: ChallengeLookup;
  readonly runtime: Runtime;
  readonly log: Log;
  readonly policy: OrderPolicy;
}

const recordLabel = '_acme-challenge';
const recordName = (domain: string) => `${recordLabel}.${domain}`;

export interface OrderSteps {
  /** One step. Throws what ends the order, or, if its entry says so, what may pass. */
  step(order: Order, progress: OrderProgress): Promise<Step>;
  readonly withdraw: (order: Order, challenge: PublishedChallenge) => Promise<void>;
}

/** The steps of an order. Each can be done again by a process that finds it interrupted. */
export function orderSteps(context: StepsContext & { readonly signal: AbortSignal }): OrderSteps {
  const { instanceCrn, authority, rows, deliveries, hook, lookup, runtime, log, policy, signal } = context;

  /** Asks for one record to be published. */
  async function publish(order: Order, { domain, value, url }: Challenge): Promise<PublishedChallenge> {
    const published = { url, domain, value, answered: false };
    if (hook !== undefined) {
      await hook('add', recordName(domain), value, signal);
      return { ...published, by: 'hook', publishedAt: runtime.now() };
    }
    if ((await tellOf(order, 'cert_domain_validation_required', { domain, value })) === 0) {
      throw new CodedError(
        'acme_no_publisher',
        `nobody is there to publish ${recordName(domain)}: no DNS hook, and no channel that is told of it`,
      );
    }
    return { ...published, by: 'channel', publishedAt: runtime.now() };
  }

  async function tellOf(
    order: Order,
    type: 'cert_domain_validation_required' | 'cert_domain_validation_completed',
    { domain, value }: Pick<Challenge, 'domain' | 'value'>,
  ): Promise<number> {
    const row = await rows.get(order.id);
    const { name, expiresOn } = row ?? { name: '', expiresOn: runtime.now() };
    const item = certificateItem(instanceCrn, { id: order.id, domains: order.domains, name, expiresOn });
    return deliveries.publishValidation(type, item, { domain, txt_record_name: recordLabel, txt_record_val: value });
  }

  /**
   * The next thing to do about the challenges of an order: publish one, answer one that was found
   * in DNS, look for those that were not, or wait.
   */
  async function prove(order: Order, progress: OrderProgress, open: readonly Challenge[]): Promise<Step> {
    requireOrdered(order, open);
    const known = new Map(progress.challenges.map((challenge) => [challenge.url, challenge]));
    const next = open.find(({ url }) => !known.has(url));
    if (next !== undefined) {
      const published = await publish(order, next);
      return { advance: { ...progress, failures: 0, challenges: [...progress.challenges, published] } };
    }
    const waiting = open.flatMap(({ url }) => known.get(url) ?? []).filter(({ answered }) => !answered);
    const advanceOf = (urls: ReadonlySet<string>, change: Partial<PublishedChallenge>): Step => ({
      advance: {
        ...progress,
        failures: 0,
        challenges: progress.challenges.map((one) => (urls.has(one.url) ? { ...one, ...change } : one)),
      },
    });
    const found = waiting.find(({ seen }) => seen === true);
    if (found !== undefined) {
      await authority.answer(found.url);
      return advanceOf(new Set([found.url]), { answered: true });
    }
    const seen = await seenOf(waiting);
    if (seen.size > 0) return advanceOf(seen, { seen: true });
    const late = waiting.find(({ publishedAt }) => runtime.now() - publishedAt > policy.challengeMs);
    if (late !== undefined) {
      const { domain } = late;
      throw new CodedError(
        'acme_challenge_unpublished',
        `the TXT record ${recordName(domain)} was not found in DNS within ${policy.challengeMs / 1000} s`,
        { fields: { domain } },
      );
    }
    return { waitMs: policy.lookEveryMs };
  }

  /**
   * Addresses of the challenges whose record stands in DNS now: looked for side by side, so that no
   * silent server holds up the others.
   */
  async function seenOf(challenges: readonly PublishedChallenge[]): Promise<ReadonlySet<string>> {
    const ending = timeLimit(policy.lookupMs, signal);
    setMaxListeners(0, ending);
    const found = await Promise.all(
      challenges.map(async ({ url, domain, value }) =>
        (await lookup(recordName(domain), value, ending)) ? [url] : [],
      ),
    );
    return new Set(found.flat());
  }

  /**
   * The key that is to be certified: the one in force if it stays, else a new one, kept before the
   * authority learns of it.
   */
  async function keyFor(order: Order): Promise<Secret> {
    const row = await rows.get(order.id);
    if (row !== undefined && isIssued(row) && !order.rotateKeys) {
      const { pem } = (await rows.read(order.id)) ?? {};
      const kept = readBlocks(pem?.priv_key ?? '').find(isPrivateKey);
      if (kept !== undefined) return asPkcs8(readPrivateKey(kept));
    }
    const key = await newPrivateKey(keyKindOf(row?.keyAlgorithm ?? ''));
    return new Secret(key.export({ type: 'pkcs8', format: 'pem' }).toString());
  }

  return {
    async step(order: Order, progress: OrderProgress): Promise<Step> {
      await requireSameKind(order);
      const { url, privateKey } = progress;
      if (url === undefined) {
        return { advance: { ...progress, failures: 0, url: await authority.begin(order.domains) } };
      }
      if (privateKey === undefined) return { advance: { ...progress, privateKey: await keyFor(order) } };
      const standing = await authority.look(url);
      switch (standing.state) {
        case 'challenged':
          return prove(order, progress, standing.challenges);
        case 'ready':
          await authority.finalize(url, order.domains, privateKey);
          // One look at once; an authority that stays ready is asked again after a pause, until the
          // order is overdue.
          return progress.finalized === true
            ? { waitMs: policy.lookEveryMs }
            : { advance: { ...progress, failures: 0, finalized: true } };
        case 'working':
          return { waitMs: policy.lookEveryMs };
        case 'issued':
          return { issued: { ...judged(order, await authority.download(url), privateKey), authority: authority.id } };
        case 'refused':
          throw standing.error;
        case 'gone': {
          // What was published for it proves nothing any more, and is taken back at the end, as
          // everything.
          const { url: _, finalized: __, ...rest } = progress;
          return { advance: rest, waitMs: policy.lookEveryMs };
        }
      }
    },

    withdraw,
  };

  /**
   * What an authority issued that clients trust, or somebody reimported, which they may trust too,
   * is not replaced by what none trusts, because a setting is missing.
   */
  async function requireSameKind(order: Order): Promise<void> {
    if (authority.id !== developmentAuthorityId) return;
    const { authority: before = developmentAuthorityId } = (await rows.get(order.id)) ?? {};
    if (before === developmentAuthorityId) return;
    const came = before === reimportedAuthority ? 'reimported' : `issued by ${before}`;
    const message = `certificate ${order.id} was ${came}, and no ACME directory is configured here now`;
    throw new CodedError('instance_not_configured', message);
  }

  /**
   * Takes back one record that was published, as far as that goes: one that stays proves nothing to
   * anybody else.
   */
  async function withdraw(order: Order, { by, domain, value }: PublishedChallenge): Promise<void> {
    try {
      if (by === 'channel') await tellOf(order, 'cert_domain_validation_completed', { domain, value });
      else await hook?.('remove', recordName(domain), value, signal);
    } catch (thrown) {
      const facts = { instance: instanceCrn, certificate: order.id, domain };
      log('warn', 'instance_challenge_not_withdrawn', { ...facts, ...errorFields(asCodedError(thrown)) });
    }
  }

  /**
   * What the authority issued, if it is what was ordered and would serve. Throws
   * `acme_certificate_wrong`.
   */
  function judged(
    order: Order,
    chain: string,
    privateKey: Secret,
  ): { readonly facts: KeptFacts; readonly pem: ContentPem } {
    try {
      const [leaf = '', ...above] = chain.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
      const intermediate = above.map((pem) => `${pem}\n`).join('');
      const parsed = parseContent({
        certificate: leaf,
        ...(intermediate !== '' && { intermediate }),
        privateKey: privateKey.copy(),
      });
      const problem = contentProblem(parsed, { nowMs: runtime.now(), requireChain: false });
      if (problem !== undefined) throw problem;
      const facts = keptFacts(parsed);
      requireDomains(order.domains, facts.domains);
      const pem = {
        content: `${leaf}\n`,
        ...(intermediate !== '' && { intermediate }),
        priv_key: privateKey.reveal(),
      };
      checkContentSize(pem);
      return { facts: { ...facts, domains: order.domains }, pem };
    } catch (thrown) {
      const cause = asCodedError(thrown);
      const message = `${authority.id} issued something that was not ordered: ${cause.message}`;
      throw new CodedError('acme_certificate_wrong', message, { cause, fields: { reason: cause.code } });
    }
  }
}

/**
 * What the authority calls a domain is handed to the operator's hook, so it must be one that was
 * ordered, to the letter.
 */
function requireOrdered(order: Order, challenges: readonly Challenge[]): void {
  const ordered = new Set(order.domains.map((domain) => domain.replace(/^\*\./, '')));
  const other = challenges.find(({ domain }) => !ordered.has(domain));
  if (other === undefined) return;
  const asked = JSON.stringify(other.domain).slice(0, 100);
  throw new CodedError('acme_refused', `the authority wants a proof for ${asked}, which was not ordered`);
}

function requireDomains(ordered: readonly string[], issued: readonly string[]): void {
  const is = new Set(issued.map((domain) => domain.toLowerCase()));
  if (is.size === ordered.length && ordered.every((domain) => is.has(domain))) return;
  throw new CodedError(
    'instance_domains_differ',
    `it is for ${issued.join(', ')}, and ${ordered.join(', ')} were ordered`,
  );
}
