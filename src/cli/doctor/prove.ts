import { existsSync } from 'node:fs';
import { type Config, configSettings, loadConfig } from '../../config.ts';
import { errorRegistry } from '../../errors.ts';
import { quotaWords } from '../../findings/quota-words.ts';
import type { ProveReport } from '../../prove/prove.ts';
import { systemRuntime as runtime } from '../../runtime.ts';
import type { QuotaLeft, Store } from '../../store/store.ts';
import type { Table } from '../../table/table.ts';
import { askYesNo } from '../ask.ts';
import { interrupted } from '../interrupt.ts';
import { commandOutput, type Host, type Output, type OutputOptions } from '../output/output.ts';
import { clean, count, duration } from '../output/text.ts';
import { actOn, storeOf } from '../program.ts';

interface ProveCommandOptions extends OutputOptions {
  readonly config: string;
  readonly yes?: boolean;
}

type Bound = ProveReport['bounds'][number];

/** What the configuration calls the bounds that it can state. */
const settings: Readonly<Partial<Record<Bound['about'], string>>> = {
  readSettles: 'readSettles',
  listingLag: 'listingLag',
  settles: 'settles',
};

/**
 * `certstandby doctor --prove <store>`: what a store states about itself, beside what was measured
 * there.
 */
export async function prove(name: string, options: ProveCommandOptions, host: Host): Promise<void> {
  const signal = interrupted(host);
  const output = commandOutput(options, host, runtime.now);
  const config = loadConfig(options.config, host.env);
  const { countedOn, proveStore, costOfProof } = await import('../../compose/prove.ts');
  const opened = await storeOf(config, name, options.config, runtime);
  const links = linksThatListen(config, name, opened);
  const table = await tableFor(config, opened, links);
  try {
    // What a proof uses up of a quota is gone for the links too: it is counted where they count.
    const counted = table && (await countedOn(table, opened, runtime));
    const store = counted?.store ?? opened;
    announce(name, store, { cost: await costOfProof(store), left: counted?.left ?? [] }, output);
    if (options.yes !== true && !(await askYesNo('Go on?', { host, option: '--yes', signal }))) {
      output.line('Nothing was sent.');
      return;
    }
    await actOn(config, { command: 'doctor', options: { prove: name } }, { output, host, opened: table });
    await measure(name, { store, listening: table && { table, links }, signal, proveStore }, output, host);
  } finally {
    await Promise.all([opened.close?.(), table?.close()]);
  }
}

async function measure(
  name: string,
  given: {
    readonly store: Store;
    readonly listening: { readonly table: Table; readonly links: readonly string[] } | undefined;
    readonly signal: AbortSignal;
    readonly proveStore: typeof import('../../compose/prove.ts')['proveStore'];
  },
  output: Output,
  host: Host,
): Promise<void> {
  const { store, listening, signal, proveStore } = given;
  const progress = output.progress('proving', undefined);
  try {
    const step = (what: string) => {
      progress.advance();
      output.line(output.paint.faint(what));
    };
    const report = await proveStore(
      { runtime, store, signal, step },
      listening?.links.length === 0 ? undefined : listening,
    );
    progress.end();
    tell(name, store, report, output, host);
  } finally {
    progress.end();
  }
}

type Cost = Awaited<ReturnType<typeof import('../../compose/prove.ts')['costOfProof']>>;

/** Says beforehand what is sent, and what it uses up. */
function announce(
  name: string,
  store: Store,
  { cost, left }: { readonly cost: Cost; readonly left: readonly QuotaLeft[] },
  output: Output,
): void {
  const { imports, reimports, descriptions, deletions } = cost;
  const sends = [
    count(imports, 'import'),
    reimports > 0 && count(reimports, 'reimport'),
    count(descriptions, 'change of description', 'changes of description'),
    count(deletions, 'deletion'),
  ].filter(Boolean);
  const where = store.diagnosis === undefined ? '' : ` at ${store.diagnosis.address}`;
  const quotas = left.map(({ operations, count: most, perMs, left: now }) => ({
    operations,
    count: most,
    perMs,
    left: now,
  }));
  output.item({ about: name, proves: store.id, ...cost, ...(quotas.length > 0 && { quotas }) });
  output.line(
    `This imports a certificate of its own into ${name} (${store.kind}${where}), reads it, replaces it, and deletes it at the end:`,
    `  ${sends.join(', ')}; some tens of reads and listings. What the service counts by month or year is used up by that much.`,
    '  It is for certstandby-prove.invalid, carries a mark that no link uses, and is copied nowhere.',
    ...left.map((quota) => `  The service counts: ${quotaWords(quota)}.`),
  );
}

/** The links in which an event of this store would show, if the store tells of changes. */
function linksThatListen(config: Config, name: string, store: Store): readonly string[] {
  const links = config.links.filter(({ primary }) => primary === name).map((link) => link.name);
  const tells = store.notificationKey !== undefined || store.watch !== undefined;
  return tells ? links : [];
}

/** The table, if something is to be read or counted there, and records are here. */
async function tableFor(config: Config, store: Store, links: readonly string[]): Promise<Table | undefined> {
  if (links.length === 0 && (store.abilities.quotas ?? []).length === 0) return undefined;
  if (config.table.kind === 'lmdb' && !existsSync(config.table.path)) return undefined;
  const { openTable } = await import('../../compose/tables.ts');
  return openTable(config.table);
}

const words = (about: Bound['about'], value: number | undefined) => {
  if (value === undefined) return '-';
  return about === 'rate' ? `${value} a second` : duration(value);
};

function tell(name: string, store: Store, report: ProveReport, output: Output, host: Host): void {
  const { paint } = output;
  const { bounds, abilities, leftoversRemoved, requests, tookMs } = report;
  for (const finding of [...bounds, ...abilities]) output.item({ store: name, ...finding });
  if (leftoversRemoved > 0) output.line(`${count(leftoversRemoved, 'certificate')} of an earlier run removed`);
  const colour = {
    holds: paint.good,
    told: paint.faint,
    'not-seen': paint.faint,
    exceeded: paint.bad,
    differs: paint.bad,
  };
  const shown = (outcome: keyof typeof colour) => ({ text: outcome.replace('-', ' '), paint: colour[outcome] });
  output.line();
  output.table(
    [
      { title: 'BOUND' },
      { title: 'STATED', right: true },
      { title: 'MEASURED', right: true },
      { title: '' },
      { title: 'FROM' },
    ],
    bounds.map(({ about, stated, measured, outcome, message }) => [
      about,
      words(about, stated),
      words(about, outcome === 'not-seen' && about !== 'rate' ? undefined : measured),
      shown(outcome),
      message,
    ]),
  );
  output.line();
  output.table(
    [{ title: 'IT SAYS' }, { title: '' }, { title: 'SEEN' }],
    abilities.map(({ about, outcome, message }) => [about, shown(outcome), message]),
  );
  const exceeded = bounds.filter(({ outcome }) => outcome === 'exceeded');
  const differing = abilities.filter(({ outcome }) => outcome === 'differs');
  const exit = exceeded.length + differing.length === 0 ? 0 : errorRegistry.store_bound_exceeded.exit;
  output.item({ store: name, exceeded: exceeded.length, differs: differing.length, requests, tookMs, exit });
  for (const bound of exceeded) output.finding(`${paint.bad('problem')}  ${name}: ${remedyOf(name, store, bound)}`);
  for (const { about, message } of differing)
    output.finding(`${paint.bad('problem')}  ${name}: ${about}: ${clean(message)}`);
  if (exit === 0)
    output.line('', `${name} keeps what it states; ${count(requests, 'request')} in ${duration(tookMs)}.`);
  host.exitCode = exit;
}

/** The line that states what was measured, with room, where there is such a setting. */
function remedyOf(name: string, store: Store, { about, stated = 0, measured = 0 }: Bound): string {
  const found = `${about} is stated as ${duration(stated)} and was ${duration(measured)}`;
  const setting = settings[about];
  const isThere = configSettings.some(({ path, of }) => path === `stores.*.${setting}` && of === store.kind);
  if (!isThere) return `${found}: ask whoever runs ${store.diagnosis?.address ?? store.id} why`;
  const bound = Math.ceil((2 * measured) / 1_000);
  return `${found}. Write: stores.${name}.${setting}: ${bound}s [store_bound_exceeded]`;
}
