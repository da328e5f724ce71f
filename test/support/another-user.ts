import { chmodSync } from 'node:fs';

/** Nobody, who owns no file. */
const nobody = 65_534;

/**
 * Does work as a user who is not root, since root may read everything; where the tests do not run
 * as root, as the user that they run as. `folder`, which only its owner may enter as `mkdtemp`
 * makes it, is opened for entering.
 */
export async function asAnotherUser<T>(folder: string, work: () => T | Promise<T>): Promise<T> {
  chmodSync(folder, 0o711);
  const mine = process.geteuid?.();
  if (mine !== 0) return work();
  process.seteuid?.(nobody);
  try {
    return await work();
  } finally {
    process.seteuid?.(mine);
  }
}
