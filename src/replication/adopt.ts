import { factsOf } from '../certificate/facts.ts';
import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import { visible } from '../foreign-text.ts';
import type { LeaseHolderFields } from '../records/replication-records.ts';
import { formatMark, type Mark } from '../store/mark.ts';
import type { Reading, Store, StoredCertificate } from '../store/store.ts';
import { type KeysRead, keysRead } from './keys-read.ts';
import type { Link } from './link.ts';
import { copiesIn, type ListedCopies, listCopies } from './listed-copies.ts';
import { judge, type Sound } from './pass/judge.ts';
import { backupStates } from './pass/look.ts';
import { listAll } from './shared-listing.ts';
import { unkeptId } from './unkept-id.ts';
import { vacancyWords } from './vacancy.ts';
import { compareCopy, holdsSame } from './verify-copy.ts';
import type { Worker } from './worker.ts';

export interface Adoption {
  readonly certificate: string;
  readonly name: string;
  /** What the next pass will do to the copy beside leaving our mark on it; empty if it is equal. */
  readonly differs: string;
}

/** Which copy, and of what. */
interface AdoptionRequest {
  readonly store: Store;
  readonly copy: string;
  /** Absent: found by its leaf. */
  readonly of?: string | undefined;
  /** Absent: both sides are listed. */
  readonly known?: KnownSides;
}

/**
 * Takes a copy that a person made under management: from now on it is the copy of its certificate,
 * and passes keep it equal and leave our mark on it. Its original is the one given, else the one
 * certificate of the primary that has the same leaf.
 *
 * Throws `adopt_refused`, with nothing changed, if the copy is not there, carries a mark already,
 * has no original or several, if that would not serve, if the backup holds a copy of it already,
 * and if the copy's content differs unless `replace` is set; `store_name_unreadable` if no record
 * can be kept of the original's id.
 */
export async function adopt(
  worker: Worker,
  link: Link,
  request: AdoptionRequest & { readonly replace: boolean },
): Promise<Adoption> {
  const { store, copy, replace } = request;
  const proven = await proveAdoption(worker, link, request);
  const { certificate, name, differs } = proven;
  if (!proven.isSame && !replace)
    throw refused(`${copy} differs from ${name}: ${differs}. To have it written over, add --replace`);
  await record(worker, link, { store, copy, certificate });
  return { certificate, name, differs };
}

/** What is known of both sides already, where many copies are proven one after another. */
export interface KnownSides {
  /** Ids of the certificates of the primary that may have this serial number. */
  candidates(serial: string): readonly string[];
  /** The copies with our mark, as the backup lists them. */
  readonly copies: ListedCopies;
}

/**
 * Whether a copy that somebody else made can be taken under management: as which certificate's, and
 * whether it holds the same content (`isSame`). Changes nothing. Throws as `adopt`.
 */
export async function proveAdoption(
  worker: Worker,
  link: Link,
  request: AdoptionRequest,
): Promise<Adoption & { readonly isSame: boolean }> {
  const { store, known } = request;
  const keys = keysRead();
  try {
    const copy = await present(keys, store, request.copy);
    const { mark: marked } = copy.metadata;
    if (marked !== undefined) throw refused(`${request.copy} carries a mark already: ${formatMark(marked)}`);
    const { keptBy } = copy.metadata;
    if (keptBy !== undefined)
      throw refused(`${request.copy} is ${visible(keptBy)}'s, which would write over what we write there`);
    const certificate = request.of ?? (await findOriginal(link, copy, { keys, known }, worker));
    if (!worker.records.canHold(link.name, certificate)) throw unkeptId(link.primary.id, certificate);
    const original = soundOriginal(link, await present(keys, link.primary, certificate), worker.runtime.now());
    const mark: Mark = { store: link.primary.id, certificate };
    await refuseSecondCopy(worker, link, { store, certificate, copies: known?.copies });

    const now = worker.runtime.now();
    const asOurs = { ...copy, metadata: { ...copy.metadata, mark } };
    const { state, how } = compareCopy(original, asOurs, { store, mark, now, naming: link.naming });
    const isSame = state === 'same' || holdsSame(store, original.content, copy);
    return { certificate, name: original.metadata.name, differs: how, isSame };
  } finally {
    keys.wipe();
  }
}

async function present(keys: KeysRead, store: Store, id: string): Promise<StoredCertificate> {
  const reading: Reading<StoredCertificate> = keys.keep(await store.read(id));
  if (reading.state === 'unreadable') throw reading.error;
  if (reading.state === 'vacant') throw refused(`${id} in ${store.id} holds nothing: ${vacancyWords(reading)}`);
  if (reading.state === 'absent') throw refused(`${store.id} holds no certificate ${id}`);
  return reading.value;
}

function soundOriginal(link: Link, original: StoredCertificate, now: number): Sound {
  const verdict = judge(link, { state: 'present', value: original }, now);
  if (verdict.kind === 'sound') return verdict;
  const why = verdict.kind === 'refused' ? verdict.error.message : 'this link does not copy it';
  throw refused(`${original.metadata.name} in the primary: ${why}`);
}

/** The one certificate of the primary with the same leaf. */
async function findOriginal(
  link: Link,
  copy: StoredCertificate,
  { keys, known }: { readonly keys: KeysRead; readonly known: KnownSides | undefined },
  { runtime }: Worker,
): Promise<string> {
  const { serial, notBefore, notAfter } = factsOf(copy.content);
  const found: string[] = [];
  let notRead = 0;
  const addIfSame = async (id: string) => {
    const reading = keys.keep(await link.primary.read(id));
    if (reading.state === 'present' && reading.value.content.leaf.raw.equals(copy.content.leaf.raw)) found.push(id);
  };
  for (const id of known?.candidates(serial) ?? []) await addIfSame(id);
  const unreadable = () => {
    notRead += 1;
  };
  for await (const listed of known === undefined ? listAll(link.primary, { runtime, unreadable }) : []) {
    const differs = [
      listed.serial !== undefined && listed.serial !== serial,
      listed.notBefore !== undefined && listed.notBefore !== notBefore,
      listed.notAfter !== undefined && listed.notAfter !== notAfter,
    ];
    if (!differs.some(Boolean)) await addIfSame(listed.id);
  }
  const [only, ...others] = found;
  if (only !== undefined && others.length === 0) return only;
  const besides = notRead === 0 ? '' : `, and ${notRead} of it cannot be read`;
  const which = found.length === 0 ? 'no certificate' : `${found.length} certificates (${found.join(', ')})`;
  const words = `${which} of the primary ${found.length > 1 ? 'have' : 'has'} this leaf${besides}`;
  throw new CodedError('adopt_refused', `${words}: say with --of which one it is a copy of`, {
    fields: { found: found.length },
  });
}

/** Two copies would be one too many, and a pass would remove one of them. */
async function refuseSecondCopy(
  { records, runtime }: Worker,
  link: Link,
  {
    store,
    certificate,
    copies,
  }: { readonly store: Store; readonly certificate: string; readonly copies: ListedCopies | undefined },
): Promise<void> {
  const listedNow = copies ?? (await listCopies(link.primary.id, store, { runtime }));
  const listed = copiesIn(listedNow, certificate)[0]?.id;
  const known = (await records.get(link.name, certificate))?.backups.find((state) => state.store === store.id)?.id;
  const recorded = known !== undefined && (await store.readMetadata(known)).state === 'present' ? known : undefined;
  const other = listed ?? recorded;
  if (other !== undefined) throw refused(`${store.id} holds a copy of ${certificate} already: ${other}`);
}

/** Makes the copy the recorded one, under the certificate's lease, and asks for a look at it. */
async function record(
  { records, runtime, timing }: Worker,
  link: Link,
  { store, copy, certificate }: { readonly store: Store; readonly copy: string; readonly certificate: string },
): Promise<void> {
  const until = runtime.now() + timing.leaseMs + timing.skewMs;
  for (;;) {
    const now = runtime.now();
    await records.ask({ link: link.name, certificate, now });
    const claim = await records.claim({
      link: link.name,
      certificate,
      owner: runtime.newId(),
      now,
      leaseUntil: now + timing.leaseMs,
      skewMs: timing.skewMs,
      doubt: now,
    });
    if (claim.claimed) {
      const { attempts, absentSince: _absent, refusal, aside, primary } = claim.record;
      const backups = backupStates(claim.record, link.backups).map((state) =>
        state.store === store.id ? { store: store.id, id: copy, attempts: 0 } : state,
      );
      const fields: LeaseHolderFields = {
        attempts,
        backups,
        ...defined({ refusal, aside, primary }),
      };
      const { leaseToken: token, requested: seen } = claim.record;
      const answer = await records.commit({
        link: link.name,
        certificate,
        token,
        seen,
        fields,
        wakeAt: now,
      });
      if (answer !== 'refused') return;
    }
    if (runtime.now() >= until) throw refused(`${certificate} is being worked on all the time; try again`);
    await runtime.wait(Math.min(1_000, timing.leaseMs / 4));
  }
}

const refused = (message: string) => new CodedError('adopt_refused', message);
