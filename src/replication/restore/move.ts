import type { CertificateContent } from '../../certificate/certificate.ts';
import { isSelfSigned } from '../../certificate/chain.ts';
import { metadataDigestOf } from '../../certificate/fingerprint.ts';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import { type Mark, markDigest, sameMark } from '../../store/mark.ts';
import {
  type CertificateMetadata,
  type DescriptiveMetadata,
  keyAnswerOf,
  type Reading,
  type Store,
  type StoredCertificate,
  type VacantElement,
} from '../../store/store.ts';
import { keysRead } from '../keys-read.ts';
import type { Link } from '../link.ts';
import { withoutRetained } from '../pass/retire.ts';
import { readInTime } from '../read-in-time.ts';
import type { ReconcileLock } from '../reconcile/lock.ts';
import { settledMs } from '../timing.ts';
import { unkeptId } from '../unkept-id.ts';
import { vacancyError } from '../vacancy.ts';
import type { Worker } from '../worker.ts';
import { longestWriteMs, writtenToEnd } from '../write-to-end.ts';
import { describedAs, type Listed, type RestoreLine, type RestoreOptions, type Survey } from './survey.ts';

/** What came of the certificates that were to be moved. */
export interface Moved {
  readonly moved: readonly { readonly name: string; readonly origin: Mark; readonly id: string }[];
  readonly failed: readonly { readonly name: string; readonly origin: Mark; readonly error: CodedError }[];
}

const atOnce = 16;

/** One after the other, whatever the certificate: then it is the store that takes no more. */
const failuresInARow = 20;

/**
 * Moves what is to be moved, several at a time. One that fails is told of in the result, and keeps
 * no other from its turn; where the link has another holder, the table does not answer, or one
 * after the other fails, it throws what ended it.
 */
export async function moveAll(
  restorer: Worker,
  link: Link,
  survey: Survey,
  options: RestoreOptions & { readonly lock: ReconcileLock },
): Promise<Moved> {
  const { signal, lock } = options;
  const moved: { name: string; origin: Mark; id: string }[] = [];
  const failed: { name: string; origin: Mark; error: CodedError }[] = [];
  const waiting = survey.lines.filter(({ action }) => action !== 'held').values();
  let inARow = 0;
  let ended: unknown;
  const lane = async () => {
    for (const line of waiting) {
      if (ended !== undefined || signal?.aborted === true) return;
      const { name, origin } = line;
      try {
        const id = await moveOne(restorer, link, survey, { line, options: { ...options, done: () => moved.length } });
        inARow = 0;
        moved.push({ name, origin, id });
        options.moved?.(line, id);
        await lock.keep('restoring', moved.length);
      } catch (thrown) {
        const error = asCodedError(thrown);
        if (signal?.reason !== undefined) return;
        // Somebody else has the link now.
        if (error.code === 'reconcile_running' || error.code.startsWith('table_')) ended ??= thrown;
        failed.push({ name, origin, error });
        inARow += 1;
        if (inARow >= failuresInARow) ended ??= thrown;
      }
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  signal?.throwIfAborted();
  if (ended !== undefined) {
    const { code, message, fields } = asCodedError(ended);
    throw new CodedError(code, `${message}; ${moved.length} of ${survey.lines.length} certificates were moved before`, {
      cause: ended,
      fields,
    });
  }
  return { moved, failed };
}

async function moveOne(
  restorer: Worker,
  link: Link,
  { copies, sources, held }: Survey,
  { line, options }: { readonly line: RestoreLine; readonly options: Moving },
): Promise<string> {
  const { primary } = link;
  const { from, signal } = options;
  const { origin } = line;
  const call = { ...(signal && { signal }) };
  const polite = <T>(send: () => Promise<T>) => whenAllowed(restorer, signal, send);
  const keep = () => options.lock.keep('restoring', options.done());
  const waiter = { runtime: restorer.runtime, store: primary, signal, goesOn: options.goesOn, keep };
  const listed = sources.get(markDigest(origin)) as Listed;
  const metadata = describedAs(listed, from);
  /**
   * What no record can be kept of keeps the mark with which it was imported: no pass takes it for
   * an original.
   */
  const refuseUnkept = (id: string) => {
    const isKept =
      restorer.records.canHold(link.name, id) &&
      restorer.linkRecords.canKeepHome(link.name, { store: primary.id, certificate: id });
    if (!isKept) throw unkeptId(primary.id, id);
  };
  if (line.target !== undefined) refuseUnkept(line.target);

  const id = await (async () => {
    if (line.action === 'present' || line.action === 'finish') return line.target as string;
    const keys = keysRead();
    try {
      const reading = keys.keep(
        await polite(() => readOrLimited(restorer, from, { id: line.source, signal: call.signal })),
      );
      if (reading.state === 'absent')
        throw new CodedError('store_gone', `${line.name} was listed in ${from.id}, and is not there`);
      if (reading.state === 'unreadable') throw reading.error;
      if (reading.state === 'vacant') throw vacancyError(from.id, line.source, reading);
      refuseWithoutKey(line.name, from, reading.value, options.kind);
      const { content } = reading.value;
      if (line.action === 'replace' && line.target !== undefined) {
        const target = line.target;
        await refuseStandIn(
          link,
          content,
          () => readOrLimited(restorer, primary, { id: target, signal: call.signal }),
          target,
        );
        const answer = await polite(() => primary.reimport(target, content, call));
        return writtenToEnd(waiter, { kind: 'reimport', mark: origin, content }, answer);
      }
      return await importOnce(
        restorer,
        primary,
        async (into = line.into) => {
          // Where readers look for the name, they look for it in the new primary too.
          const exactName = link.naming === 'exact' && into === undefined;
          const entry = { content, metadata, mark: origin, ...defined({ into }), ...(exactName && { exactName }) };
          const answer = await polite(() => primary.import(entry, call));
          return { id: await writtenToEnd(waiter, { kind: 'import', mark: origin, content }, answer) };
        },
        origin,
      );
    } finally {
      keys.wipe();
    }
  })();

  refuseUnkept(id);
  await restorer.linkRecords.saveHome(link.name, { store: primary.id, certificate: id }, origin, metadata.name);
  const mark: Mark = { store: primary.id, certificate: id };
  const standIn = link.backups.find((store) => store.id === from.id && origin.store === from.id);
  const those = [
    ...(copies.get(markDigest(origin)) ?? []),
    ...(standIn === undefined ? [] : [{ store: standIn, copy: listed }]),
  ];
  for (const { store, copy } of those) {
    if (!link.backups.includes(store) || sameMark(origin, mark)) continue;
    const { name, description, tags } = copy;
    await polite(() =>
      store.updateMetadata(copy.id, { name, description: withoutRetained(description), tags }, mark, call),
    );
  }
  // A primary that was built anew under its old name: what its records say of the old id is no
  // longer true.
  if (origin.store === primary.id) await restorer.records.forget(link.name, origin.certificate);
  if (line.action !== 'present' || saysOther(primary, metadata, held.get(id)))
    await polite(() => primary.updateMetadata(id, metadata, undefined, call));
  return id;
}

/**
 * A self-signed certificate takes no place of one that an authority issued unless the policy of the
 * link says so: `certificate_self_signed`. What cannot be read is taken for one of an authority.
 */
async function refuseStandIn(
  { primary, policy }: Link,
  { leaf }: CertificateContent,
  readTarget: () => Promise<Reading<StoredCertificate>>,
  target: string,
): Promise<void> {
  if (policy.standIns === true || !isSelfSigned(leaf)) return;
  const reading = await readTarget();
  if (reading.state === 'absent' || reading.state === 'vacant') return;
  const keys = keysRead();
  try {
    const there = keys.keep(reading);
    if (there.state === 'present' && isSelfSigned(there.value.content.leaf)) return;
    const what = there.state === 'present' ? 'that an authority issued' : 'that cannot be read now';
    throw new CodedError(
      'certificate_self_signed',
      `it is self-signed, and ${primary.id} holds one ${what} as ${target}, which stays`,
      { fields: { store: primary.id, certificate: target } },
    );
  } finally {
    keys.wipe();
  }
}

type Moving = RestoreOptions & { readonly lock: ReconcileLock; readonly done: () => number };

/**
 * A copy was given with its key: without, it is damaged, or its service keeps the key to itself. A
 * primary that stood in may hold some without.
 */
function refuseWithoutKey(name: string, from: Store, stored: StoredCertificate, kind: RestoreOptions['kind']): void {
  const key = keyAnswerOf(stored);
  if (key === 'given' || (key === 'none' && kind === 'failback')) return;
  const fields = { store: from.id, copy: stored.metadata.id };
  throw key === 'withheld'
    ? new CodedError('certificate_key_withheld', `${from.id} does not give the private key of ${name} back`, { fields })
    : new CodedError('certificate_key_missing', `the copy of ${name} in ${from.id} has no private key`, { fields });
}

/**
 * Whether a store has other words for a certificate than it is to have. It is not written to for
 * nothing: it may be somebody else's folder.
 */
function saysOther(store: Store, wanted: DescriptiveMetadata, found: CertificateMetadata | undefined): boolean {
  return found === undefined || metadataDigestOf(store.asKept(wanted, undefined)) !== metadataDigestOf(found);
}

/** An import that nobody heard the end of is looked for by its mark before it counts as failed. */
async function importOnce(
  { runtime, timing, listings }: Worker,
  primary: Store,
  send: (into?: string) => Promise<{ readonly id: string }>,
  mark: Mark,
): Promise<string> {
  try {
    return (await send()).id;
  } catch (thrown) {
    const error = asCodedError(thrown);
    // Of one that goes on, all was waited for that there is.
    if (error.entry.applied !== 'unknown' || error.code === 'store_operation_unfinished') throw thrown;
    await runtime.wait(settledMs(primary, timing) + longestWriteMs(primary, 'import'));
    const places: VacantElement[] = [];
    const tell = { vacant: (place: VacantElement) => void places.push(place) };
    const patience = { patienceMs: Number.POSITIVE_INFINITY };
    const found =
      (await primary.findByMark?.(mark, tell)) ??
      (await listings.marked(primary, mark, { ...patience, ...tell })).copies;
    const [only] = found;
    if (only !== undefined) return only.id;
    // Its creation was begun, and the content did not come.
    const [place] = places;
    if (place === undefined) throw thrown;
    return (await send(place.id)).id;
  }
}

/** A reading, where a limit throws as it does for writes. */
async function readOrLimited(
  { runtime }: Worker,
  store: Store,
  { id, signal }: { readonly id: string; readonly signal: AbortSignal | undefined },
) {
  const reading = await readInTime(runtime, store, id, signal);
  if (reading.state === 'unreadable' && reading.error.code === 'store_limited') throw reading.error;
  return reading;
}

/**
 * Sends, and sends again when the store allows: a limit is no failure, and nothing waits behind
 * this but the rest of the restore.
 */
async function whenAllowed<T>(
  { runtime }: Worker,
  signal: AbortSignal | undefined,
  send: () => Promise<T>,
): Promise<T> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await send();
    } catch (thrown) {
      const { code, retryAfterMs } = asCodedError(thrown);
      if (code !== 'store_limited' || tries >= limits.restoreTries) throw thrown;
      // Not all at the same moment again.
      await runtime.wait(Math.min(retryAfterMs ?? 1_000, limits.listingWaitMs) + runtime.random() * 200, signal);
    }
  }
}
