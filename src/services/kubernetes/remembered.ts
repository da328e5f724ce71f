import type { ContentFacts } from '../../store/content-facts.ts';
import { isOurs } from './copy.ts';
import { idOf, revisionOf } from './names.ts';
import type { ObjectMetadata } from './objects.ts';

/** Secrets whose facts are kept, by their revision: some megabytes. */
const factsKept = 20_000;
/** Copies that are about to be written, at most. */
const untouchedKept = 1_000;
/** What our writes are known by in `managedFields`. */
export const ourManager = 'certstandby';

/**
 * What was last read of copies that nobody but us has ever written to, as the server says in
 * `managedFields`: these hold what we gave them and nothing else, so that they can be written anew
 * without a read before. They are so few because each is used at once.
 */
export function untouchedCache() {
  const kept = new Map<string, { readonly object: ObjectMetadata; readonly raw: object }>();
  return {
    note(object: ObjectMetadata, json: unknown): void {
      const { managedFields, deletionTimestamp } = object;
      const isUntouched = managedFields.length > 0 && managedFields.every(({ manager }) => manager === ourManager);
      kept.delete(idOf(object));
      if (!isUntouched || !isOurs(object) || deletionTimestamp !== undefined) return;
      kept.set(idOf(object), { object, raw: (json as { readonly metadata: object }).metadata });
      const [oldest] = kept.keys();
      if (kept.size > untouchedKept && oldest !== undefined) kept.delete(oldest);
    },
    take(id: string) {
      const found = kept.get(id);
      kept.delete(id);
      return found;
    },
  };
}

/** Facts of secrets by their revision; those that were asked for last are kept. */
export function factsCache() {
  const kept = new Map<string, ContentFacts | 'empty'>();
  return {
    of(object: ObjectMetadata): ContentFacts | 'empty' | undefined {
      return kept.get(revisionOf(object));
    },
    note(object: ObjectMetadata, facts: ContentFacts | 'empty'): void {
      const key = revisionOf(object);
      kept.delete(key);
      kept.set(key, facts);
      const [oldest] = kept.keys();
      if (kept.size > factsKept && oldest !== undefined) kept.delete(oldest);
    },
  };
}
