import type { CertificateContent } from '../certificate/certificate.ts';
import { CodedError } from '../errors.ts';
import type { Secret } from '../secret.ts';

/** Archive kinds: `age` and `pkcs12` encrypt private keys, `pem` and `zip` do not. */
export const archiveKinds = ['age', 'pkcs12', 'pem', 'zip'] as const;
export type ArchiveKind = (typeof archiveKinds)[number];

/** One certificate in an archive, as it stood in the store it was downloaded from. */
export interface ArchivedCertificate {
  readonly name: string;
  readonly description: string;
  readonly tags: readonly string[];
  readonly content: CertificateContent;
  /** Where it was; absent in archives that others made. */
  readonly from?: { readonly store: string; readonly id: string };
}

/** The same, with where in the archive it stands, for messages. */
export interface ArchiveEntry extends ArchivedCertificate {
  readonly entry: string;
}

/** A certificate of an archive that cannot be taken, and why. Others of the same archive can. */
export interface RefusedEntry {
  readonly entry: string;
  readonly error: CodedError;
  /** What it is called, where that is known although it cannot be taken. */
  readonly name?: string;
}

/** A file of an archive that belongs to no certificate, as far as is known here. */
export interface PassedOverFile {
  readonly file: string;
  readonly why: string;
}

/**
 * What an archive holds, one after the other. A refusal takes back what came before under the same
 * `entry`.
 */
export type ArchiveItem = ArchiveEntry | RefusedEntry | PassedOverFile;

/** Takes certificates one by one. Nothing stands under the wanted path before `finish`. */
export interface ArchiveWriter {
  add(certificate: ArchivedCertificate): Promise<void>;
  finish(): Promise<void>;
  /** Removes what was written. Safe after `finish`, where it does nothing. */
  abandon(): Promise<void>;
}

/** What encrypts: a passphrase, or age recipients (`age1...`), never both. */
export interface ArchiveLock {
  readonly passphrase?: Secret;
  readonly recipients?: readonly string[];
}

/** What opens: a passphrase, or age identities (`AGE-SECRET-KEY-1...`). */
export interface ArchiveUnlock {
  readonly passphrase?: Secret;
  readonly identities?: readonly Secret[];
  /**
   * PKCS#12: files without a MAC are read too, though nobody can know whether they were changed.
   */
  readonly acceptNoMac?: boolean;
}

/** An archive that is not what an archive should be; `entry` says where. */
export function damaged(path: string, what: string, cause?: unknown): CodedError {
  return new CodedError('archive_damaged', `${path} cannot be taken as an archive: ${what}`, {
    cause,
    fields: { archive: path },
  });
}

/** One certificate of an archive that is not what it should be; `entry` says which. */
export function entryDamaged(entry: string, what: string, cause?: unknown): CodedError {
  return new CodedError('archive_entry_damaged', `${entry} in the archive: ${what}`, { cause, fields: { entry } });
}

/** What the file system threw, as what it means for an archive. */
export function fileProblem(doing: string, path: string, cause: unknown): CodedError {
  if (cause instanceof CodedError) return cause;
  const { code = 'error' } = (cause ?? {}) as NodeJS.ErrnoException;
  if (code === 'EEXIST' || code === 'ENOTEMPTY')
    return new CodedError('archive_exists', `there is something at ${path} already`, {
      cause,
      fields: { archive: path },
    });
  return new CodedError('archive_unusable', `${doing} ${path} failed (${code})`, { cause, fields: { archive: path } });
}
