import { readPublicKeyPem } from '../certificate/public-key-pem.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { errorFields, type Log } from '../log.ts';
import type { LinkRecords } from '../records/link-records.ts';
import { isUsable, type KeptKey, keyIdOf } from '../records/verification-key-records.ts';
import type { Runtime } from '../runtime.ts';
import type { Link } from './link.ts';

/** Where the keys are that verify what arrives at one callback. */
export interface KeySource {
  /** Name of the link or the sender whose callback it is. */
  readonly name: string;
  /** Which of both it is, in lines of the log. */
  readonly told: { readonly link: string } | { readonly sender: string };
  /** The keys that are served now, one or more. */
  fetch(): Promise<readonly KeptKey[]>;
}

/** Where the keys of a link's primary are; `undefined` where it serves none. */
export function keySourceOf({ name, primary }: Link): KeySource | undefined {
  const { notificationKey } = primary;
  if (notificationKey === undefined) return undefined;
  return { name, told: { link: name }, fetch: async () => [identified(await notificationKey.call(primary))] };
}

/**
 * Fetches the keys that verify what arrives at a callback into the table, by the clock, whatever
 * arrives: the receiver reads them from there, and a notification never causes a call. A key that
 * cannot be fetched, or that may not verify, changes nothing. Never throws.
 */
export async function refreshVerificationKeys(
  { linkRecords, runtime, log }: { readonly linkRecords: LinkRecords; readonly runtime: Runtime; readonly log: Log },
  { name, told, fetch }: KeySource,
): Promise<void> {
  try {
    const served = await fetch();
    const now = runtime.now();
    const read = await linkRecords.verificationKeys(name);
    for (const { id } of served)
      if (read.dropped.includes(id))
        log('error', 'verification_key_dropped', { ...told, key: id, message: 'it is still served' });
    if (served.length > limits.verificationKeys)
      log('warn', 'verification_keys_left_out', {
        ...told,
        message: `${served.length} keys are served, and the first ${limits.verificationKeys} of them are kept`,
      });
    const keys = refreshedKeys(read.keys, served, read.dropped, now);
    // Somebody who wrote meanwhile, a person or another sweep, has the last word: the next sweep
    // comes in a minute.
    if (keys.length > 0 && !isSame(keys, read.keys)) await linkRecords.saveVerificationKeys(name, read, keys, now);
  } catch (thrown) {
    log('warn', 'verification_key_not_refreshed', { ...told, ...errorFields(asCodedError(thrown)) });
  }
}

/**
 * A key with the id that it gets where its sender has none. Throws `store_nonsense` for what may
 * not verify notifications.
 */
function identified(pem: string): KeptKey {
  const { kind, bits = 0 } = readPublicKeyPem(pem);
  if (kind === 'rsa' && bits >= limits.verificationKeyBits) return { id: keyIdOf(pem), pem };
  const found = kind === 'rsa' ? `has ${bits} bits, and ${limits.verificationKeyBits} are needed` : 'is no RSA key';
  throw new CodedError('store_nonsense', `the key that the primary serves to verify notifications ${found}`);
}

/**
 * The set of keys after a fetch: what is served comes first, what is served no more stays for
 * `limits.goneKeyMs`, and what a person dropped does not come back. Of too many, those go that went
 * first.
 */
export function refreshedKeys(
  kept: readonly KeptKey[],
  fetched: readonly KeptKey[],
  dropped: readonly string[],
  now: number,
): readonly KeptKey[] {
  const served = fetched.filter(({ id }) => !dropped.includes(id));
  const isServed = ({ id, pem }: KeptKey) => served.some((key) => key.id === id || key.pem === pem);
  const gone = kept
    .filter((key) => !isServed(key) && !dropped.includes(key.id))
    .map((key) => ({ ...key, goneAt: key.goneAt ?? now }))
    .filter((key) => isUsable(key, now))
    .toSorted((a, b) => b.goneAt - a.goneAt);
  return [...served, ...gone].slice(0, limits.verificationKeys);
}

const isSame = (a: readonly KeptKey[], b: readonly KeptKey[]): boolean =>
  a.length === b.length &&
  a.every((key, at) => (['id', 'pem', 'from', 'goneAt'] as const).every((field) => key[field] === b[at]?.[field]));
