import type { CertificateContent } from '../certificate/certificate.ts';
import { factsOf } from '../certificate/facts.ts';
import { fingerprintOf } from '../certificate/fingerprint.ts';
import { chainRemarks } from '../certificate/remarks.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { withDeadline } from '../replication/deadline.ts';
import { patiently } from '../replication/patient-read.ts';
import { listAll } from '../replication/shared-listing.ts';
import type { Runtime } from '../runtime.ts';
import { isOfStore, wholeMark } from '../store/mark.ts';
import type { CertificateMetadata, Reading, Store, StoredCertificate, UnreadableElement } from '../store/store.ts';
import { proveByHandshake } from './handshake.ts';
import type { DrilledCopy, DrillReport, NotDrilled } from './report.ts';

/**
 * How long one handshake on this machine may take, one full read, and one page of a listing with
 * all its waits, in milliseconds.
 */
const handshakeMs = 10_000;
const readMs = 120_000;
const listingMs = limits.listingTries * (limits.listingWaitMs + readMs);

export interface DrillOptions {
  /** PEM of the authorities to trust; absent: those that Node brings. */
  readonly trust?: readonly string[];
  /** So many copies of each backup, chosen by chance. Default: all. */
  readonly sample?: number;
  readonly signal?: AbortSignal;
  /** Told after each copy. */
  readonly drilled?: (copy: DrilledCopy) => void;
}

/**
 * Proves that the copies of one link would serve, from the backups alone, as on the day on which
 * there is no primary: each is read in full and served to a client. Changes nothing, keeps no key.
 * Each copy gets a result of its own, whatever is wrong with it or with the store. Throws
 * `interrupted` when the signal says so.
 */
export async function drill(
  runtime: Runtime,
  link: { readonly name: string; readonly primary: Pick<Store, 'id'>; readonly backups: readonly Store[] },
  options: DrillOptions = {},
): Promise<DrillReport> {
  const { trust, signal, drilled } = options;
  const startedAt = runtime.now();
  const copies: DrilledCopy[] = [];
  const notDrilled: NotDrilled[] = [];
  let kept = 0;
  for (const store of link.backups) {
    if (!store.abilities.givesKeys) {
      const message = 'it gives no private key back, so nothing of it can be served from here';
      notDrilled.push({ store: store.id, code: 'gives-no-keys', message });
      continue;
    }
    const { found, unreadable, error } = await listed({ runtime, signal }, store, link.primary.id);
    kept += found.length + unreadable.length;
    // A copy that cannot be read would serve nobody, whatever the sample.
    for (const copy of unreadable) {
      copies.push(copy);
      drilled?.(copy);
    }
    for (const metadata of chosen(found, options.sample, runtime)) {
      if (signal?.aborted) break;
      const copy = await drillCopy({ runtime, signal }, store, metadata, trust);
      if (signal?.aborted) break;
      copies.push(copy);
      drilled?.(copy);
    }
    if (signal?.aborted) throw new CodedError('interrupted', `the drill of ${link.name} was stopped`);
    if (error !== undefined) notDrilled.push({ store: store.id, code: error.code, message: error.message });
  }
  return {
    format: 1,
    link: link.name,
    primary: link.primary.id,
    startedAt: new Date(startedAt).toISOString(),
    completedAt: new Date(runtime.now()).toISOString(),
    trust: trust === undefined ? 'platform' : 'given',
    kept,
    served: copies.filter(({ served }) => served).length,
    failed: copies.filter(({ served }) => !served).length,
    copies,
    notDrilled,
  };
}

/**
 * Some of them by chance, in their order (selection sampling: each with what is still wanted of
 * what is left).
 */
function chosen<T>(all: readonly T[], wanted = all.length, { random }: Pick<Runtime, 'random'>): readonly T[] {
  let left = all.length;
  let want = Math.min(wanted, all.length);
  return all.filter(() => {
    const taken = random() * left < want;
    left -= 1;
    if (taken) want -= 1;
    return taken;
  });
}

interface Run {
  readonly runtime: Runtime;
  readonly signal: AbortSignal | undefined;
}

/**
 * The copies of this primary that a backup lists, and those that cannot be read: where the listing
 * fails, those that it gave before, and why.
 */
async function listed(
  run: Run,
  store: Store,
  primary: string,
): Promise<{
  readonly found: readonly CertificateMetadata[];
  readonly unreadable: readonly DrilledCopy[];
  readonly error?: CodedError;
}> {
  const found: CertificateMetadata[] = [];
  const unreadable: DrilledCopy[] = [];
  const note = ({ id, name, place, mark, ours, error }: UnreadableElement) => {
    if (mark === undefined ? !ours : !isOfStore(mark, primary)) return;
    const certificate = wholeMark(mark)?.certificate ?? '';
    const about = { store: store.id, copy: id ?? place, name: name ?? place, certificate };
    unreadable.push({ ...about, served: false, failure: 'unreadable', message: error.message });
  };
  const listing = listAll(store, { ...run, unreadable: note });
  try {
    for (;;) {
      const next = await inTime(run, listingMs, `the listing of ${store.id} does not answer`, () => listing.next());
      if (next.done) return { found, unreadable };
      const { mark } = next.value;
      if (mark !== undefined && isOfStore(mark, primary)) found.push(next.value);
    }
  } catch (thrown) {
    return { found, unreadable, error: asCodedError(thrown) };
  }
}

/** One copy, whatever is wrong with it: nothing of it keeps the next one from being drilled. */
async function drillCopy(
  run: Run,
  store: Store,
  { id, name, mark }: CertificateMetadata,
  trust: readonly string[] | undefined,
): Promise<DrilledCopy> {
  const about = { store: store.id, copy: id, name, certificate: wholeMark(mark)?.certificate ?? '' };
  const failed = (failure: string, message: string) => ({ ...about, served: false, failure, message });
  let facts = {};
  let content: CertificateContent | undefined;
  try {
    const reading = await read(run, store, id);
    if (reading.state === 'absent') return failed('missing', 'it was listed, and is not there');
    if (reading.state === 'unreadable') return failed('unreadable', reading.error.message);
    if (reading.state === 'vacant') return failed('vacant', 'its place is there, and holds no content');
    content = reading.value.content;
    if (reading.value.keyWithheld === true)
      return failed('key-withheld', 'its service does not give its private key back');
    const { domains, notAfter } = factsOf(content);
    const remarks = chainRemarks(content, run.runtime.now()).map(({ message }) => message);
    facts = {
      domains: [...domains],
      notAfter: new Date(notAfter).toISOString(),
      fingerprint: fingerprintOf(content),
      ...(remarks.length > 0 && { remarks }),
    };
    return { ...about, ...facts, ...(await proveByHandshake(content, { trust, timeoutMs: handshakeMs })) };
  } catch (thrown) {
    return { ...failed('unreadable', asCodedError(thrown).message), ...facts };
  } finally {
    content?.privateKey?.pem.wipe();
  }
}

/** A full read, which waits for what the store says is over soon. */
function read(run: Run, store: Store, id: string): Promise<Reading<StoredCertificate>> {
  return patiently(run, () =>
    inTime(run, readMs, `${store.id} does not answer`, (soon) => store.read(id, { signal: soon })),
  );
}

/**
 * What the work answers. Throws `store_unavailable` after so many milliseconds, and `interrupted`
 * when the signal says so.
 */
async function inTime<T>(
  { runtime, signal }: Run,
  mostMs: number,
  words: string,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const late = (): never => {
    throw new CodedError('store_unavailable', `${words}: given up after ${mostMs / 1000} seconds`);
  };
  const over = new AbortController();
  const stopped = new Promise<never>((_, reject) => {
    const stop = () => reject(new CodedError('interrupted', 'it was stopped'));
    if (signal?.aborted) stop();
    signal?.addEventListener('abort', stop, { once: true, signal: over.signal });
  });
  const raced = (deadline: AbortSignal) => {
    const either = signal === undefined ? deadline : AbortSignal.any([deadline, signal]);
    return Promise.race([work(either), stopped]);
  };
  return withDeadline(runtime, runtime.now() + mostMs, raced, late).finally(() => over.abort('ended'));
}
