import type { FunctionConfig } from '../deployment.ts';
import type { Dispatch } from '../dispatch/dispatch.ts';
import type { Log } from '../log.ts';
import { type CallbackRequest, type CallbackResponse, createReceiver } from '../receiver/receiver.ts';
import { hintRecords } from '../records/hint-records.ts';
import { idempotencyRecords } from '../records/idempotency-records.ts';
import { intakeRecords } from '../records/intake-records.ts';
import { recordRequests } from '../records/record-requests.ts';
import { verificationKeyRecords } from '../records/verification-key-records.ts';
import { defaultTiming, type Timing } from '../replication/timing.ts';
import type { Runtime } from '../runtime.ts';
import type { Table } from '../table/table.ts';
import { callbacksOf, deliveriesOf } from './callbacks.ts';

/** What functions on every platform are put together from. */
export interface FunctionParts {
  readonly config: FunctionConfig;
  readonly table: Table;
  readonly dispatch: Dispatch;
  readonly runtime: Runtime;
  readonly log: Log;
  readonly timing?: Partial<Timing>;
}

/** What takes notifications in. */
function intakeOf(parts: FunctionParts) {
  const { table } = parts;
  return {
    ...parts,
    timing: { ...defaultTiming, ...parts.timing },
    records: recordRequests(table),
    // Of what is kept of a link, the part that intake needs: the rest would be loaded for nothing.
    linkRecords: { ...hintRecords(table), ...intakeRecords(table), ...verificationKeyRecords(table) },
    notifications: idempotencyRecords(table),
  };
}

/** The callback of functions. It knows no secret, asks no store, and loads nothing that could. */
export async function composeCallback(
  parts: FunctionParts,
): Promise<(request: CallbackRequest) => Promise<CallbackResponse>> {
  const { config, runtime, log } = parts;
  return createReceiver({ callbacks: await callbacksOf(config, intakeOf(parts)), now: () => runtime.now(), log });
}

/** What takes messages that the platform brings, and proves. As the callback. */
export const composeDeliveries = (parts: FunctionParts) => deliveriesOf(parts.config, intakeOf(parts));
