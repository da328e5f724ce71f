import { randomUUID } from 'node:crypto';
import { createDevelopmentCa } from '../../src/instance/orders/authority/development-ca.ts';
import { exchangeToken } from '../support/instance.ts';
import { payloadV5, type Signer } from '../support/notifications.ts';
import type { Child } from './child.ts';
import type { productHandlers } from './product.ts';
import type { Report } from './report.ts';
import { asContent, type Content, type RestClient, restClient, type Side, sameContent } from './rest.ts';
import type { Pair, serverHandlers } from './servers.ts';
import type { straightforwardHandlers } from './straightforward.ts';

/** What every measurement works on: the same two servers, and the contenders before them. */
export interface Bench {
  readonly report: Report;
  /** Where the product has its table. */
  readonly folder: string;
  readonly signer: Signer;
  /**
   * The servers as the contenders reach them, and clients of the one who measures, without a
   * network in between.
   */
  readonly pair: Pair;
  readonly primary: RestClient;
  readonly backup: RestClient;
  readonly servers: Child<ReturnType<typeof serverHandlers>>;
  readonly product: Child<ReturnType<typeof productHandlers>> & { readonly url: string };
  readonly straightforward: Child<ReturnType<typeof straightforwardHandlers>> & { readonly url: string };
}

/**
 * A certificate of the primary, and what it alternates between: two versions with a key each,
 * P-256, one intermediate.
 */
export interface Subject {
  readonly id: string;
  readonly name: string;
  readonly versions: readonly [Content, Content];
}

/**
 * Makes certificates and imports the first version of each into the primary. No channel is there to
 * tell anybody.
 */
export async function makeSubjects(primary: RestClient, prefix: string, count: number): Promise<readonly Subject[]> {
  const ca = await createDevelopmentCa({ name: 'Bench', now: Date.now });
  const subjects: Subject[] = [];
  for (let index = 0; index < count; index += 1) {
    const name = `${prefix}-${index}`;
    const issue = async () =>
      asContent(await ca.issue({ domains: [`${name}.example.test`, `www.${name}.example.test`] }));
    const versions = [await issue(), await issue()] as const;
    subjects.push({ id: await primary.import(name, versions[0]), name, versions });
  }
  return subjects;
}

/** The body of a signed event, as the primary would post it. Each is another event. */
export function eventBody(signer: Signer, type: string, { id, name }: Pick<Subject, 'id' | 'name'>): string {
  const payload = payloadV5({ type, ids: [id], name, eventId: randomUUID(), eventTime: Date.now() });
  return signer.body(payload).toString();
}

/** Posts an event, and answers what was answered. Throws unless it was taken. */
export async function post(url: string, body: string): Promise<unknown> {
  const response = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body });
  const answer = await response.text();
  if (!response.ok) throw new Error(`an event was answered ${response.status}: ${answer}`);
  return JSON.parse(answer);
}

/** Whether a copy in the backup is what it is to be: certificate, chain and private key. */
export async function holds(backup: RestClient, copy: string, wanted: Content): Promise<boolean> {
  const { data } = await backup.download(copy);
  return sameContent(data, wanted);
}

/**
 * The floor: downloads a certificate by its id and reimports it into its copy, with tokens that are
 * there.
 */
export async function plainCopy({ primary, backup }: Pair, copies: ReadonlyMap<string, string>) {
  const from = await signIn(primary);
  const to = await signIn(backup);
  return async (id: string): Promise<void> => {
    const { data } = await from.download(id);
    await to.reimport(copies.get(id) ?? '', data);
  };
}

/** A client with a new token. */
export const signIn = async (side: Side): Promise<RestClient> =>
  restClient(side, await exchangeToken(side.url, side.apiKey));

/** Works on all items, so many at a time. */
export async function inParallel<T>(
  items: Iterable<T>,
  concurrency: number,
  work: (item: T) => Promise<unknown>,
): Promise<void> {
  const iterator = items[Symbol.iterator]();
  const worker = async () => {
    for (let next = iterator.next(); !next.done; next = iterator.next()) await work(next.value);
  };
  await Promise.all(Array.from({ length: concurrency }, worker));
}
