import type { Instances } from '../../compose/instances.ts';
import type { ErrorCode } from '../../errors.ts';
import type { KeptInstance } from '../../instance/tenants/registry.ts';
import { silentLog } from '../../log.ts';
import { systemRuntime as runtime } from '../../runtime.ts';
import { openFolder } from '../instance/folder.ts';
import type { Host } from '../output/output.ts';
import { count, duration } from '../output/text.ts';
import { type Finding, failed, good, problem, warning } from './checks.ts';

/** A recovery text that nobody has seen for longer is to be looked for, in milliseconds. */
const provenForMs = 180 * 86_400_000;

/**
 * A snapshot of yesterday is at most so old, counted from the beginning of its day; in
 * milliseconds.
 */
const snapshotLateMs = 2 * 86_400_000;

type WrapState = Awaited<ReturnType<ReturnType<Instances['keyringOf']>['check']>>['dataKeys'][number]['wraps'][number];

const codes = {
  missing: 'keys_unreadable',
  unavailable: 'keys_unavailable',
  refused: 'keys_refused',
  unreadable: 'keys_unreadable',
} as const satisfies Record<Exclude<WrapState['state'], 'opens'>, ErrorCode>;

/**
 * Checks the instances of a folder: the table, every data key under every root key, and whether the
 * recovery text was ever shown.
 */
export async function checkInstances(folder: string, host: Host): Promise<readonly Finding[]> {
  let instances: Instances;
  try {
    instances = await openFolder(folder, host, silentLog);
  } catch (thrown) {
    return [failed(folder, thrown)];
  }
  try {
    const all = await instances.registry.list();
    const findings: Finding[] = [
      all.length > 0
        ? good(folder, `holds ${count(all.length, 'instance')}`)
        : warning(folder, 'holds no instance yet', `certstandby instance create --folder ${folder}`),
    ];
    // What fails for one says nothing of the others.
    const add = async (about: string, check: Promise<readonly Finding[]>) =>
      findings.push(...(await check.catch((thrown: unknown) => [failed(about, thrown)])));
    for (const { crn } of all) await add(crn, checkKeys(crn, instances, folder));
    for (const instance of all) await add(instance.crn, checkSnapshots(instance, instances, folder));
    for (const rootKey of instances.rootKeys()) await add(rootKey, checkRecovery(rootKey, instances, folder));
    return findings;
  } catch (thrown) {
    return [failed(folder, thrown)];
  } finally {
    await instances.close();
  }
}

/**
 * A running server takes one each day: when there is none of yesterday, something is wrong, or no
 * server runs on this folder.
 */
async function checkSnapshots(
  { crn, createdAt, deletedAt }: KeptInstance,
  instances: Instances,
  folder: string,
): Promise<readonly Finding[]> {
  if (deletedAt !== undefined) return [];
  const newest = await instances.newestSnapshot(crn);
  const age = runtime.now() - (newest ?? createdAt);
  if (newest !== undefined && age < snapshotLateMs) return [good(crn, `its newest snapshot is of ${dayOf(newest)}`)];
  if (age < snapshotLateMs) return [];
  const found = newest === undefined ? 'has no snapshot' : `its newest snapshot is of ${dayOf(newest)}`;
  return [
    warning(
      crn,
      `${found}, though a running server takes one each day`,
      `certstandby instance snapshot --folder ${folder}`,
    ),
  ];
}

const dayOf = (moment: number): string => new Date(moment).toISOString().slice(0, 10);

async function checkKeys(crn: string, instances: Instances, folder: string): Promise<readonly Finding[]> {
  const { dataKeys } = await instances.keyringOf(crn).check();
  const bad = dataKeys.flatMap(({ id, wraps }) =>
    wraps.flatMap(({ rootKey, state, found, remedy: own }) => {
      if (state === 'opens') return [];
      const message =
        state === 'missing'
          ? `data key ${id} is not wrapped by ${rootKey}`
          : `data key ${id} does not open under ${rootKey}: ${state}${found === undefined ? '' : ` (${found})`}`;
      const remedy = state === 'missing' ? `certstandby instance rewrap --folder ${folder}` : own;
      return [problem(crn, codes[state], message, remedy)];
    }),
  );
  return bad.length > 0 ? bad : [good(crn, `${count(dataKeys.length, 'data key')}, every one opens`)];
}

/** Only a root key in a file has a recovery text: the others are their service's to keep. */
async function checkRecovery(rootKey: string, instances: Instances, folder: string): Promise<readonly Finding[]> {
  if (!rootKey.startsWith('file:')) return [];
  const provenAt = await instances.recoveryProofs.lastOf(rootKey);
  const line = `Fetch it from where it is kept, and: certstandby instance check --folder ${folder} --recovery -`;
  if (provenAt === undefined) {
    return [
      warning(rootKey, 'nobody has shown its recovery text yet; if the file is lost, everything is lost with it', line),
    ];
  }
  const ago = runtime.now() - provenAt;
  if (ago > provenForMs) return [warning(rootKey, `its recovery text was last shown ${duration(ago)} ago`, line)];
  return [good(rootKey, `its recovery text was right ${duration(ago)} ago`)];
}
