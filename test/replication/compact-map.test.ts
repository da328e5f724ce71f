import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compactMap } from '../../src/replication/compact-map.ts';

describe('a compact map', () => {
  it('holds what a map holds, in the order in which keys came, whatever the texts', () => {
    const texts = fc.string({ unit: 'grapheme', maxLength: 12 });
    fc.assert(
      fc.property(fc.array(fc.tuple(texts, texts), { maxLength: 300 }), (entries) => {
        const map = compactMap();
        const model = new Map<string, string>();
        for (const [key, value] of entries) {
          map.set(key, value);
          model.set(key, value);
        }
        expect(map.size).toBe(model.size);
        expect([...map.keys()]).toEqual([...model.keys()]);
        for (const [key, value] of model) expect(map.get(key)).toBe(value);
        expect(map.get('a key that nobody made up')).toBeUndefined();
      }),
    );
  });

  it('holds many, and texts longer than its blocks', () => {
    const map = compactMap();
    const long = 'x'.repeat(600_000);
    map.set('long', long);
    for (let number = 0; number < 5_000; number += 1) map.set(`key ${number}`, `value ${number}`);
    map.set('long', `${long}y`);
    expect(map.size).toBe(5_001);
    expect(map.get('long')).toBe(`${long}y`);
    expect(map.get('key 4999')).toBe('value 4999');
    expect(map.get('key 5000')).toBeUndefined();
  });

  it('knows which keys were ticked', () => {
    const map = compactMap();
    for (const key of ['a', 'b', 'c']) map.set(key, '');
    expect(map.tick('b')).toBe(true);
    expect(map.tick('d')).toBe(false);
    expect([...map.unticked()]).toEqual(['a', 'c']);
    map.set('b', 'changed');
    expect([...map.unticked()]).toEqual(['a', 'c']);
  });
});
