import { createHash, randomBytes } from 'node:crypto';
import { statSync } from 'node:fs';
import { resolve } from 'node:path';
import { asCodedError, CodedError, type ErrorCode } from '../errors.ts';
import { limits } from '../limits.ts';
import { readTextFileSync, whyUnreadable } from '../regular-file.ts';
import type { RemediesByReason } from '../remedies-by-cause.ts';
import { unlessAborted } from '../runtime.ts';
import { timeLimit } from '../time-limit.ts';
import type { Pkcs11Answer, Pkcs11Failure, Pkcs11Process, Pkcs11Request } from './pkcs11-process.ts';
import { parsePkcs11Uri } from './pkcs11-uri.ts';
import type { KeyContext, RootKey } from './root-key.ts';
import { boundTo, ivBytes, tagBytes, wrappedParts, wrappedText } from './wrapped-text.ts';

export interface Pkcs11Options {
  /** See `parsePkcs11Uri`. */
  readonly uri: string;
  /** What a relative `pin-source=file:` counts from. */
  readonly folder: string;
  /** Where `pin-source=env:` leads; the library gets all of it but that PIN. */
  readonly env: Readonly<Record<string, string | undefined>>;
}

/**
 * Until a call ends, in milliseconds, though the library has to be begun anew for it: an HSM in a
 * network may itself wait for another one.
 */
const callMs = 15_000;
const attempts = 3;

/** What each reason means, by the standard (section 5.1) and by us. Any other may pass. */
const refusals: readonly string[] = [
  ...['library_missing', 'module_unusable', 'token_ambiguous', 'key_missing', 'key_ambiguous'],
  ...['key_not_for_this', 'key_may_leave', 'pin_missing', 'pin_exposed', 'pin_refused_before'],
  ...['CKR_PIN_INCORRECT', 'CKR_PIN_INVALID', 'CKR_PIN_LEN_RANGE', 'CKR_PIN_EXPIRED', 'CKR_PIN_LOCKED'],
  ...['CKR_USER_PIN_NOT_INITIALIZED', 'CKR_KEY_FUNCTION_NOT_PERMITTED', 'CKR_KEY_TYPE_INCONSISTENT'],
  ...['CKR_MECHANISM_INVALID', 'CKR_MECHANISM_PARAM_INVALID'],
];

const pinRemedy =
  'Put the right PIN where pin-source of the root key leads. It is not tried again here until what stands there has changed, so that the token is not locked.';
const mechanismRemedy =
  'The token or the key does not do AES-GCM with a nonce that it is given (CKM_AES_GCM). Allow that in its policy, or use another kind of root key.';
const again =
  'See to the token: is it there, is its network up, does its own tool list it? It is asked again by itself, with a new login.';

/** What was found, where the reason is one of ours; `at` says where. */
const found: Readonly<Record<string, (at: string) => string>> = {
  library_missing: () => 'the package pkcs11js cannot be loaded',
  module_unusable: (at) => `${at} cannot be loaded as a library of this machine`,
  library_ended: () => "the library of the token's maker ended in the middle of it",
  timeout: () => 'it did not answer in time',
  token_absent: () => 'no token of that name is there',
  token_ambiguous: () => 'several tokens have that name',
  key_missing: () => 'the token has no such AES key',
  key_ambiguous: () => 'the token has several such AES keys',
  key_not_for_this: () => 'the key may not encrypt and decrypt',
  key_may_leave: () => 'the key may be taken out of the token',
  pin_missing: (at) => `there is no PIN: ${at}`,
  pin_exposed: (at) => `others can read the PIN in ${at}`,
  pin_refused_before: () => 'the PIN that stands there was not taken before',
};

const remedies: RemediesByReason = {
  library_missing:
    'The package pkcs11js is not there, or not compiled: in the folder of certstandby, npm install pkcs11js, or npm rebuild pkcs11js (a C++ compiler, make and Python are needed).',
  module_unusable:
    "module-path of the root key leads to no PKCS #11 library for this machine: correct it, or install what the token's maker gives.",
  token_absent: `No token of that name is there. ${again}`,
  token_ambiguous: 'Several tokens fit: name one by serial=<number> in the URI of the root key.',
  key_missing:
    'The token has no AES key of that name that this PIN shows. Correct object or id in the URI of the root key, or put the key back from the backup of the token.',
  key_ambiguous: 'Several keys fit: name one by id=<%01…> in the URI of the root key.',
  key_not_for_this: 'The key may not encrypt and decrypt (CKA_ENCRYPT, CKA_DECRYPT): make one that may.',
  key_may_leave:
    'The key may be taken out of the token (CKA_EXTRACTABLE): make one that may not, and bring what it protects under that: certstandby instance rewrap',
  pin_missing: 'Put the PIN where pin-source of the root key leads.',
  pin_exposed: 'Others can read the file with the PIN: chmod 600, and change the PIN if in doubt.',
  pin_refused_before: pinRemedy,
  CKR_PIN_INCORRECT: pinRemedy,
  CKR_PIN_INVALID: pinRemedy,
  CKR_PIN_LEN_RANGE: pinRemedy,
  CKR_PIN_EXPIRED:
    "The PIN has to be changed before it is taken: do so with the token's own tool, and put the new one where pin-source leads.",
  CKR_PIN_LOCKED: "The token is locked after wrong PINs: its security officer unlocks it, with the token's own tool.",
  CKR_USER_PIN_NOT_INITIALIZED: 'The token has no user PIN yet: its security officer sets one.',
  CKR_KEY_FUNCTION_NOT_PERMITTED: 'The key may not encrypt and decrypt (CKA_ENCRYPT, CKA_DECRYPT): make one that may.',
  CKR_KEY_TYPE_INCONSISTENT: mechanismRemedy,
  CKR_MECHANISM_INVALID: mechanismRemedy,
  CKR_MECHANISM_PARAM_INVALID: mechanismRemedy,
};

/**
 * An AES key in a token (HSM, smart card) that speaks PKCS #11, and never leaves it: the token
 * itself wraps and unwraps, by AES-GCM (`CKM_AES_GCM`), which authenticates the context too. AES
 * key wrap (`CKM_AES_KEY_WRAP_PAD`) does not, and makes a key of the token of what it unwraps, out
 * of which tokens under FIPS rules give nothing. A login that is lost, a session that ends and a
 * token that comes back are met by beginning anew, twice for each call at the most. A call ends
 * within `callMs`. Throws `configuration_invalid` if an option is wrong.
 */
export function pkcs11RootKey(options: Pkcs11Options): RootKey {
  const { uri, folder, env } = options;
  const { name, pinSource, ...place } = parsePkcs11Uri(uri);
  const id = `pkcs11:${name}`;
  let running: Promise<Pkcs11Process> | undefined;
  /** Of a PIN that was not taken. */
  let refusedPin: string | undefined;

  async function started(): Promise<Pkcs11Process> {
    const [, variable = ''] = /^env:(.+)$/.exec(pinSource) ?? [];
    const { startPkcs11 } = await import('./pkcs11-process.ts');
    return startPkcs11({ ...env, [variable]: undefined });
  }

  /** Ends that process, and no other that has taken its place. */
  function end(ending: typeof running): void {
    if (running === ending) running = undefined;
    ending?.then(
      (process) => process.end(),
      () => undefined,
    );
  }

  /**
   * Asks the process that runs, and then new ones, where the failure may be that of its session, or
   * pass at once: some libraries fail while another program logs in.
   */
  async function ask(request: Omit<Pkcs11Request, 'place' | 'pin'>): Promise<Uint8Array> {
    const limit = timeLimit(callMs);
    const { action } = request;
    for (let attempt = 1; ; attempt += 1) {
      const pin = pinFrom(pinSource, { folder, env });
      if (typeof pin !== 'string') throw failed(id, action, pin);
      if (digestOf(pin) === refusedPin) throw failed(id, action, { reason: 'pin_refused_before', at: '' });
      running ??= started();
      const asked = running;
      const answer = await answerOf(asked, { ...request, place, pin }, limit);
      if ('bytes' in answer) return answer.bytes;
      const { reason } = answer.failure;
      if (reason === 'not_opened') throw unreadable(id);
      end(asked);
      if (reason === 'CKR_PIN_INCORRECT') refusedPin = digestOf(pin);
      if (attempt === attempts || limit.aborted || refusals.includes(reason)) throw failed(id, action, answer.failure);
    }
  }

  return {
    id,

    async wrap(dataKey, context) {
      const iv = randomBytes(ivBytes);
      const bytes = Uint8Array.from(dataKey);
      const encrypted = await ask({ action: 'wrap', iv, boundTo: boundTo(context), bytes });
      // A token that takes a nonce of its own says so by what it adds; and then nothing would open.
      if (encrypted.length !== dataKey.length + tagBytes)
        throw failed(id, 'wrap', { reason: 'CKR_MECHANISM_PARAM_INVALID', at: 'C_Encrypt' });
      return wrappedText(iv, encrypted);
    },

    async unwrap(wrapped, context: KeyContext) {
      const parts = wrappedParts(wrapped);
      if (parts === undefined) throw unreadable(id);
      const { iv, encrypted: bytes } = parts;
      const opened = await ask({ action: 'unwrap', iv, boundTo: boundTo(context), bytes });
      const dataKey = Uint8Array.from(opened);
      opened.fill(0);
      return { dataKey };
    },

    async close() {
      end(running);
    },
  };
}

async function answerOf(
  running: Promise<Pkcs11Process>,
  request: Pkcs11Request,
  limit: AbortSignal,
): Promise<Pkcs11Answer> {
  try {
    const asked = running.then((process) => process.ask(request));
    return await unlessAborted(limit, asked);
  } catch {
    return { failure: { reason: limit.aborted ? 'timeout' : 'library_ended', at: '' } };
  }
}

/** The PIN, read anew for each call, or why there is none. */
function pinFrom(source: string, { folder, env }: Pick<Pkcs11Options, 'folder' | 'env'>): string | Pkcs11Failure {
  const [, scheme, target = ''] = /^(env|file):(.+)$/.exec(source) ?? [];
  const missing = (at: string) => ({ reason: 'pin_missing', at });
  if (scheme === 'env') return env[target] || missing(`the environment variable ${target} is not set`);
  const path = resolve(folder, target);
  try {
    const { mode } = statSync(path);
    if ((mode & 0o077) !== 0 && process.platform !== 'win32') return { reason: 'pin_exposed', at: path };
    return readTextFileSync(path, { maxBytes: limits.textFileBytes }).trim() || missing(`${path} is empty`);
  } catch (thrown) {
    return missing(`${path} cannot be read (${whyUnreadable(path, asCodedError(thrown))})`);
  }
}

const digestOf = (pin: string): string => createHash('sha256').update(pin).digest('hex');

function failed(id: string, action: string, { reason, at }: Pkcs11Failure): CodedError {
  const code: ErrorCode = refusals.includes(reason) ? 'keys_refused' : 'keys_unavailable';
  const words = found[reason]?.(at) ?? `it answered ${reason}${at === '' ? '' : ` to ${at}`}`;
  return new CodedError(code, `asking the token to ${action} with ${id}: ${words}`, {
    fields: { rootKey: id, reason, ...(code === 'keys_unavailable' && !(reason in remedies) && { remedy: again }) },
    remedies,
  });
}

function unreadable(id: string): CodedError {
  return new CodedError(
    'keys_unreadable',
    `unwrapping a data key with ${id}: it was changed, or wrapped by another root key or in another context`,
    { fields: { rootKey: id } },
  );
}
