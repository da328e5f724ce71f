import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { asCodedError } from '../../src/errors.ts';
import { keyOfRecoveryText, recoveryTextOf } from '../../src/keys/file-recovery.ts';
import { Secret } from '../../src/secret.ts';

const keys = fc.uint8Array({ minLength: 32, maxLength: 32 });
const read = (text: string) => keyOfRecoveryText(new Secret(text));

function errorOf(text: string) {
  try {
    read(text);
  } catch (thrown) {
    return asCodedError(thrown);
  }
  throw new Error('it was read');
}

describe('a recovery text', () => {
  it('gives back its key', () => {
    fc.assert(
      fc.property(keys, (key) => {
        expect(read(recoveryTextOf(key).reveal())).toEqual(key);
      }),
    );
  });

  it('may be typed as people type', () => {
    fc.assert(
      fc.property(keys, (key) => {
        const text = recoveryTextOf(key).reveal();
        const typed = [
          text.toLowerCase(),
          text.replaceAll('-', ' '),
          text.replaceAll('-', ''),
          `  ${text.replace('-', '\n')}\n`,
          text.replaceAll('0', 'O').replaceAll('1', 'l'),
          text.replaceAll('0', 'o').replaceAll('1', 'I'),
        ];
        for (const each of typed) expect(read(each)).toEqual(key);
      }),
    );
  });

  it('with one character mistyped, or two exchanged, is refused, and not shown', () => {
    const digits = '0123456789ABCDEFGHJKMNPQRSTVWXYZ';
    fc.assert(
      fc.property(keys, fc.nat(55), fc.integer({ min: 1, max: 31 }), (key, at, by) => {
        const text = recoveryTextOf(key).reveal().replaceAll('-', '');
        const place = 3 + at;
        const digit = digits[(digits.indexOf(text[place] ?? '') + by) % 32] ?? '';
        const mistyped = text.slice(0, place) + digit + text.slice(place + 1);
        expect(errorOf(mistyped)).toMatchObject({ code: 'keys_recovery_text_wrong', fields: {} });
        expect(errorOf(mistyped).message).not.toContain(text.slice(3, 7));
      }),
    );
    fc.assert(
      fc.property(keys, fc.nat(54), (key, at) => {
        const text = recoveryTextOf(key).reveal().replaceAll('-', '');
        const [one = '', two = ''] = text.slice(3 + at, 5 + at);
        fc.pre(one !== two);
        const exchanged = text.slice(0, 3 + at) + two + one + text.slice(5 + at);
        expect(errorOf(exchanged).code).toBe('keys_recovery_text_wrong');
      }),
    );
  });

  const sound = recoveryTextOf(new Uint8Array(32)).reveal();

  it.each<readonly [string, string, RegExp]>([
    ['is empty', '', /does not begin with CS1/],
    ['is something else', 'correct horse battery staple', /does not begin with CS1/],
    ['is of a later version', sound.replace('CS1', 'CS2'), /of version 2, and this program knows 1/],
    ['has a character less', sound.slice(0, -1), /has 55 characters after CS1, not 56/],
    ['has a character more', `${sound}0`, /has 57 characters after CS1, not 56/],
    [
      'holds what no text holds',
      `${sound.slice(0, 9)}U${sound.slice(10)}`,
      /group 2 holds what no recovery text holds/,
    ],
  ])('that %s is refused with a reason', (_, text, message) => {
    expect(errorOf(text)).toMatchObject({ code: 'keys_recovery_text_wrong', message: expect.stringMatching(message) });
  });
});
