import { auditRows } from '../audit/audit-rows.ts';
import { completeTrail } from '../audit/completion.ts';
import { eventBook, passFacts, settingsFact, settingsParts } from '../audit/facts.ts';
import type { Fact, Person } from '../audit/line.ts';
import { keepCheckpoint, removeOld, removesHere } from '../audit/upkeep.ts';
import { type AuditState, auditWriter } from '../audit/writer.ts';
import type { AuditConfig, TableConfig } from '../config.ts';
import type { KeptDrill } from '../drill/keep.ts';
import { asCodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import { replicationRecords } from '../records/replication-records.ts';
import type { PassReport } from '../replication/pass/replicate.ts';
import type { Runtime } from '../runtime.ts';
import { trustedKey } from '../signing/signed-text.ts';
import { openSigningKey } from '../signing/signing-key.ts';
import type { Table } from '../table/table.ts';
import type { Acknowledged } from './callbacks.ts';
import { openTable } from './tables.ts';

/**
 * The audit trail of one process. What is told here is written beside the work, and fails alone.
 */
export interface ProgramAudit {
  readonly acknowledged: Acknowledged;
  /** `primary`: the id of the store. */
  passed(report: PassReport, primary: string): void;
  drilled(link: string, kept: Pick<KeptDrill, 'report' | 'signedFile'>): void;
  /** What a person does: the command, and those of its options that say what is done. */
  act(act: Act, person: Person): void;
  add(fact: Fact): void;
  /** Tells which parts of the configuration are others than at the last start of this program. */
  sawSettings(written: Parameters<typeof settingsParts>[0]): Promise<void>;
  /** Adds what nobody has told, as far as the records of these links know of it. */
  complete(links: readonly { readonly name: string; readonly primary: { readonly id: string } }[]): Promise<void>;
  /**
   * Signs how far the trail goes, and removes what is too old, each when it is due; it ends early,
   * and says nothing of that, by the signal.
   */
  upkeep(signal?: AbortSignal): Promise<void>;
  state(): AuditState;
  /**
   * Waits a while for what is still to be written: five seconds at most, or so many milliseconds.
   * Logs how many lines are lost with the process.
   */
  close(withinMs?: number): Promise<void>;
}

export interface Act {
  readonly command: string;
  /** Never a secret, nor a path: those may name a person. */
  readonly options: Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;
}

/** How often what is too old is looked for, and how long one process has that turn. */
const retentionEveryMs = 86_400_000;
const retentionTurnMs = 3_600_000;

export function programAudit(given: {
  readonly table: Table;
  readonly audit: AuditConfig;
  readonly runtime: Runtime;
  readonly log: Log;
  readonly program: string;
}): ProgramAudit {
  const { table, audit, runtime, log, program } = given;
  const rows = auditRows(table);
  const writer = auditWriter({ rows, runtime, log, program });
  const add = (fact: Fact) => writer.add(fact);
  const events = eventBook({ add, now: () => runtime.now() });
  const flush = () => writer.flush(limits.auditCloseMs);
  let unsigned = false;
  let removes = true;

  /** The key that signs; nothing is signed, and that is told once, where it cannot be had. */
  function signingKey() {
    try {
      const { privateKey, publicKey } = openSigningKey(audit.folder, 'audit_key_unusable');
      unsigned = false;
      return { privateKey, publicKey: trustedKey(publicKey) };
    } catch (thrown) {
      const error = asCodedError(thrown);
      if (!unsigned) log('error', 'audit_not_signed', { ...errorFields(error), remedy: error.remedy });
      unsigned = true;
      return undefined;
    }
  }

  return {
    acknowledged: events.acknowledged,
    passed(report, primary) {
      for (const fact of passFacts(report, primary)) add(fact);
    },
    drilled(link, { report, signedFile }) {
      const { kept, served, failed, notDrilled } = report;
      const file = signedFile.split(/[/\\]/).at(-1);
      add({ kind: 'drill', link, kept, served, failed, notDrilled: notDrilled.length, report: file });
    },
    act: ({ command, options }, person) => writer.add({ kind: 'act', command, options }, person),
    add,
    async sawSettings(written) {
      const parts = settingsParts(written);
      const fact = settingsFact(await rows.settings(program), parts);
      if (fact === undefined) return;
      add({ ...fact, program });
      if (await flush()) await rows.saveSettings(program, parts);
    },
    async complete(links) {
      events.settle();
      for (const { name, primary } of links) {
        const records = replicationRecords(table).all(name, () => undefined);
        await completeTrail(rows, { link: name, primary: primary.id, records, now: runtime.now(), add, flush });
      }
    },
    async upkeep(signal) {
      const found = signingKey();
      if (found === undefined) return;
      try {
        const key = { privateKeyPem: found.privateKey.reveal(), publicKey: found.publicKey };
        const parts = { rows, runtime, log, key, signal };
        await keepCheckpoint(parts, audit.checkpointEveryMs);
        const isHere = await removesHere(parts);
        if (!isHere && removes) log('warn', 'audit_removed_elsewhere');
        removes = isHere;
        if (!isHere) return;
        const now = runtime.now();
        const due = { now, until: now + retentionTurnMs, notSince: now - retentionEveryMs };
        if ((await rows.takeRound('*', due)) === 'taken') return;
        let done = false;
        try {
          await removeOld(parts, audit.keepMs);
          done = true;
        } finally {
          await rows.endRound('*', done ? now : undefined);
        }
      } catch (thrown) {
        if (signal?.aborted !== true) throw thrown;
      } finally {
        found.privateKey.wipe();
      }
    },
    state: () => writer.state(),
    async close(withinMs = limits.auditCloseMs) {
      events.settle(true);
      if (!(await writer.flush(withinMs))) log('error', 'audit_lost', { lines: writer.state().waiting });
      writer.stop();
    },
  };
}

/** The rows of the trail, for commands that read it. */
export async function openTrail(config: TableConfig) {
  const table = await openTable(config);
  return { rows: auditRows(table), close: () => table.close() };
}

/**
 * Tells what a person does of a command that opens no program. It waits for the table, and goes on
 * all the same where that cannot be had: what fails is logged.
 */
export async function tellAct(
  given: {
    readonly config: { readonly table: TableConfig; readonly audit: AuditConfig };
    readonly runtime: Runtime;
    readonly log: Log;
    /** Instead of the table that the configuration names; it stays open. */
    readonly table?: Table | undefined;
  },
  act: Act,
  person: Person,
): Promise<void> {
  const { config, runtime, log } = given;
  if (!config.audit.write) return;
  try {
    const table = given.table ?? (await openTable(config.table));
    try {
      const audit = programAudit({ table, audit: config.audit, runtime, log, program: act.command });
      audit.act(act, person);
      await audit.close();
    } finally {
      if (given.table === undefined) await table.close();
    }
  } catch (thrown) {
    log('error', 'audit_not_written', errorFields(asCodedError(thrown)));
  }
}
