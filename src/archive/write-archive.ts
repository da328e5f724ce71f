import { defined } from '../defined.ts';
import { CodedError } from '../errors.ts';
import type { Secret } from '../secret.ts';
import { ageWriter } from './age.ts';
import type { ArchiveKind, ArchiveWriter } from './archive.ts';
import { pemFolderWriter } from './pem-folder.ts';
import { pkcs12Writer } from './pkcs12.ts';
import { zipWriter } from './zip.ts';

/** Where an archive is to stand, of which kind, and what keeps its private keys. */
export interface WantedArchive {
  readonly path: string;
  readonly kind: ArchiveKind;
  readonly passphrase?: Secret;
  /** For age, instead of a passphrase. */
  readonly recipients?: readonly string[];
  /** For PKCS#12: as programs want it that know nothing newer than triple DES. */
  readonly legacy?: boolean;
  /** That private keys may leave unencrypted, as pem and zip have them. */
  readonly unencryptedKeys?: boolean;
}

/**
 * Begins an archive. Throws `usage` where what is wanted does not go together, `archive_exists` and
 * `archive_unusable`.
 */
export function createArchive(wanted: WantedArchive): Promise<ArchiveWriter> {
  const { path, kind, passphrase, recipients = [], legacy = false, unencryptedKeys = false } = wanted;
  const usage = (message: string) => new CodedError('usage', message);
  const locks = (passphrase === undefined ? 0 : 1) + (recipients.length > 0 ? 1 : 0);
  if (legacy && kind !== 'pkcs12') throw usage('--legacy is for --as pkcs12');
  if (recipients.length > 0 && kind !== 'age') throw usage('--recipient is for --as age');
  if (kind === 'age') {
    if (locks !== 1)
      throw usage('an age archive wants either a passphrase or recipients: --passphrase-file or --recipient');
    return ageWriter(path, { ...defined({ passphrase }), recipients });
  }
  if (kind === 'pkcs12') {
    if (passphrase === undefined) throw usage('PKCS#12 wants a passphrase: --passphrase-file');
    return pkcs12Writer(path, { passphrase, legacy });
  }
  if (!unencryptedKeys)
    throw usage(
      `--as ${kind} writes private keys unencrypted; say --unencrypted-keys if that is meant, or use --as age`,
    );
  if (locks > 0) throw usage(`--as ${kind} encrypts nothing: a passphrase would keep nothing`);
  return kind === 'zip' ? zipWriter(path) : pemFolderWriter(path);
}
