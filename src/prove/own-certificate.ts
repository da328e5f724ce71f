import type { CertificatePem } from '../certificate/certificate.ts';
import type { Runtime } from '../runtime.ts';
import { type FoundMark, isOfStore, type Mark, sameMark } from '../store/mark.ts';
import type { PatientCalls } from './patient-calls.ts';

/** Makes a certificate for these names. */
export type Issue = (domains: readonly string[]) => Promise<CertificatePem>;

/** A name that never resolves (RFC 6761, section 6.4). */
export const testDomain = 'certstandby-prove.invalid';
/** How the certificate's name begins, for people who see it in the service's own console. */
export const shownName = 'certstandby-prove';

/**
 * The store that stands in marks of such certificates: none, so that no link takes them for copies
 * of its primary.
 */
const markStore = 'certstandby-prove';

/** A mark for one certificate of a proof. */
export function testMark(runtime: Runtime): Mark {
  return { store: markStore, certificate: runtime.newId().slice(-12) };
}

/**
 * Removes what proofs that were killed have left, each after a direct read has shown that it still
 * carries such a mark. Answers how many. Two proofs of one store at the same moment would remove
 * each other's.
 */
export async function removeLeftovers(calls: PatientCalls): Promise<number> {
  const { store } = calls;
  const left: { readonly id: string; readonly mark: FoundMark }[] = [];
  for await (const { id, mark } of calls.list())
    if (mark !== undefined && isOfStore(mark, markStore)) left.push({ id, mark });
  let removed = 0;
  for (const { id, mark } of left) {
    const held = await calls.read((call) => store.readMetadata(id, call));
    if (!sameMark(held?.mark, mark)) continue;
    await calls.send((call) => store.delete(id, call), 'delete', id);
    removed += 1;
  }
  return removed;
}
