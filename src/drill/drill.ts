import { factsOf } from '../certificate/facts.ts';
import { fingerprintOf } from '../certificate/fingerprint.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { listAll } from '../replication/shared-listing.ts';
import type { Runtime } from '../runtime.ts';
import type { CertificateMetadata, Store, UnreadableElement } from '../store/store.ts';
import { proveByHandshake } from './handshake.ts';
import type { DrilledCopy, DrillReport, NotDrilled } from './report.ts';

/** How long one handshake on this machine may take, in milliseconds. */
const handshakeMs = 10_000;

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
 * Proves that the copies of one link would serve, from the backups alone, as on the day on which there is no primary: each is read in
 * full and served to a client. Changes nothing, keeps no key. Throws `interrupted` when the signal says so.
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
    try {
      const found: CertificateMetadata[] = [];
      // A copy that cannot be read would serve nobody, whatever the sample.
      const unreadable = ({ id, name, place, mark, ours, error }: UnreadableElement) => {
        if (mark === undefined ? !ours : mark.store !== link.primary.id) return;
        const about = { store: store.id, copy: id ?? place, name: name ?? place, certificate: mark?.certificate ?? '' };
        const copy: DrilledCopy = { ...about, served: false, failure: 'unreadable', message: error.message };
        kept += 1;
        copies.push(copy);
        drilled?.(copy);
      };
      for await (const metadata of listAll(store, { runtime, signal, unreadable })) {
        if (metadata.mark?.store === link.primary.id) found.push(metadata);
      }
      kept += found.length;
      for (const metadata of chosen(found, options.sample, runtime)) {
        signal?.throwIfAborted();
        const copy = await drillCopy(store, metadata, trust, signal);
        copies.push(copy);
        drilled?.(copy);
      }
    } catch (thrown) {
      if (signal?.aborted) throw new CodedError('interrupted', `the drill of ${link.name} was stopped`);
      const { code, message } = asCodedError(thrown);
      notDrilled.push({ store: store.id, code, message });
    }
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

/** Some of them by chance, in their order (selection sampling: each with what is still wanted of what is left). */
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

async function drillCopy(
  store: Store,
  { id, name, mark }: CertificateMetadata,
  trust: readonly string[] | undefined,
  signal: AbortSignal | undefined,
): Promise<DrilledCopy> {
  const about = { store: store.id, copy: id, name, certificate: mark?.certificate ?? '' };
  const reading = await store.read(id, { ...(signal && { signal }) });
  if (reading.state !== 'present') {
    const message = reading.state === 'absent' ? 'it was listed, and is not there' : reading.error.message;
    const failure = reading.state === 'absent' ? 'missing' : 'unreadable';
    return { ...about, served: false, failure, message };
  }
  const { content } = reading.value;
  try {
    const { domains, notAfter } = factsOf(content);
    const facts = {
      domains: [...domains],
      notAfter: new Date(notAfter).toISOString(),
      fingerprint: fingerprintOf(content),
    };
    return { ...about, ...facts, ...(await proveByHandshake(content, { trust, timeoutMs: handshakeMs })) };
  } finally {
    content.privateKey?.pem.wipe();
  }
}
