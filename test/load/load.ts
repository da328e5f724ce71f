import { Agent, request as httpRequest } from 'node:http';
import { setTimeout as wait } from 'node:timers/promises';
import { primaryCrn } from '../end-to-end/program.ts';
import { payloadV5, type Signer } from '../support/notifications.ts';
import type { RoleProcess } from '../support/roles.ts';
import type { productHandlers } from './product.ts';
import type { AnswerCounts, serverHandlers } from './servers.ts';

/** Something that answers calls, in this process or in one of its own. */
export type Callee<H extends Handlers> = Pick<RoleProcess<H>, 'call'>;
type Handlers = Readonly<Record<string, (argument: never) => unknown>>;

export interface LoadOptions {
  readonly servers: Callee<ReturnType<typeof serverHandlers>>;
  readonly product: Callee<ReturnType<typeof productHandlers>>;
  /** The primary's. */
  readonly signer: Signer;
  readonly folder: string;
  readonly notifications: number;
  readonly certificates: number;
  /**
   * How often each certificate is renewed while notifications pour in; each renewal is told of
   * before and after others.
   */
  readonly renewals: number;
  readonly connections: number;
  /** How much faster than the wall the clocks of all but the client run. */
  readonly speed: number;
  /** Until when all copies must be equal, in milliseconds after the last answer. */
  readonly patienceMs: number;
}

export interface LoadFigures {
  /** Answers by HTTP status. */
  readonly answers: Readonly<Record<number, number>>;
  readonly floodMs: number;
  /** How long each answer took, sorted, in milliseconds. */
  readonly answerMs: readonly number[];
  /**
   * `RssAnon` of the program in KiB: before, after each quarter of the notifications, in the end.
   */
  readonly memoryKiB: readonly (number | undefined)[];
  /** What the services answered, from the first notification to the end. */
  readonly requests: Readonly<Record<'primary' | 'backup', AnswerCounts>>;
  readonly passes: number;
  /**
   * From the last answer until every copy was equal and nothing was left to do; absent if that did
   * not come.
   */
  readonly equalAfterMs?: number;
  readonly equal: number;
  readonly copies: number;
}

/**
 * Many notifications as fast as one client can send them, while certificates are renewed more often
 * than the backup may be written to.
 */
export async function runLoad(options: LoadOptions): Promise<LoadFigures> {
  const { servers, product, signer, folder, certificates, renewals, speed } = options;
  const signingKeyPem = signer.privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  const started = await servers.call('start', { signingKeyPem, certificates, versions: renewals + 1, speed });
  const { ids, ...urls } = started;
  const callbackUrl = await product.call('start', { ...urls, folder, speed });
  const posts = postsOf(options, ids);
  const before = await servers.call('counts');
  const memoryBefore = await product.call('memoryKiB', { collect: true });
  const passesBefore = await product.call('passes');

  const beganAt = performance.now();
  const { memoryKiB, ...flooded } = await flood(options, callbackUrl, posts);
  const floodedAt = performance.now();
  const quiet = await untilEqual(options, floodedAt + options.patienceMs);
  const quietAt = performance.now();
  const after = await servers.call('counts');
  const requests = {
    primary: difference(after.primary, before.primary),
    backup: difference(after.backup, before.backup),
  };
  return {
    ...flooded,
    floodMs: floodedAt - beganAt,
    memoryKiB: [memoryBefore, ...memoryKiB, await product.call('memoryKiB', { collect: true })],
    requests,
    passes: (await product.call('passes')) - passesBefore,
    ...(quiet && { equalAfterMs: quietAt - floodedAt }),
    ...(await servers.call('compare')),
  };
}

interface Post {
  readonly body: string;
  /** Index of the certificate that is renewed first. */
  readonly renew?: number;
}

/**
 * The notifications in their order, signed beforehand: to every certificate in turn, each event
 * another one.
 */
function postsOf({ notifications, certificates, renewals, signer }: LoadOptions, ids: readonly string[]): Post[] {
  const rounds = Math.floor(notifications / certificates);
  const roundsOfRenewal = new Set(
    Array.from({ length: renewals }, (_, index) => Math.floor(((index + 0.5) * rounds) / renewals)),
  );
  return Array.from({ length: notifications }, (_, number): Post => {
    const index = number % certificates;
    const eventId = `event-${number}`;
    const of = {
      instance: primaryCrn,
      ids: [ids[index] ?? ''],
      type: 'cert_reimported',
      eventId,
      eventTime: Date.now(),
    };
    const body = signer.body(payloadV5(of)).toString();
    return roundsOfRenewal.has(Math.floor(number / certificates)) ? { body, renew: index } : { body };
  });
}

async function flood({ connections, servers, product }: LoadOptions, callbackUrl: string, posts: readonly Post[]) {
  const agent = new Agent({ keepAlive: true, maxSockets: connections });
  const answers: Record<number, number> = {};
  const answerMs: number[] = [];
  const quarter = Math.ceil(posts.length / 4);
  const memory: Promise<number | undefined>[] = [];
  const waiting = posts.values();
  await Promise.all(
    Array.from({ length: connections }, async () => {
      for (const { body, renew } of waiting) {
        if (renew !== undefined) await servers.call('renew', renew);
        const sentAt = performance.now();
        const status = await post(agent, callbackUrl, body);
        answerMs.push(performance.now() - sentAt);
        answers[status] = (answers[status] ?? 0) + 1;
        const answered = answerMs.length;
        // Not collected first: that would hold up the answers that are measured.
        if (answered % quarter === 0 || answered === posts.length)
          memory.push(product.call('memoryKiB', { collect: false }));
      }
    }),
  );
  agent.destroy();
  return { answers, answerMs: answerMs.sort((a, b) => a - b), memoryKiB: await Promise.all(memory) };
}

/** The status of the answer, when all of it is there. */
function post(agent: Agent, url: string, body: string): Promise<number> {
  return new Promise((resolve, reject) => {
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) };
    const sent = httpRequest(url, { method: 'POST', agent, headers }, (response) => {
      response.resume().on('end', () => resolve(response.statusCode ?? 0));
    });
    sent.on('error', reject);
    sent.end(body);
  });
}

/**
 * Waits until nothing is left to do, and every copy is as it should be. The copies are read only
 * then: reading them is work for the services.
 */
async function untilEqual({ servers, product, certificates }: LoadOptions, until: number): Promise<boolean> {
  while (performance.now() < until) {
    if ((await product.call('pending')) === 0 && (await servers.call('compare')).equal === certificates) return true;
    await wait(100);
  }
  return false;
}

function difference(after: AnswerCounts, before: AnswerCounts): AnswerCounts {
  const all = Object.entries(after).map(([name, count]): [string, number] => [name, count - (before[name] ?? 0)]);
  return Object.fromEntries(all.filter(([, count]) => count > 0).sort());
}
