import type { ReconcileReport } from '../../replication/reconcile/reconcile.ts';
import type { Output } from './output.ts';
import { clean, count } from './text.ts';

/** Elements that are printed; JSON has more. */
const shown = 10;

/** Names what the primary holds that is no certificate, so that nobody takes it for copied. */
export function printPassedOver(output: Output, { count: number, first }: ReconcileReport['passedOver']): void {
  if (number === 0) return;
  output.line(`  passed over in the primary, as no certificates: ${count(number, 'element')}`);
  for (const { place, reason } of first.slice(0, shown)) output.line(`    ${clean(place)}: ${clean(reason)}`);
  if (number > shown) output.line(`    … and ${number - shown} more`);
}
