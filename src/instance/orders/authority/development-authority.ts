import { randomUUID } from 'node:crypto';
import type { Secret } from '../../../secret.ts';
import type { Authority } from './authority.ts';
import type { DevelopmentCa } from './development-ca.ts';

/** The id of an authority that nobody trusts. */
export const developmentAuthorityId = 'development';

/** Orders that are kept until somebody has fetched their certificate. */
const most = 1_000;

/**
 * A certificate authority for trying things out: it asks for no proof, and nobody trusts it. Orders
 * are known to this process only; to another one they are gone, and begun anew.
 */
export function developmentAuthority(ca: () => Promise<DevelopmentCa>): Authority {
  const orders = new Map<string, string | undefined>();
  return {
    id: developmentAuthorityId,
    async begin() {
      const order = randomUUID();
      orders.set(order, undefined);
      for (const oldest of orders.keys()) {
        if (orders.size <= most) break;
        orders.delete(oldest);
      }
      return order;
    },
    async look(order) {
      if (!orders.has(order)) return { state: 'gone' };
      return { state: orders.get(order) === undefined ? 'ready' : 'issued' };
    },
    answer: async () => undefined,
    async finalize(order: string, domains: readonly string[], privateKey: Secret) {
      const issued = await (await ca()).issue({ domains, privateKey });
      issued.privateKey.wipe();
      orders.set(order, `${issued.certificate}${issued.intermediate ?? ''}`);
    },
    download: async (order) => orders.get(order) ?? '',
  };
}
