import { generateKeyPairSync } from 'node:crypto';
import { auditRows } from '../../src/audit/audit-rows.ts';
import type { Checkpoint } from '../../src/audit/checkpoint.ts';
import { type Examination, examineTrail } from '../../src/audit/examine.ts';
import type { Upkeep } from '../../src/audit/upkeep.ts';
import { type AuditWriter, auditWriter } from '../../src/audit/writer.ts';
import type { LogFields } from '../../src/log.ts';
import { trustedKey } from '../../src/signing/signed-text.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { pagesOf, type Row, type Table } from '../../src/table/table.ts';

export const startMs = Date.UTC(2026, 0, 1);
export const dayMs = 86_400_000;

export function signingPair() {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    privateKeyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicKey: trustedKey(publicKey.export({ type: 'spki', format: 'pem' }).toString()),
  };
}

/** A table, a clock, ids in order, and writers: what waits waits until the test lets it go on. */
export function trail(table: Table = memoryTable()) {
  const clock = { now: startMs };
  let ids = 0;
  const log: { readonly event: string; readonly fields: LogFields }[] = [];
  const waits: (() => void)[] = [];
  const rows = auditRows(table);
  const key = signingPair();
  const runtime = {
    now: () => clock.now,
    newId: () => {
      ids += 1;
      return `id-${String(ids).padStart(5, '0')}`;
    },
    wait: (_milliseconds: number, signal?: AbortSignal) =>
      new Promise<void>((resolve, reject) => {
        waits.push(resolve);
        signal?.addEventListener('abort', () => reject(signal.reason));
      }),
  };
  return {
    table,
    rows,
    clock,
    log,
    key,
    runtime,
    upkeep: { rows, runtime, key, log: (_level, event, fields = {}) => void log.push({ event, fields }) } as Upkeep,
    writer: (program = 'serve', on: Table = table): AuditWriter =>
      auditWriter({
        rows: auditRows(on),
        runtime,
        log: (_level, event, fields = {}) => void log.push({ event, fields }),
        program,
      }),
    /** Lets everything go on that waits for time to pass. */
    passTime() {
      for (const go of waits.splice(0)) go();
    },
    examine: (checkpoint?: Checkpoint): Promise<Examination> =>
      examineTrail(rows, { trusted: [key.publicKey], now: clock.now, checkpoint }),
  };
}

/** How far the chains go, as a checkpoint that is kept elsewhere tells of it. */
export async function checkpointOf({ clock, examine }: Pick<ReturnType<typeof trail>, 'clock' | 'examine'>) {
  const { chains } = await examine();
  return {
    at: clock.now,
    chains: chains.map(({ writer, last, digest, lastAt }) => ({ writer, last, digest, lastAt })),
  };
}

/** A pass that wrote, by its number. */
export const passOf = (number: number) => ({
  kind: 'pass' as const,
  link: 'shop',
  certificate: `c-${number}`,
  primary: 'one',
  backups: [{ backup: 'two', actions: ['imported'], copy: `copy-${number}`, fingerprint: `f-${number}` }],
});

/** All rows of some partitions. */
export async function rowsOf(table: Table, partition: string): Promise<readonly Row[]> {
  const found: Row[] = [];
  for await (const rows of pagesOf(table, { partition, limit: 100 })) found.push(...rows);
  return found;
}

/** The chains, in the order in which they began. */
export async function writersOf(table: Table): Promise<readonly string[]> {
  return (await rowsOf(table, 'audit-chains.1')).map(({ sort }) => sort);
}

/** The lines of a chain, a row each in the order of the rows. */
export async function linesOf(table: Table, writer: string): Promise<readonly string[]> {
  return (await rowsOf(table, `audit.1/${writer}`)).flatMap(({ lines }) => lines as readonly string[]);
}

/** What was found, in few words. */
export const inShort = ({ flaws }: Pick<Examination, 'flaws'>): readonly string[] =>
  flaws.map(({ kind, writer, number, to }) =>
    [kind, writer?.slice(-5), number === undefined ? '' : to === undefined ? `${number}` : `${number}-${to}`]
      .filter(Boolean)
      .join(' '),
  );
