import { parseContent } from '../certificate/pem.ts';
import { createDevelopmentCa } from '../compose.ts';
import type { Store } from '../store/store.ts';
import type { EventRow, EventTable } from './event-table.ts';

const withinMs = 30_000;
const dayMs = 86_400_000;

/**
 * Makes real certificates, imports three into the primary, and then reimports the first with a new key and a later expiry. Answers
 * the rows of these four events, done or not done within half a minute for each step.
 */
export async function demonstrate(primary: Store, table: EventTable, now: () => number): Promise<readonly EventRow[]> {
  const [short, long] = await Promise.all([
    createDevelopmentCa({ name: 'Example', now, intermediates: 1 }),
    createDevelopmentCa({ name: 'Example Long', now, intermediates: 2 }),
  ]);
  const shopDomains = ['shop.example.test', 'www.shop.example.test'];
  const samples = await Promise.all([
    short.issue({ domains: shopDomains, keyKind: 'rsa-2048' }),
    long.issue({ domains: ['api.example.test'], keyKind: 'p-256' }),
    short.issue({ domains: ['*.apps.example.test'], keyKind: 'p-384' }),
  ]);
  const names = ['shop', 'api', 'apps wildcard'];
  const answers = await Promise.all(
    samples.map((pem, index) =>
      primary.import({
        content: parseContent(pem),
        metadata: { name: names[index] ?? '', description: 'made by certstandby up', tags: [] },
      }),
    ),
  );
  await table.rowsDone(samples.length, withinMs);

  const renewed = await short.issue({ domains: shopDomains, keyKind: 'rsa-2048', notAfter: now() + 180 * dayMs });
  const [shop] = answers;
  if (shop !== undefined) await primary.reimport(shop.id, parseContent(renewed));
  return table.rowsDone(samples.length + 1, withinMs);
}
