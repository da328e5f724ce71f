import { fork } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';

/**
 * The library of an HSM's maker is native code that may hang, crash, or not see a token that came
 * back: it runs in a process of its own, which can be ended and begun anew. This module is both
 * sides: the one that asks, and what the process runs. It is therefore imported by `import()`
 * alone, so that the build gives it a file of its own that loads nothing else.
 */

/** Which key of which token, and where the library is. */
export interface Pkcs11Place {
  readonly modulePath: string;
  readonly token?: string;
  readonly serial?: string;
  readonly object?: string;
  readonly keyId?: string;
}

/** One call: AES-GCM with a tag of 128 bits. */
export interface Pkcs11Request {
  readonly action: 'wrap' | 'unwrap';
  readonly place: Pkcs11Place;
  readonly pin: string;
  readonly iv: Uint8Array;
  readonly boundTo: Uint8Array;
  /** What is encrypted, or decrypted. */
  readonly bytes: Uint8Array;
}

/**
 * Why there is nothing: the name of an answer of the library (`CKR_…`), or one of ours; in which
 * function; nothing of PIN or keys.
 */
export interface Pkcs11Failure {
  readonly reason: string;
  readonly at: string;
}

export type Pkcs11Answer = { readonly bytes: Uint8Array } | { readonly failure: Pkcs11Failure };

export interface Pkcs11Process {
  /** Rejects when the process ends before it has answered. */
  ask(request: Pkcs11Request): Promise<Pkcs11Answer>;
  /** Ends it, whatever it does. */
  end(): void;
}

const role = 'certstandby-pkcs11';

/** Starts a process. `env` is what the library may want: makers find their settings there. */
export function startPkcs11(env: Readonly<Record<string, string | undefined>>): Pkcs11Process {
  const child = fork(fileURLToPath(import.meta.url), [role], {
    env: { ...env },
    serialization: 'advanced',
    stdio: ['ignore', 'ignore', 'ignore', 'ipc'],
  });
  const waiting = new Map<number, { resolve(answer: Pkcs11Answer): void; reject(why: Error): void }>();
  let asked = 0;
  let ended: Error | undefined;
  /** It keeps the program from ending as long as somebody waits for it, and no longer. */
  const hold = () => {
    const held = waiting.size > 0 ? 'ref' : 'unref';
    child[held]();
    child.channel?.[held]();
  };
  hold();
  const end = (why: string) => {
    ended ??= new Error(why);
    for (const { reject } of waiting.values()) reject(ended);
    waiting.clear();
    hold();
  };
  child.on('message', ({ id, answer }: { readonly id: number; readonly answer: Pkcs11Answer }) => {
    waiting.get(id)?.resolve(answer);
    waiting.delete(id);
    hold();
  });
  child.on('error', ({ message }) => end(message));
  child.on('exit', (code, signal) => end(`it ended (${signal ?? code})`));
  return {
    ask: (request) =>
      new Promise((resolve, reject) => {
        if (ended !== undefined) return reject(ended);
        asked += 1;
        waiting.set(asked, { resolve, reject });
        hold();
        child.send({ id: asked, request }, (error) => error && end(error.message));
      }),
    end() {
      end('it was ended');
      child.kill('SIGKILL');
    },
  };
}

/** What is used of the package `pkcs11js`. */
interface Library {
  load(path: string): void;
  C_Initialize(): void;
  C_GetSlotList(tokenPresent: boolean): readonly Buffer[];
  C_GetTokenInfo(slot: Buffer): { readonly label: string; readonly serialNumber: string; readonly flags: number };
  C_OpenSession(slot: Buffer, flags: number): Buffer;
  C_Login(session: Buffer, user: number, pin: string): void;
  C_FindObjectsInit(session: Buffer, template: readonly Attribute[]): void;
  C_FindObjects(session: Buffer, most: number): readonly Buffer[];
  C_FindObjectsFinal(session: Buffer): void;
  C_GetAttributeValue(
    session: Buffer,
    object: Buffer,
    template: readonly Attribute[],
  ): readonly { readonly value: Buffer }[];
  C_EncryptInit(session: Buffer, mechanism: object, key: Buffer): void;
  C_Encrypt(session: Buffer, bytes: Buffer, room: Buffer): Buffer;
  C_DecryptInit(session: Buffer, mechanism: object, key: Buffer): void;
  C_Decrypt(session: Buffer, bytes: Buffer, room: Buffer): Buffer;
}

interface Attribute {
  readonly type: number;
  readonly value?: number | string | boolean | Buffer;
}

/** A session in which the key was found. */
interface Opened {
  readonly library: Library;
  readonly session: Buffer;
  readonly key: Buffer;
}

/** Ends a call with one of our own reasons. */
class Refusal extends Error {
  readonly at: string;

  constructor(reason: string, at = '') {
    super(reason);
    this.at = at;
  }
}

// PKCS #11 Cryptographic Token Interface Base Specification 2.40, appendix B: values that never
// change.
const ckf = { serialSession: 0x4, loginRequired: 0x4 };
const cko = { secretKey: 0x4 };
const ckk = { aes: 0x1f };
const cka = {
  class: 0x0,
  label: 0x3,
  keyType: 0x100,
  id: 0x102,
  encrypt: 0x104,
  decrypt: 0x105,
  extractable: 0x162,
};
const ckm = { aesGcm: 0x1087 };
const userType = 1;
const tagBits = 128;
const tagBytes = tagBits / 8;

/** Takes the token, logs in, and finds the key. */
function open({ modulePath, token, serial, object, keyId }: Pkcs11Place, pin: string): Opened {
  const library = loaded(modulePath);
  library.C_Initialize();
  let unread: unknown;
  const fitting = library.C_GetSlotList(true).flatMap((slot) => {
    try {
      const info = library.C_GetTokenInfo(slot);
      const isNamed = (found: string, wanted: string | undefined) => wanted === undefined || found.trimEnd() === wanted;
      return isNamed(info.label, token) && isNamed(info.serialNumber, serial) ? [{ slot, info }] : [];
    } catch (thrown) {
      // Another token than the wanted one may fail as it likes; but it may have been that one.
      unread = thrown;
      return [];
    }
  });
  const [taken, ...others] = fitting;
  if (taken === undefined) throw unread ?? new Refusal('token_absent');
  if (others.length > 0) throw new Refusal('token_ambiguous');
  const session = library.C_OpenSession(taken.slot, ckf.serialSession);
  if ((taken.info.flags & ckf.loginRequired) !== 0) library.C_Login(session, userType, pin);
  library.C_FindObjectsInit(session, [
    { type: cka.class, value: cko.secretKey },
    { type: cka.keyType, value: ckk.aes },
    ...(object === undefined ? [] : [{ type: cka.label, value: object }]),
    ...(keyId === undefined ? [] : [{ type: cka.id, value: Buffer.from(keyId, 'hex') }]),
  ]);
  const [key, ...more] = library.C_FindObjects(session, 2);
  library.C_FindObjectsFinal(session);
  if (key === undefined) throw new Refusal('key_missing');
  if (more.length > 0) throw new Refusal('key_ambiguous');
  const wanted = [cka.encrypt, cka.decrypt, cka.extractable].map((type) => ({ type }));
  const [mayEncrypt, mayDecrypt, extractable] = library
    .C_GetAttributeValue(session, key, wanted)
    .map(({ value }) => value[0] === 1);
  if (!(mayEncrypt && mayDecrypt)) throw new Refusal('key_not_for_this');
  // What is not extractable is neither read nor wrapped by another key (sections 4.4 and 5.14).
  if (extractable) throw new Refusal('key_may_leave');
  return { library, session, key };
}

function loaded(modulePath: string): Library {
  let made: Library;
  try {
    // Looked for when it is wanted: it is compiled on the machines alone that have an HSM.
    const { PKCS11 } = createRequire(import.meta.url)('pkcs11js') as { readonly PKCS11: new () => Library };
    made = new PKCS11();
  } catch {
    throw new Refusal('library_missing');
  }
  try {
    made.load(modulePath);
  } catch {
    throw new Refusal('module_unusable', modulePath);
  }
  return made;
}

function encrypt(
  { library, session, key }: Opened,
  { iv, boundTo, bytes }: Pick<Pkcs11Request, 'iv' | 'boundTo' | 'bytes'>,
) {
  library.C_EncryptInit(session, mechanism(iv, boundTo), key);
  return library.C_Encrypt(session, Buffer.from(bytes), Buffer.alloc(bytes.length + tagBytes));
}

function decrypt(
  { library, session, key }: Opened,
  { iv, boundTo, bytes }: Pick<Pkcs11Request, 'iv' | 'boundTo' | 'bytes'>,
) {
  library.C_DecryptInit(session, mechanism(iv, boundTo), key);
  return library.C_Decrypt(session, Buffer.from(bytes), Buffer.alloc(bytes.length + tagBytes));
}

const mechanism = (iv: Uint8Array, aad: Uint8Array) => ({
  mechanism: ckm.aesGcm,
  // CK_GCM_PARAMS as version 2.40 of the standard has them: the package calls that number
  // `CK_PARAMS_AES_GCM_v240`.
  parameter: { type: 7, iv: Buffer.from(iv), aad: Buffer.from(aad), ivBits: iv.length * 8, tagBits },
});

/**
 * Answers that say that what was given is at fault, and those that some tokens have for everything.
 */
const damaged = [
  'CKR_ENCRYPTED_DATA_INVALID',
  'CKR_ENCRYPTED_DATA_LEN_RANGE',
  'CKR_AEAD_DECRYPT_FAILED',
  'CKR_SIGNATURE_INVALID',
];
const vague = ['CKR_GENERAL_ERROR', 'CKR_FUNCTION_FAILED', 'CKR_DATA_INVALID', 'CKR_ARGUMENTS_BAD'];

/**
 * Decrypts, and tells what the token does not take from a token that fails: one that opens what it
 * has just wrapped works.
 */
function unwrap(opened: Opened, request: Pkcs11Request): Buffer {
  try {
    return decrypt(opened, request);
  } catch (thrown) {
    const { reason } = failureOf(thrown);
    if (damaged.includes(reason)) throw new Refusal('not_opened');
    if (!vague.includes(reason)) throw thrown;
    const { boundTo } = request;
    const iv = randomBytes(request.iv.length);
    const bytes = Buffer.from(encrypt(opened, { iv, boundTo, bytes: Buffer.alloc(32) }));
    if (decrypt(opened, { iv, boundTo, bytes }).equals(Buffer.alloc(32))) throw new Refusal('not_opened');
    throw thrown;
  }
}

/** `CKR_PIN_INCORRECT:160\n at PKCS11.C_Login (…)` is how the package says it. */
function failureOf(thrown: unknown): Pkcs11Failure {
  const { message = '', method = '' } = (thrown ?? {}) as { readonly message?: string; readonly method?: string };
  if (thrown instanceof Refusal) return { reason: message, at: thrown.at };
  const [reason] = /CKR_\w+/.exec(message) ?? ['unknown'];
  return { reason, at: /^C_\w+$/.test(method) ? method : '' };
}

/** What the process runs: it answers each request with one message. */
function serve(): void {
  let opened: Opened | undefined;
  process.on('message', ({ id, request }: { readonly id: number; readonly request: Pkcs11Request }) => {
    let answer: Pkcs11Answer;
    try {
      opened ??= open(request.place, request.pin);
      const bytes = request.action === 'wrap' ? encrypt(opened, request) : unwrap(opened, request);
      answer = { bytes };
    } catch (thrown) {
      answer = { failure: failureOf(thrown) };
    }
    process.send?.({ id, answer });
    request.bytes.fill(0);
    if ('bytes' in answer) answer.bytes.fill(0);
  });
  // Who started it ends it: a Ctrl-C in the same terminal is for that one.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => undefined);
  process.on('disconnect', () => process.exit(0));
}

if (process.argv[2] === role && process.send !== undefined) serve();
