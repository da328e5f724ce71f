import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { jsonMembers, parseJsonObject } from '../../src/sender/json.ts';

describe('parseJsonObject', () => {
  it('gives objects, and nothing for anything else', () => {
    expect(parseJsonObject(' {"a":[1]} ')).toEqual({ a: [1] });
    for (const text of ['', '[]', 'null', '1', '"{}"', '{', '{}x', '{a:1}', "{'a':1}", '{"a":1,}']) {
      expect(parseJsonObject(text)).toBeUndefined();
    }
  });
});

describe('jsonMembers', () => {
  it('gives repeated names and the spelling of values', () => {
    const text = '{ "a" : 1e2 , "a":"\\u0061" ,"b":{"a":[1,{"a":2}]}, "\\u0062\\"":[ ] , "":null}';
    expect(jsonMembers(text)).toEqual([
      { name: 'a', value: '1e2' },
      { name: 'a', value: '"\\u0061"' },
      { name: 'b', value: '{"a":[1,{"a":2}]}' },
      { name: 'b"', value: '[ ]' },
      { name: '', value: 'null' },
    ]);
    expect(jsonMembers(' {  } ')).toEqual([]);
  });

  it('reads what JSON.parse reads, whatever stands in names and values', () => {
    const name = fc.oneof(
      fc.string(),
      fc.string({ unit: fc.constantFrom('"', '\\', '{', '}', '[', ']', ':', ',', ' ') }),
    );
    const spaces = fc.constantFrom(undefined, 1, '\t', '\n');
    fc.assert(
      fc.property(fc.array(fc.tuple(name, fc.jsonValue())), spaces, (pairs, indent) => {
        const spell = (value: unknown) => JSON.stringify(value, undefined, indent);
        const text = `{${pairs.map(([key, value]) => `${spell(key)} : ${spell(value)}`).join(' , ')}}`;
        const read = jsonMembers(text).map(({ name, value }) => [name, JSON.parse(value)]);
        expect(read).toEqual(pairs.map(([key, value]) => [key, JSON.parse(spell(value))]));
      }),
    );
  });
});
