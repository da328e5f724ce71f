import { CodedError } from '../errors.ts';

/** Characters of such an id that a message shows. */
const shownCharacters = 100;

/**
 * That no record can be kept of an id, because it does not fit into the key of a row:
 * `store_name_unreadable`. It is named, is not copied, and keeps no other from being copied.
 */
export function unkeptId(store: string, id: string): CodedError {
  const shown = id.length > shownCharacters ? `${id.slice(0, shownCharacters)}…` : id;
  const bytes = Buffer.byteLength(id);
  return new CodedError('store_name_unreadable', `no record can be kept of the id ${shown}, of ${bytes} bytes`, {
    fields: { store },
  });
}
