import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { includes, linkMistake, listedFacts } from '../../src/replication/link.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { memoryStore } from '../../src/store/memory.ts';

const named = (name: string, ...domains: string[]) => ({ name, domains });
const names = (...patterns: string[]) => ({ names: patterns, domains: [] });

describe('a link', () => {
  const backup = (id: string, givesKeys: boolean) =>
    memoryStore({ id, region: id, runtime: systemRuntime, abilities: { givesKeys } });
  const policy = { requireChain: false, onward: false };
  const [gives, keeps] = [backup('gives', true), backup('keeps', false)];

  it('is a mistake if nothing could be restored from any backup, unless it says that this is meant', () => {
    const name = 'shop';
    expect(linkMistake({ name, backups: [keeps, keeps], policy })).toMatchObject({
      code: 'configuration_invalid',
      message: expect.stringMatching(/^links\.shop: no backup gives private keys back.*policy\.restorable: false$/),
    });
    expect(linkMistake({ name, backups: [keeps, gives], policy })).toBeUndefined();
    expect(linkMistake({ name, backups: [keeps], policy: { ...policy, restorable: false } })).toBeUndefined();
    expect(linkMistake({ name, backups: [keeps], policy: { ...policy, restorable: true } })).toBeDefined();
  });
});

describe('a filter', () => {
  it('includes everything when it is empty', () => {
    expect(includes({ names: [], domains: [] }, named('anything'))).toBe(true);
  });

  it.each([
    ['shop', 'shop', true],
    ['SHOP', 'shop', true],
    ['shop', 'Shop', true],
    ['shop', 'shop2', false],
    ['shop', 'my shop', false],
    ['', '', true],
    ['', 'shop', false],
    ['*', '', true],
    ['*', 'anything at all', true],
    ['shop*', 'shop', true],
    ['shop*', 'shopping', true],
    ['*shop', 'my shop', true],
    ['*shop', 'my shops', false],
    ['*ho*', 'shop', true],
    ['s*p', 'sp', true],
    ['s*p', 's', false],
    ['ab*ba', 'aba', false],
    ['ab*ba', 'abba', true],
    ['a*b*c', 'a--b--c', true],
    ['a*b*c', 'a--c--b', false],
    ['a*bc*c', 'abc', false],
    ['a**c', 'abc', true],
    ['a.c', 'abc', false],
    ['a?c', 'abc', false],
    ['*.example.test', 'www.example.test', true],
    ['*.example.test', 'example.test', false],
    ['*.example.test', '*.example.test', true],
  ])('with the name pattern "%s" says of "%s": %s', (pattern, name, expected) => {
    expect(includes(names(pattern), named(name))).toBe(expected);
  });

  it('includes what one of its patterns fits', () => {
    expect(includes(names('shop', 'api'), named('api'))).toBe(true);
    expect(includes(names('shop', 'api'), named('web'))).toBe(false);
  });

  it('includes what has one domain that fits', () => {
    const filter = { names: [], domains: ['*.shop.test'] };
    expect(includes(filter, named('x', 'other.test', 'www.shop.test'))).toBe(true);
    expect(includes(filter, named('x', 'other.test'))).toBe(false);
    expect(includes(filter, named('x'))).toBe(false);
  });

  it('includes what nobody knows the domains of yet, unless its name is none of those meant', () => {
    const filter = { names: ['shop'], domains: ['*.shop.test'] };
    expect(includes(filter, { ...named('shop'), domainsUnknown: true })).toBe(true);
    expect(includes(filter, { ...named('web'), domainsUnknown: true })).toBe(false);
  });

  it('wants both a name and a domain where it gives patterns for both', () => {
    const filter = { names: ['shop'], domains: ['*.test'] };
    expect(includes(filter, named('shop', 'a.test'))).toBe(true);
    expect(includes(filter, named('shop', 'a.example'))).toBe(false);
    expect(includes(filter, named('web', 'a.test'))).toBe(false);
  });

  it('agrees with a plain model', () => {
    const text = fc.array(fc.constantFrom('a', 'b', 'B'), { maxLength: 8 }).map((letters) => letters.join(''));
    const pattern = fc.array(fc.constantFrom('a', 'b', '*'), { maxLength: 6 }).map((letters) => letters.join(''));
    fc.assert(
      fc.property(pattern, text, (given, name) => {
        expect(includes(names(given), named(name))).toBe(fits([...given], [...name.toLowerCase()]));
      }),
      { numRuns: 2_000 },
    );
  });

  it('takes no longer than its texts are long', () => {
    const pattern = `${'a*'.repeat(50)}b`;
    expect(includes(names(pattern), named('a'.repeat(100_000)))).toBe(false);
  });
});

/** What a pattern means, letter by letter. */
function fits(pattern: readonly string[], text: readonly string[]): boolean {
  const [first, ...rest] = pattern;
  if (first === undefined) return text.length === 0;
  if (first === '*') return fits(rest, text) || (text.length > 0 && fits(pattern, text.slice(1)));
  return text[0] === first && fits(rest, text.slice(1));
}

describe('what a listing tells of a version', () => {
  it('is serial and dates, with room for what is not said', () => {
    const metadata = { id: 'x', name: 'n', description: '', tags: [], domains: [] };
    expect(listedFacts({ ...metadata, serial: 'ab', notBefore: 1, notAfter: 2 })).toBe('ab|1|2');
    expect(listedFacts({ ...metadata, notAfter: 2 })).toBe('||2');
    expect(listedFacts(metadata)).toBe('||');
  });
});
