import { parseContent } from '../../certificate/pem.ts';
import { createDevelopmentCa } from '../../compose/instances.ts';
import type { Store } from '../../store/store.ts';
import type { Embedded } from './embedded.ts';
import type { EventRow, EventTable } from './event-table.ts';

const withinMs = 30_000;
const dayMs = 86_400_000;

const description = 'made by certstandby up';

/** How many rows the demonstration comes to. */
export const demonstratedRows = 6;

/**
 * Makes real certificates, imports three into the primary (or reimports them, where an earlier run
 * has left them), then reimports the first with a new key and a later expiry; orders a fourth one
 * (or renews it), and renews it with a new key. The authorities behind them are told to `trust`.
 * Answers the rows of these six events, done or not done within half a minute for each step.
 */
export async function demonstrate(
  primary: Store,
  table: EventTable,
  {
    now,
    embedded,
  }: {
    readonly now: () => number;
    readonly embedded: Pick<Embedded, 'trust' | 'order' | 'orderRoot' | 'renewWithNewKey'>;
  },
): Promise<readonly EventRow[]> {
  const [short, long] = await Promise.all([
    createDevelopmentCa({ name: 'Example', now, intermediates: 1 }),
    createDevelopmentCa({ name: 'Example Long', now, intermediates: 2 }),
  ]);
  embedded.trust([short.rootPem, long.rootPem, await embedded.orderRoot()]);
  const shopDomains = ['shop.example.test', 'www.shop.example.test'];
  const samples = await Promise.all([
    short.issue({ domains: shopDomains, keyKind: 'rsa-2048' }),
    long.issue({ domains: ['api.example.test'], keyKind: 'p-256' }),
    short.issue({ domains: ['*.apps.example.test'], keyKind: 'p-384' }),
  ]);
  const names = ['shop', 'api', 'apps wildcard'];
  const earlier = await earlierSamples(primary);
  const answers = await Promise.all(
    samples.map((pem, index) => {
      const content = parseContent(pem);
      const name = names[index] ?? '';
      const id = earlier.get(name);
      return id === undefined
        ? primary.import({ content, metadata: { name, description, tags: [] } })
        : primary.reimport(id, content);
    }),
  );
  await table.rowsDone(samples.length, withinMs);

  const renewed = await short.issue({ domains: shopDomains, keyKind: 'rsa-2048', notAfter: now() + 180 * dayMs });
  const [shop] = answers;
  if (shop !== undefined) await primary.reimport(shop.id, parseContent(renewed));
  await table.rowsDone(samples.length + 1, withinMs);

  const ordered = await embedded.order('checkout', ['checkout.example.test', '*.checkout.example.test']);
  await table.rowsDone(samples.length + 2, withinMs);
  await embedded.renewWithNewKey(ordered);
  return table.rowsDone(demonstratedRows, withinMs);
}

/** Ids of the samples that an earlier run has left, by name. */
async function earlierSamples(primary: Store): Promise<ReadonlyMap<string, string>> {
  const found = new Map<string, string>();
  let cursor: string | undefined;
  do {
    const page = await primary.list(cursor === undefined ? {} : { cursor });
    for (const certificate of page.certificates) {
      if (certificate.description === description) found.set(certificate.name, certificate.id);
    }
    cursor = page.cursor;
  } while (cursor !== undefined);
  return found;
}
