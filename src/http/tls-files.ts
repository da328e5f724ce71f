import { X509Certificate } from 'node:crypto';
import { createSecureContext } from 'node:tls';
import { asCodedError, CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import { privateKeyObject } from '../private-key-object.ts';
import { readTextFileSync, whyUnreadable } from '../regular-file.ts';

interface TlsContent {
  readonly cert: string;
  readonly key: string;
}

/** The certificate that a server shows, and its key, from two files that may change. */
export interface TlsFiles {
  current(): TlsContent;
  /** Until when the certificate that is shown is valid, epoch milliseconds. */
  notAfter(): number;
  /**
   * Reads the files again. What has changed and is good is shown from now on; what is not good is
   * logged once, and the old one stays.
   */
  reload(): void;
  onChange(listener: (content: TlsContent) => void): void;
}

/**
 * The certificate and key of a server, in PEM. Throws `tls_unusable` if a file cannot be read, or
 * they do not belong together. An expired certificate is used all the same: the senders' refusal
 * says more than a receiver that does not start.
 */
export function tlsFiles(options: { readonly certificate: string; readonly key: string; readonly log: Log }): TlsFiles {
  const { log } = options;
  const listeners: ((content: TlsContent) => void)[] = [];
  let current = readGood(options);
  let refused = '';

  return {
    current: () => current.content,
    notAfter: () => current.notAfter,
    onChange: (listener) => void listeners.push(listener),
    reload() {
      try {
        const read = readGood(options);
        refused = '';
        if (read.content.cert === current.content.cert && read.content.key === current.content.key) return;
        current = read;
        for (const listener of listeners) listener(current.content);
        log('info', 'tls_reloaded', { notAfter: new Date(current.notAfter).toISOString() });
      } catch (thrown) {
        const error = asCodedError(thrown);
        if (error.message !== refused) log('error', 'tls_not_reloaded', errorFields(error));
        refused = error.message;
      }
    },
  };
}

function readGood(options: { readonly certificate: string; readonly key: string }) {
  const content = { cert: readText(options.certificate), key: readText(options.key) };
  let leaf: X509Certificate;
  try {
    leaf = new X509Certificate(content.cert);
  } catch {
    throw new CodedError('tls_unusable', `${options.certificate} holds no certificate in PEM`);
  }
  if (!isKeyOf(leaf, content.key))
    throw new CodedError('tls_unusable', `${options.key} does not hold the private key of ${options.certificate}`);
  try {
    createSecureContext(content);
  } catch {
    // What OpenSSL says may quote a file.
    throw new CodedError('tls_unusable', `${options.certificate} and ${options.key} cannot be used for TLS`);
  }
  return { content, notAfter: Date.parse(leaf.validTo) };
}

function isKeyOf(leaf: X509Certificate, key: string): boolean {
  try {
    return leaf.checkPrivateKey(privateKeyObject(key));
  } catch {
    return false;
  }
}

function readText(file: string): string {
  try {
    return readTextFileSync(file, { maxBytes: limits.textFileBytes });
  } catch (cause) {
    throw new CodedError('tls_unusable', `${file} cannot be read (${whyUnreadable(file, cause)})`, { cause });
  }
}
