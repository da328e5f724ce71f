import { createCipheriv, createDecipheriv, randomBytes } from 'node:crypto';
import { asCodedError, CodedError } from '../errors.ts';
import type { Secret } from '../secret.ts';
import { idOfKey, readKeyFile, writeKeyFile } from './file-content.ts';
import { keyOfRecoveryText, recoveryTextOf } from './file-recovery.ts';
import type { KeyContext, RootKey } from './root-key.ts';
import { boundTo, ivBytes, tagBytes, wrappedParts, wrappedText } from './wrapped-text.ts';

export interface FileRootKeyOptions {
  readonly path: string;
  /**
   * Whether to make the file if there is none. Not where data keys exist already: a new root key
   * opens none of them.
   */
  readonly create: boolean;
}

const keyBytes = 32;

/**
 * A root key in a file of this machine: 32 random bytes, with which AES-256-GCM wraps; the context
 * is authenticated. The file is read for each call and the key wiped after it, so it is in memory
 * for the time of a call, and a file that is taken away, opened to others or replaced is noticed at
 * the next one. Its id is a digest of the key.
 *
 * `recoveryText` is there only where this very call has made the file: the caller shows it once,
 * and nothing keeps it. Throws `keys_file_missing`, `keys_file_exposed`, `keys_file_unusable`,
 * `keys_unavailable`, as do `wrap` and `unwrap`.
 */
export async function fileRootKey(
  options: FileRootKeyOptions,
): Promise<{ readonly rootKey: RootKey; readonly recoveryText?: Secret }> {
  const { path, create } = options;
  let recoveryText: Secret | undefined;
  const { id, key } = await readKeyFile(path).catch(async (thrown: unknown) => {
    if (!create || asCodedError(thrown).code !== 'keys_file_missing') throw thrown;
    recoveryText = await createFile(path);
    return readKeyFile(path);
  });
  key.fill(0);
  return { rootKey: rootKeyOf(path, id), ...(recoveryText && { recoveryText }) };
}

/**
 * Makes the file again from its recovery text; the id of its root key. If a file is there and holds
 * that key, it stays. Throws `keys_recovery_text_wrong`, and `keys_file_unusable` when another root
 * key is there: it is not written over.
 */
export async function recoverFileRootKey(path: string, recoveryText: Secret): Promise<string> {
  const key = keyOfRecoveryText(recoveryText);
  try {
    const id = idOfKey(key);
    await writeKeyFile(path, key);
    const there = await readKeyFile(path);
    there.key.fill(0);
    if (there.id === id) return id;
    throw new CodedError(
      'keys_file_unusable',
      `root key file ${path}: it holds another root key, ${there.id}, and is not written over; move that file away first`,
      {
        fields: { path, found: there.id, wanted: id },
      },
    );
  } finally {
    key.fill(0);
  }
}

/**
 * The id of the root key that this recovery text would give back, to be compared with `RootKey.id`.
 * Throws `keys_recovery_text_wrong`.
 */
export function rootKeyOfRecoveryText(recoveryText: Secret): string {
  const key = keyOfRecoveryText(recoveryText);
  const id = idOfKey(key);
  key.fill(0);
  return id;
}

/** The recovery text of the new root key; `undefined` if another process was faster. */
async function createFile(path: string): Promise<Secret | undefined> {
  const key = randomBytes(keyBytes);
  try {
    return (await writeKeyFile(path, key)) ? recoveryTextOf(key) : undefined;
  } finally {
    key.fill(0);
  }
}

function rootKeyOf(path: string, id: string): RootKey {
  async function withKey<Result>(work: (key: Uint8Array) => Result): Promise<Result> {
    const found = await readKeyFile(path);
    try {
      if (found.id === id) return work(found.key);
    } finally {
      found.key.fill(0);
    }
    throw new CodedError('keys_refused', `root key file ${path}: it holds another root key than at the start`, {
      fields: { path, found: found.id, wanted: id },
    });
  }

  return {
    id,
    wrap: (dataKey, context) => withKey((key) => wrapWith(key, dataKey, context)),
    unwrap: (text, context) => withKey((key) => ({ dataKey: unwrapWith(key, text, context, id) })),
    async close() {},
  };
}

function wrapWith(key: Uint8Array, dataKey: Uint8Array, context: KeyContext): string {
  const iv = randomBytes(ivBytes);
  const wrapping = createCipheriv('aes-256-gcm', key, iv, { authTagLength: tagBytes });
  wrapping.setAAD(boundTo(context));
  const ciphertext = Buffer.concat([wrapping.update(dataKey), wrapping.final()]);
  return wrappedText(iv, Buffer.concat([ciphertext, wrapping.getAuthTag()]));
}

function unwrapWith(key: Uint8Array, text: string, context: KeyContext, id: string): Uint8Array {
  const parts = wrappedParts(text);
  if (parts === undefined) throw unreadable(id, 'it is no text that a root key file of this format wrapped');
  const { iv, encrypted } = parts;
  const opening = createDecipheriv('aes-256-gcm', key, iv, { authTagLength: tagBytes });
  opening.setAAD(boundTo(context));
  opening.setAuthTag(encrypted.subarray(-tagBytes));
  const dataKey = opening.update(encrypted.subarray(0, -tagBytes));
  try {
    opening.final();
  } catch {
    dataKey.fill(0);
    throw unreadable(id, 'it was changed, or wrapped by another root key or in another context');
  }
  return dataKey;
}

function unreadable(rootKey: string, found: string): CodedError {
  return new CodedError('keys_unreadable', `unwrapping a data key with ${rootKey}: ${found}`, { fields: { rootKey } });
}
