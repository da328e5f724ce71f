import { type Bench, eventBody, makeSubjects, post, type Subject } from './bench.ts';
import type { RequestCounts } from './servers.ts';

const repeats = 100;

/** How many requests an event costs, counted where they arrive, and how many calls of the table. */
export async function measureRequests(bench: Bench): Promise<void> {
  const { report, signer, primary, product, servers } = bench;
  const [ours, theirs] = await makeSubjects(primary, 'requests', 2);
  if (ours === undefined || theirs === undefined) throw new Error('no certificates were made');

  async function ourCosts(title: string, work: () => Promise<unknown>): Promise<void> {
    // Loads the verification key, which is kept for a while: otherwise chance would decide which
    // event pays for it.
    await post(product.url, eventBody(signer, 'test_notification_channel', ours as Subject));
    await Promise.all([servers.call('takeCounts'), product.call('takeCounts')]);
    await work();
    const [requests, { operations }] = await Promise.all([servers.call('takeCounts'), product.call('takeCounts')]);
    report.line(`certstandby: ${title}`, `${shown(requests)}; ${operations} table calls`);
  }
  async function theirCosts(title: string, work: () => Promise<unknown>): Promise<void> {
    await servers.call('takeCounts');
    await work();
    report.line(`straightforward: ${title}`, shown(await servers.call('takeCounts')));
  }
  const replicated = async (body: string) => {
    const passed = product.call('pass', ours.id);
    await post(product.url, body);
    if (!(await passed).equal) report.wrong(`${ours.name} is not equal in the backup`);
  };
  const times = async (count: number, work: () => Promise<unknown>) => {
    for (let at = 0; at < count; at += 1) await work();
  };

  report.heading('Requests per event, counted at the servers');
  const [imported, reimported] = await eventsOf(bench, ours);
  await ourCosts('imported', () => replicated(imported));
  await primary.reimport(ours.id, ours.versions[1]);
  await ourCosts('reimported', () => replicated(reimported));
  await ourCosts('repeated', () => post(product.url, reimported));
  await ourCosts(`repeated ${repeats} times`, () => times(repeats, () => post(product.url, reimported)));
  await ourCosts('the one sweep after these', () => product.call('sweep'));

  const { url } = bench.straightforward;
  const [theirImported, theirReimported] = await eventsOf(bench, theirs);
  await theirCosts('imported', () => post(url, theirImported));
  await primary.reimport(theirs.id, theirs.versions[1]);
  await theirCosts('reimported', () => post(url, theirReimported));
  await theirCosts('repeated', () => post(url, theirReimported));
  await theirCosts(`repeated ${repeats} times`, () => times(repeats, () => post(url, theirReimported)));
}

async function eventsOf({ signer }: Bench, subject: Subject): Promise<readonly [string, string]> {
  return [eventBody(signer, 'cert_imported', subject), eventBody(signer, 'cert_reimported', subject)];
}

/** `6: 2 token, 1 download` */
function shown(counts: RequestCounts): string {
  const parts = Object.entries(counts).map(([name, count]) => `${count} ${name.replace('_', ' ')}`);
  const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
  return parts.length === 0 ? '0 requests' : `${total}: ${parts.join(', ')}`;
}
