import type { FunctionConfig } from '../deployment.ts';
import type { Dispatch } from '../dispatch/dispatch.ts';
import type { Log } from '../log.ts';
import { type CallbackRequest, type CallbackResponse, createReceiver } from '../receiver/receiver.ts';
import { hintRecords } from '../records/hint-records.ts';
import { idempotencyRecords } from '../records/idempotency-records.ts';
import { intakeRecords } from '../records/intake-records.ts';
import { replicationRecords } from '../records/replication-records.ts';
import { verificationKeyRecords } from '../records/verification-key-records.ts';
import { defaultTiming, type Timing } from '../replication/timing.ts';
import type { Runtime } from '../runtime.ts';
import type { Table } from '../table/table.ts';
import { callbacksOf } from './callbacks.ts';

/** What functions on every platform are put together from. */
export interface FunctionParts {
  readonly config: FunctionConfig;
  readonly table: Table;
  readonly dispatch: Dispatch;
  readonly runtime: Runtime;
  readonly log: Log;
  readonly timing?: Partial<Timing>;
}

/** The callback of functions. It knows no secret, asks no store, and loads nothing that could. */
export async function composeCallback(
  parts: FunctionParts,
): Promise<(request: CallbackRequest) => Promise<CallbackResponse>> {
  const { config, table, runtime, log } = parts;
  const timing: Timing = { ...defaultTiming, ...parts.timing };
  const intake = {
    ...parts,
    timing,
    records: replicationRecords(table),
    // Of what is kept of a link, the part that intake needs: the rest would be loaded for nothing.
    linkRecords: { ...hintRecords(table), ...intakeRecords(table), ...verificationKeyRecords(table) },
    notifications: idempotencyRecords(table),
  };
  return createReceiver({ callbacks: await callbacksOf(config, intake), now: () => runtime.now(), log });
}
