import { createPublicKey, generateKeyPairSync } from 'node:crypto';
import { chmodSync, linkSync, mkdirSync, renameSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { CodedError, type ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';
import { privateKeyObject } from '../private-key-object.ts';
import { readRegularFileSync } from '../regular-file.ts';
import { Secret } from '../secret.ts';
import { pemOf } from './signed-text.ts';

/**
 * Files in a folder of what is signed: the key that signs it, and its public half to be kept
 * somewhere else.
 */
const signingKeyFile = 'signing.key';
const publicKeyFile = 'signing.pub';

/**
 * The Ed25519 key that signs what is kept in this folder. Made on first use, mode 0600, with its
 * public half beside it. Throws `unusable` if others may read it, or it is not what was written.
 */
export function openSigningKey(
  folder: string,
  unusable: ErrorCode,
): { readonly privateKey: Secret; readonly publicKey: string } {
  const path = join(folder, signingKeyFile);
  try {
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    makeOnce(path, dirname(path));
    const { mode } = statSync(path);
    if ((mode & 0o077) !== 0 && process.platform !== 'win32') {
      throw new CodedError(unusable, `${path} may be read or changed by others: chmod 600 ${path}`);
    }
    const bytes = readRegularFileSync(path, { maxBytes: limits.signingKeyBytes });
    const privateKey = new Secret(bytes.toString('utf8'));
    bytes.fill(0);
    const publicKey = pemOf(createPublicKey(privateKeyObject(privateKey.reveal())));
    keepBeside(join(folder, publicKeyFile), publicKey);
    return { privateKey, publicKey };
  } catch (cause) {
    if (cause instanceof CodedError) throw cause;
    const { code = 'error' } = cause as NodeJS.ErrnoException;
    throw new CodedError(unusable, `${path} cannot be read or made (${code})`, { cause });
  }
}

/** Writes a file only if it is not so already; who reads it finds it whole. */
function keepBeside(path: string, text: string): void {
  const isThere = statSync(path, { throwIfNoEntry: false }) !== undefined;
  if (isThere && readRegularFileSync(path, { maxBytes: limits.signingKeyBytes }).toString('utf8') === text) return;
  const fresh = `${path}.${process.pid}`;
  writeFileSync(fresh, text);
  renameSync(fresh, path);
}

/** Under its own name it appears whole, and only if there is none. */
function makeOnce(path: string, folder: string): void {
  if (statSync(path, { throwIfNoEntry: false }) !== undefined) return;
  const fresh = join(folder, `.${signingKeyFile}.${process.pid}`);
  const { privateKey } = generateKeyPairSync('ed25519');
  try {
    writeFileSync(fresh, privateKey.export({ type: 'pkcs8', format: 'pem' }), { mode: 0o600 });
    chmodSync(fresh, 0o600);
    linkSync(fresh, path);
  } catch (thrown) {
    if ((thrown as NodeJS.ErrnoException).code !== 'EEXIST') throw thrown;
  } finally {
    rmSync(fresh, { force: true });
  }
}
