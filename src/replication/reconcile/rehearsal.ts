import type { CertificateContent } from '../../certificate/certificate.ts';
import { factsOf } from '../../certificate/facts.ts';
import { fingerprintOf } from '../../certificate/fingerprint.ts';
import type { CertificateMetadata, DescriptiveMetadata, Reading, Store } from '../../store/store.ts';

/** A write that a pass would send, as far as it matters: which copy, and what it would hold. */
export type RehearsedWrite =
  | { readonly write: 'import'; readonly fingerprint: string; readonly name: string }
  | { readonly write: 'reimport'; readonly copy: string; readonly fingerprint: string }
  | { readonly write: 'describe'; readonly copy: string; readonly name: string }
  | { readonly write: 'remove'; readonly copy: string };

/**
 * A store that is read as it is, and whose writes are only written down: what was written is read
 * back as if it were there, so that a pass against it does what it would do. What the service says
 * that it would not take in the place of what is there is refused.
 */
export function rehearsal(
  store: Store,
  now: () => number,
): { readonly store: Store; readonly writes: readonly RehearsedWrite[] } {
  const writes: RehearsedWrite[] = [];
  const written = new Map<string, CertificateContent>();

  async function readMetadata(id: string, options?: Parameters<Store['readMetadata']>[1]) {
    const reading = await store.readMetadata(id, options);
    const content = written.get(id);
    if (content === undefined || reading.state !== 'present') return reading;
    return { state: 'present' as const, value: { ...reading.value, ...factsIn(content) } };
  }
  /** Throws why the service would not take it in the place of what is there, if it says so. */
  async function refuseOver(
    id: string,
    content: CertificateContent,
    options: Parameters<Store['read']>[1],
  ): Promise<void> {
    if (store.refuses === undefined) return;
    const there = await store.read(id, options);
    if (there.state !== 'present') return;
    const why = store.refuses(content, now(), there.value.content);
    there.value.content.privateKey?.pem.wipe();
    if (why !== undefined) throw why;
  }

  return {
    writes,
    store: {
      ...store,
      readMetadata,
      async read(id, options) {
        const content = written.get(id);
        if (content === undefined) return store.read(id, options);
        const metadata: Reading<CertificateMetadata> = await readMetadata(id, options);
        return metadata.state === 'present'
          ? { state: 'present', value: { metadata: metadata.value, content } }
          : metadata;
      },
      async import({ content, metadata }) {
        writes.push({ write: 'import', fingerprint: fingerprintOf(content), name: metadata.name });
        return { id: 'new', metadata: { ...described('new', metadata), ...factsIn(content) } };
      },
      async reimport(id, content, options) {
        await refuseOver(id, content, options);
        writes.push({ write: 'reimport', copy: id, fingerprint: fingerprintOf(content) });
        written.set(id, content);
        // What the service would say of it: what it says now, with the new facts.
        const reading = await readMetadata(id, options);
        return reading.state === 'present' ? { id, metadata: reading.value } : { id };
      },
      async updateMetadata(id, { name }) {
        writes.push({ write: 'describe', copy: id, name });
        return { id };
      },
      async delete(id) {
        writes.push({ write: 'remove', copy: id });
      },
    },
  };
}

const described = (id: string, metadata: DescriptiveMetadata): CertificateMetadata => ({
  id,
  ...metadata,
  domains: [],
});

function factsIn(content: CertificateContent) {
  const { serial, notBefore, notAfter, domains } = factsOf(content);
  return { serial, notBefore, notAfter, domains };
}
