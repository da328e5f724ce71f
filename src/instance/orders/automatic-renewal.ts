import { asCodedError } from '../../errors.ts';
import { errorFields, type Log } from '../../log.ts';
import { certificatesExpiring } from '../certificates/certificate-listing.ts';
import type { CertificateRows } from '../certificates/certificate-rows.ts';
import type { Orders } from './orders.ts';
import { renewBeforeMs } from './renewal-due.ts';

export interface AutomaticRenewal {
  /** Begins what is due now. Answers how many. One that cannot be begun holds up no other. */
  run(): Promise<number>;
}

/**
 * Begins the renewals of one instance that are due by themselves: certificates that were ordered
 * here with automatic renewal, from 31 days before they expire, or when a third of their lifetime
 * is left, whichever is less. One that failed waits its time; of several processes that look at
 * once, one begins each.
 */
export function automaticRenewal(context: {
  readonly instanceCrn: string;
  readonly rows: CertificateRows;
  readonly orders: Pick<Orders, 'renewByItself'>;
  readonly now: () => number;
  readonly log: Log;
}): AutomaticRenewal {
  const { instanceCrn, rows, orders, now, log } = context;
  return {
    async run(): Promise<number> {
      let started = 0;
      for await (const row of certificatesExpiring(rows, { from: 0, before: now() + renewBeforeMs + 1 })) {
        try {
          if (await orders.renewByItself(row)) started += 1;
        } catch (thrown) {
          const facts = { instance: instanceCrn, certificate: row.id };
          log('error', 'instance_renewal_not_begun', { ...facts, ...errorFields(asCodedError(thrown)) });
        }
      }
      return started;
    },
  };
}
