import * as z from 'zod/mini';
import { nonsenseError, parseJson } from '../../http/service-failure.ts';
import type { RightAsked, StoreDiagnosis, StoreRight } from '../../store/store.ts';
import type { VaultClient } from './client.ts';
import { type Capability, failed, ruleFor, type VaultCall } from './failure.ts';
import { type Health, healthOf } from './server.ts';

const capabilitiesSchema = z.object({ data: z.record(z.string(), z.unknown()) });

/** A line of a policy, as it has to be for some rights. */
interface Rule {
  /** As the policy has it. */
  readonly path: string;
  /** One that it is asked for. */
  readonly probe: string;
  readonly capabilities: readonly Capability[];
  /** Without these everything works, with more requests. */
  readonly better: readonly Capability[];
}

/**
 * What a key/value engine can be asked about itself and our rights there. All of it is answered
 * without changing anything: `sys/health` to everybody, `sys/capabilities-self` to any token.
 */
export function vaultDiagnosis(options: {
  readonly client: VaultClient;
  readonly store: string;
  readonly address: string;
  readonly mount: string;
  /** The folder with a slash at its end, or empty. */
  readonly root: string;
  readonly version: (signal: AbortSignal | undefined) => Promise<1 | 2>;
  /** Reads are said to show every write at once. */
  readonly readsAtOnce: boolean;
}): StoreDiagnosis {
  const { client, store, address, mount, root, version, readsAtOnce } = options;

  function rulesFor(rights: readonly StoreRight[], of: 1 | 2): readonly Rule[] {
    const writes = rights.includes('import');
    const reads = writes || rights.includes('read-keys');
    const probe = `${root}certstandby-doctor`;
    if (of === 1) {
      const capabilities: Capability[] = [...(writes ? (['create', 'update', 'delete'] as const) : []), 'read', 'list'];
      return [{ path: `${mount}/${root}*`, probe: `${mount}/${probe}`, capabilities, better: [] }];
    }
    const onData: Capability[] = [
      ...(writes ? (['create', 'update'] as const) : []),
      ...(reads ? (['read'] as const) : []),
    ];
    const onMetadata: Capability[] = [...(writes ? (['create', 'update', 'delete'] as const) : []), 'read', 'list'];
    const rule = (area: string, capabilities: readonly Capability[], better: readonly Capability[]) => ({
      path: `${mount}/${area}/${root}*`,
      probe: `${mount}/${area}/${probe}`,
      capabilities,
      better,
    });
    return [
      ...(onData.length > 0 ? [rule('data', onData, [])] : []),
      rule('metadata', onMetadata, writes ? ['patch'] : []),
      rule('detailed-metadata', [], ['list']),
      ...(writes ? [] : [rule('subkeys', [], ['read'])]),
    ];
  }

  const lineOf = ({ path, capabilities, better }: Rule) => ruleFor(path, [...capabilities, ...better]);
  const policyFor = (rights: readonly StoreRight[], of: 1 | 2) => rulesFor(rights, of).map(lineOf).join(' ');

  async function lacking(rules: readonly Rule[], signal: AbortSignal | undefined) {
    const call: VaultCall = {
      store,
      operation: 'ask for its rights',
      writes: false,
      path: 'sys/capabilities-self',
      capability: 'update',
    };
    const paths = rules.map(({ probe }) => probe);
    const answer = await client.send(call, {
      method: 'POST',
      path: 'sys/capabilities-self',
      body: () => ({ paths }),
      signal,
    });
    const found = z.safeParse(capabilitiesSchema, parseJson(answer.text)).data?.data;
    if (found === undefined) throw nonsenseError(call, answer, 'something that is no list of capabilities');
    return rules.map((rule) => {
      const said = found[rule.probe];
      const has: readonly unknown[] = Array.isArray(said) ? said : [];
      const isMissing = (one: Capability) => !has.includes('root') && !has.includes(one);
      return { rule, missing: rule.capabilities.filter(isMissing), better: rule.better.filter(isMissing) };
    });
  }

  async function answering(signal: AbortSignal | undefined): Promise<Health> {
    const health = await healthOf(client, store, { signal });
    const call: VaultCall = { store, operation: 'reach', writes: false };
    if (!health.isInitialized)
      throw failed(call, 'store_unavailable', 'it is not initialised', { reason: 'not_initialized' });
    if (health.isSealed) throw failed(call, 'store_unavailable', 'it is sealed', { reason: 'sealed' });
    return health;
  }

  return {
    address,

    async clock({ signal } = {}) {
      return (await answering(signal)).time;
    },

    async mayImport({ signal } = {}) {
      const found = await lacking(rulesFor(['import'], await version(signal)), signal);
      return found.every(({ missing }) => missing.length === 0);
    },

    async rights({ primary, backup }, { signal } = {}): Promise<readonly RightAsked[]> {
      const of = await version(signal);
      const { product } = await answering(signal);
      const wanted: readonly StoreRight[] = [
        'list',
        ...(primary ? (['read-keys'] as const) : []),
        ...(backup ? (['import'] as const) : []),
      ];
      const rules = rulesFor(wanted, of).filter(
        ({ path }) => product === 'openbao' || !path.includes('/detailed-metadata/'),
      );
      return (await lacking(rules, signal)).flatMap(({ rule, missing, better }) => {
        const remedy = `Make this the line of its policy: ${lineOf(rule)}`;
        const what = (one: Capability) => `${one} ${rule.path}`;
        return [
          ...rule.capabilities.map((one) => ({ what: what(one), granted: !missing.includes(one), remedy })),
          ...rule.better.map((one) => ({
            what: what(one),
            granted: !better.includes(one),
            remedy,
            isDispensable: true as const,
          })),
        ];
      });
    },

    async remarks({ limit } = {}) {
      const { product, version: of, isStandby } = await answering(limit?.());
      const name = product === 'vault' ? 'Vault' : 'OpenBao';
      const what = `${name} ${of}, ${isStandby ? 'a standby' : 'the active node'} answered`;
      const late = isStandby && readsAtOnce;
      return [
        {
          message: late ? `${what}, whose reads may lag, and readSettles is 0s` : what,
          ...(late && {
            remedy: 'Take readSettles and listingLag off the store, or give the address of the active node.',
          }),
        },
      ];
    },

    rightsRemedy: (_setting, rights) => `Give the policy of its token these lines: ${policyFor(rights, 2)}`,
  };
}
