import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import type { Wake } from '../../src/dispatch/dispatch.ts';
import { replicate } from '../../src/replication/pass/replicate.ts';
import { type PlanLine, planReconcile } from '../../src/replication/reconcile/plan.ts';
import { type ReconcileOptions, type ReconcileReport, reconcile } from '../../src/replication/reconcile/reconcile.ts';
import { type VerifyFinding, type VerifyReport, verify } from '../../src/replication/verify.ts';
import { wholeMark } from '../../src/store/mark.ts';
import { described, markOf, type Setup } from './replication.ts';

/** Puts certificates into the primary of a world: `c1`, `c2`, … named `name 1`, `name 2`, … */
export function fill(world: Setup, contents: readonly CertificateContent[]): readonly string[] {
  return contents.map((content, index) =>
    world.primary.store.put({ content, metadata: described(`name ${index + 1}`) }, `c${index + 1}`),
  );
}

export interface Reconciled extends ReconcileReport {
  readonly woken: readonly string[];
}

/** Reconciles, and works off whatever was asked for until all rests. */
export async function reconcileAll(world: Setup, options: ReconcileOptions = {}): Promise<Reconciled> {
  const woken: string[] = [];
  const dispatch = {
    dispatch: async (wakes: readonly Wake[]) => void woken.push(...wakes.map(({ certificate }) => certificate)),
  };
  const report = await reconcile({ ...world.worker, dispatch }, world.link, options);
  await workOffAll(world);
  return { ...report, woken };
}

/** Makes passes over what is due, and lets time run to what is due later, until nothing is. */
export async function workOffAll(world: Setup): Promise<void> {
  for (let rounds = 0; rounds < 100; rounds += 1) {
    const due = await world.records.due('main', Number.MAX_SAFE_INTEGER, 1_000);
    if (due.length === 0) return;
    const now = await world.records.due('main', world.time.now(), 1_000);
    for (const certificate of now) await replicate(world.worker, world.link, certificate);
    if (now.length > 0) continue;
    const { wakeAt = 0 } = await world.record(due[0] ?? '');
    await world.later(Math.max(0, wakeAt - world.time.now()));
  }
  throw new Error('it does not come to rest');
}

/** The plan of a world: its digest, and its lines by certificate. */
export async function planned(world: Setup, options: { readonly full?: boolean } = {}) {
  const lines = new Map<string, PlanLine>();
  const plan = await planReconcile(world.worker, world.link, {
    ...options,
    line: (line) => lines.set(line.certificate, line),
  });
  return { ...plan, lines };
}

/** What verify says: its report, and each finding that is not `same`. */
export async function verified(world: Setup): Promise<VerifyReport & { readonly findings: readonly VerifyFinding[] }> {
  const findings: VerifyFinding[] = [];
  const report = await verify(world.worker, world.link, {
    finding: (finding) => finding.state !== 'same' && findings.push(finding),
  });
  return { ...report, findings };
}

/** The id of the copy of a certificate, by its mark. */
export async function copyOf(world: Setup, certificate: string): Promise<string> {
  const { certificates } = await world.backup.store.list({});
  const copy = certificates.find(({ mark }) => wholeMark(mark)?.certificate === certificate);
  if (copy === undefined) throw new Error(`there is no copy of ${certificate}`);
  return copy.id;
}

/**
 * Ten kinds of damage that somebody does to copies behind our back, by what it is called, to `c1`,
 * `c2`, … in this order.
 */
export async function damageTenCopies(
  world: Setup,
  with_: {
    /**
     * An older version of each certificate; what expired, and a stranger, are of no certificate in
     * particular.
     */
    readonly older: CertificateContent;
    readonly otherKey: CertificateContent;
    readonly expired: CertificateContent;
    readonly stranger: CertificateContent;
  },
): Promise<void> {
  const { store } = world.backup;
  const copies = new Map<number, string>();
  for (let number = 1; number <= 10; number += 1) copies.set(number, await copyOf(world, `c${number}`));
  const copy = (number: number) => copies.get(number) ?? '';
  const held = async (number: number) => {
    const reading = await store.read(copy(number));
    if (reading.state !== 'present') throw new Error(`no copy ${number}`);
    return reading.value;
  };
  const replace = async (number: number, change: Partial<CertificateContent>) => {
    const { content, metadata } = await held(number);
    store.put({ content: { ...content, ...change }, metadata, mark: markOf(`c${number}`) }, copy(number));
  };
  await store.delete(copy(1));
  await replace(2, with_.older);
  await replace(3, with_.otherKey.privateKey ? { privateKey: with_.otherKey.privateKey } : {});
  await replace(4, { chain: [] });
  await store.updateMetadata(copy(5), described('renamed by hand'), markOf('c5'));
  await store.updateMetadata(copy(6), described('name 6'), undefined);
  const doubled = await held(7);
  store.put({ content: doubled.content, metadata: doubled.metadata, mark: markOf('c7') }, 'doubled');
  await replace(8, with_.expired);
  store.corrupt(copy(9));
  store.put({ content: with_.stranger, metadata: described('not ours') }, 'foreign');
}

/** Writes down what is sent to the backup from now on, in the words of a plan. */
export function watchBackup(world: Setup): readonly string[] {
  const sent: string[] = [];
  const { hooks } = world.backup;
  hooks.import = (proceed, entry) => {
    sent.push(`import ${entry.metadata.name} ${fingerprintOf(entry.content)}`);
    return proceed(entry);
  };
  hooks.reimport = (proceed, id, content) => {
    sent.push(`reimport ${id} ${fingerprintOf(content)}`);
    return proceed(id, content);
  };
  hooks.updateMetadata = (proceed, id, metadata, mark) => {
    sent.push(`describe ${id} ${metadata.name}`);
    return proceed(id, metadata, mark);
  };
  hooks.delete = (proceed, id) => {
    sent.push(`remove ${id}`);
    return proceed(id);
  };
  return sent;
}

/** The writes of a plan, in the same words. */
export function writesOf(lines: Iterable<PlanLine>): string[] {
  return [...lines].flatMap(({ backups }) =>
    backups.flatMap(({ writes }) =>
      writes.map((step) => {
        if (step.write === 'import') return `import ${step.name} ${step.fingerprint}`;
        if (step.write === 'reimport') return `reimport ${step.copy} ${step.fingerprint}`;
        return step.write === 'describe' ? `describe ${step.copy} ${step.name}` : `remove ${step.copy}`;
      }),
    ),
  );
}
