import type { Log } from '../../log.ts';
import type { Runtime } from '../../runtime.ts';
import type { Secret } from '../../secret.ts';
import type { Table } from '../../table/table.ts';
import { listCertificates } from '../certificates/certificate-listing.ts';
import type { CertificateRow } from '../certificates/certificate-row.ts';
import type { CertificateRows } from '../certificates/certificate-rows.ts';
import type { Deliveries } from '../notifications/delivery.ts';
import type { Sealer } from '../rows/sealed-places.ts';
import type { Instance } from '../tenants/instance.ts';
import type { Authority } from './authority/authority.ts';
import type { DevelopmentCa } from './authority/development-ca.ts';
import { type AutomaticRenewal, automaticRenewal } from './automatic-renewal.ts';
import { challengeLookup } from './challenge-lookup.ts';
import { type DnsHookOptions, dnsHook } from './dns-hook.ts';
import { defaultOrderPolicy, type OrderPolicy } from './order-policy.ts';
import { orderRows } from './order-rows.ts';
import { type OrderWork, orderWork } from './order-work.ts';
import { type Orders, orders } from './orders.ts';

/** Who issues what is ordered, and how domains are proven. */
export interface OrderingOptions {
  /** Absent: a certificate authority of this process, that nobody trusts. */
  readonly acme?:
    | {
        /** Address of its directory. Using it means agreeing to its terms of service. */
        readonly directory: string;
        /** `mailto:` addresses that it may write to. */
        readonly contact?: readonly string[] | undefined;
        /**
         * PEM of the authorities that the directory's own certificate is checked against, instead
         * of those of the platform.
         */
        readonly trust?: string | undefined;
        /**
         * Binds the account to one that there is with the authority already: the id of a key, and
         * the key as base64url.
         */
        readonly eab?: { readonly keyId: string; readonly key: Secret } | undefined;
        /** How long one request may take. Default 30 seconds. */
        readonly requestMs?: number | undefined;
      }
    | undefined;
  /**
   * The one that issues where there is no ACME directory. Default: a new one, made at the first
   * order.
   */
  readonly developmentCa?: (() => Promise<DevelopmentCa>) | undefined;
  /**
   * Publishes the records of challenges. Absent: the receiver of `cert_domain_validation_required`
   * does.
   */
  readonly dnsHook?: DnsHookOptions | undefined;
  /**
   * The DNS server that is asked whether a record is published. Absent: the name servers of its
   * zone.
   */
  readonly dnsServer?: string | undefined;
  readonly policy?: Partial<OrderPolicy> | undefined;
}

interface OrderingContext {
  readonly instance: Pick<Instance, 'crn' | 'limits' | 'rates'>;
  readonly rows: CertificateRows;
  readonly table: Table;
  readonly sealer: Sealer;
  readonly runtime: Runtime;
}

/** Orders and renewals of an instance, and the work on them. */
export interface Ordering {
  readonly orders: Orders;
  readonly work: OrderWork;
  readonly renewal: AutomaticRenewal;
}

/** Orders and renewals of one instance, carried out here. */
export function ordering(
  context: OrderingContext & { readonly deliveries: Deliveries; readonly log: Log; readonly options: OrderingOptions },
): Ordering {
  const { instance, rows, table, sealer, runtime, log, deliveries, options } = context;
  const shared = { table, sealer, runtime, instanceCrn: instance.crn };
  const ordersKept = orderRows(shared);
  const hook = options.dnsHook && dnsHook(options.dnsHook, log);
  const asked: Orders = orders({
    ...{ instance, rows, orderRows: ordersKept, table, runtime, hasHook: hook !== undefined },
    work: (order) => work.start(order),
  });
  const work = orderWork({
    ...{ instanceCrn: instance.crn, rows, orderRows: ordersKept, deliveries, hook, runtime, log },
    lookup: challengeLookup({ server: options.dnsServer }),
    authority: () => openAuthority(shared, options),
    release: asked.release,
    policy: { ...defaultOrderPolicy, ...options.policy },
  });
  const renewal = automaticRenewal({ instanceCrn: instance.crn, rows, orders: asked, now: runtime.now, log });
  return { orders: asked, work, renewal };
}

/** Orders as somebody asks for them who does not carry them out. */
export interface OrderingElsewhere extends Orders {
  /** A certificate as it is now. */
  readonly get: (id: string) => Promise<CertificateRow | undefined>;
  /** Whether somebody works on the order of a certificate. */
  isTakenUp(id: string): Promise<boolean>;
  /** How many attempts in a row of its order have failed; 0 where it is not under way. */
  failuresOf(id: string): Promise<number>;
  /**
   * The certificates that count, in the order of their expiry; those that are not issued yet come
   * last.
   */
  list(matches: (row: CertificateRow) => boolean): Promise<readonly CertificateRow[]>;
}

/**
 * Orders and renewals of one instance as a command asks for them: a server of the same table
 * carries them out.
 */
export function orderingElsewhere(context: OrderingContext): OrderingElsewhere {
  const { instance, rows, table, sealer, runtime } = context;
  const ordersKept = orderRows({ table, sealer, runtime, instanceCrn: instance.crn });
  return {
    ...orders({ instance, rows, orderRows: ordersKept, table, runtime, hasHook: false }),
    get: rows.get,
    async isTakenUp(id: string): Promise<boolean> {
      const order = await ordersKept.get(id);
      return order === undefined || order.wakeAt > runtime.now();
    },
    async failuresOf(id: string): Promise<number> {
      const order = await ordersKept.get(id);
      if (order === undefined) return 0;
      const { failures, privateKey } = await ordersKept.progress(order);
      privateKey?.wipe();
      return failures;
    },
    async list(matches: (row: CertificateRow) => boolean): Promise<readonly CertificateRow[]> {
      const found: CertificateRow[] = [];
      let from: { readonly id: string; readonly expiresOn: number } | undefined;
      do {
        const page = await listCertificates(rows, { from, skip: 0, size: 200, matches });
        found.push(...page.certificates);
        from = page.next;
      } while (from !== undefined);
      return found;
    },
  };
}

/**
 * Loaded only when something is ordered: what speaks ACME and what makes certificates are slow to
 * load, and most servers never do.
 */
async function openAuthority(
  shared: { readonly table: Table; readonly sealer: Sealer; readonly runtime: Runtime; readonly instanceCrn: string },
  { acme, developmentCa }: OrderingOptions,
): Promise<Authority> {
  const { now } = shared.runtime;
  if (acme !== undefined) {
    const [{ acmeAuthority }, { keptAccountKey }] = await Promise.all([
      import('./authority/acme.ts'),
      import('./authority/acme-account.ts'),
    ]);
    const { contact = [], ...given } = acme;
    return acmeAuthority({ ...given, contact, accountKey: () => keptAccountKey(shared, acme.directory), now });
  }
  const [{ developmentAuthority }, { createDevelopmentCa }] = await Promise.all([
    import('./authority/development-authority.ts'),
    import('./authority/development-ca.ts'),
  ]);
  let made: Promise<DevelopmentCa> | undefined;
  return developmentAuthority(async () => {
    made ??= developmentCa?.() ?? createDevelopmentCa({ name: 'Nobody trusts this: certstandby development', now });
    return made;
  });
}
