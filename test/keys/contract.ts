import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { asCodedError } from '../../src/errors.ts';
import type { KeyContext, RootKey } from '../../src/keys/root-key.ts';

export interface RootKeysUnderTest {
  readonly rootKey: RootKey;
  /** Another root key of the same service. */
  readonly other: RootKey;
  /** From now on the service refuses to use `rootKey`. Called last. */
  refuse(): Promise<void>;
  dispose?(): Promise<void>;
}

export interface ContractOptions {
  /** How many random cases a property tries. */
  readonly runs?: number;
  /** Why the service says of damaged and foreign texts that they are refused, if it does so. */
  readonly damageIsRefused?: string;
}

/** The suite of the contract `RootKey`. */
export function rootKeyContract(
  kind: string,
  make: () => Promise<RootKeysUnderTest>,
  { runs = 50, damageIsRefused }: ContractOptions = {},
): void {
  describe(`the contract of a root key: ${kind}`, () => {
    let given: RootKeysUnderTest;
    beforeAll(async () => {
      given = await make();
    });
    afterAll(async () => {
      await given.rootKey.close();
      await given.other.close();
      await given.dispose?.();
    });

    const context: KeyContext = { tenant: 'crn:v1:one', dataKey: '1-9f3c02ab' };
    const codeOf = (work: Promise<unknown>) =>
      work.then(
        () => 'opened',
        (thrown: unknown) => asCodedError(thrown).code,
      );

    const foreign = damageIsRefused === undefined ? ['keys_unreadable'] : ['keys_unreadable', 'keys_refused'];

    it('has an id that begins with its kind, and is not that of another one', () => {
      expect(given.rootKey.id).toMatch(/^(file|aws-kms|key-protect|pkcs11):[\x21-\x7e]{8,400}$/);
      expect(given.other.id).not.toBe(given.rootKey.id);
    });

    it('opens what it wrapped, as often as it is asked, and leaves what it was given as it is', async () => {
      const { rootKey } = given;
      const dataKey = randomBytes(32);
      const before = dataKey.toString('hex');
      const wrapped = await rootKey.wrap(dataKey, context);
      expect(dataKey.toString('hex')).toBe(before);
      for (let turn = 0; turn < 2; turn += 1) {
        const opened = await rootKey.unwrap(wrapped, context);
        expect(Buffer.from(opened.dataKey).toString('hex')).toBe(before);
        expect(opened.renewed).toBeUndefined();
        // Memory of its own, so that wiping it wipes it and nothing else.
        expect(opened.dataKey.buffer.byteLength).toBe(32);
        opened.dataKey.fill(0);
      }
      expect(Buffer.from(wrapped, 'latin1').includes(dataKey)).toBe(false);
      expect(wrapped).not.toContain(dataKey.toString('base64').slice(0, 40));
    });

    it('never wraps to the same text twice', async () => {
      const dataKey = randomBytes(32);
      const texts = await Promise.all([1, 2, 3].map(() => given.rootKey.wrap(dataKey, context)));
      expect(new Set(texts).size).toBe(3);
    });

    it('takes the context in any order, and a value of 200 characters', async () => {
      const dataKey = randomBytes(32);
      const long = { dataKey: '1-9f3c02ab', tenant: 'x'.repeat(200) };
      const wrapped = await given.rootKey.wrap(dataKey, long);
      const { dataKey: opened } = await given.rootKey.unwrap(wrapped, { tenant: long.tenant, dataKey: long.dataKey });
      expect(Buffer.from(opened).equals(dataKey)).toBe(true);
    });

    it.each<readonly [string, KeyContext]>([
      ['another tenant', { ...context, tenant: 'crn:v1:two' }],
      ['another data key', { ...context, dataKey: '2-9f3c02ab' }],
      ['one value less', { tenant: 'crn:v1:one' }],
      ['one value more', { ...context, more: '1' }],
      ['its values exchanged', { tenant: '1-9f3c02ab', dataKey: 'crn:v1:one' }],
      ['nothing', {}],
    ])('does not open it for %s', async (_, elsewhere) => {
      const wrapped = await given.rootKey.wrap(randomBytes(32), context);
      expect(await codeOf(given.rootKey.unwrap(wrapped, elsewhere))).toBe('keys_unreadable');
      if (given.rootKey.rewrap) expect(await codeOf(given.rootKey.rewrap(wrapped, elsewhere))).toBe('keys_unreadable');
    });

    it('does not open what another root key wrapped', async () => {
      const wrapped = await given.other.wrap(randomBytes(32), context);
      expect(foreign).toContain(await codeOf(given.rootKey.unwrap(wrapped, context)));
      expect(await codeOf(given.other.unwrap(wrapped, context))).toBe('opened');
    });

    it('does not open what was changed or cut', async () => {
      const wrapped = await given.rootKey.wrap(randomBytes(32), context);
      await fc.assert(
        fc.asyncProperty(fc.nat(wrapped.length - 1), fc.integer({ min: 1, max: 127 }), async (at, change) => {
          const character = String.fromCharCode(wrapped.charCodeAt(at) ^ change);
          const changed = `${wrapped.slice(0, at)}${character}${wrapped.slice(at + 1)}`;
          for (const text of [changed, wrapped.slice(0, at)])
            expect(foreign, text).toContain(await codeOf(given.rootKey.unwrap(text, context)));
        }),
        { numRuns: runs },
      );
    });

    it.each(['', 'x', '1.', '{}', 'AAAA', '\u0000', 'A'.repeat(20_000)])('does not open %j', async (text) => {
      expect(await codeOf(given.rootKey.unwrap(text, context))).toBe('keys_unreadable');
    });

    it('rewraps, if it does so, to another text of the same data key', async () => {
      const { rootKey } = given;
      if (rootKey.rewrap === undefined) return;
      const dataKey = randomBytes(32);
      const wrapped = await rootKey.wrap(dataKey, context);
      const again = await rootKey.rewrap(wrapped, context);
      expect(again).not.toBe(wrapped);
      for (const text of [wrapped, again])
        expect(Buffer.from((await rootKey.unwrap(text, context)).dataKey).equals(dataKey)).toBe(true);
    });

    it('says that it is refused when it is, and nothing of the data key', async () => {
      const { rootKey, refuse } = given;
      const dataKey = randomBytes(32);
      const wrapped = await rootKey.wrap(dataKey, context);
      await refuse();
      for (const call of [() => rootKey.wrap(dataKey, context), () => rootKey.unwrap(wrapped, context)]) {
        const error = asCodedError(await call().catch((thrown: unknown) => thrown));
        expect(error).toMatchObject({ code: expect.stringMatching(/^keys_(refused|file_)/), entry: { status: 503 } });
        const shown = JSON.stringify([error.message, error.fields, error.stack, String(error.cause), error.cause]);
        for (const encoding of ['hex', 'base64', 'base64url'] as const)
          expect(shown).not.toContain(dataKey.toString(encoding).slice(0, 40));
      }
    });
  });
}
