import fc from 'fast-check';
import type { Change, Condition, Value } from '../../src/table/table.ts';

/**
 * Names that trip up engines: words that DynamoDB reserves, dots, what looks like a placeholder.
 */
const names = ['count', 'status', 'wakeAt', 'a.b', '#n0', 'name'] as const;

/**
 * Sort keys whose order by UTF-8 differs from the order by UTF-16, that begin with one another, and
 * that hold control characters.
 */
export const sorts = [
  'a',
  'a\u0000',
  'aa',
  'a/b',
  'é',
  '\u{e000}',
  '\u{ffee}',
  '\u{1f600}',
  '\u{1f600}z',
  'z',
] as const;

const number = fc.oneof(
  fc.integer({ min: -5, max: 5 }),
  fc.maxSafeInteger(),
  fc.double({ min: -1e100, max: 1e100, noNaN: true }).map((value) => (Math.abs(value) < 1e-100 ? 0 : value)),
);

const text = fc.oneof(
  fc.constantFrom('', 'x', '\u{ffee}', '\u{1f600}', 'null', '\u0000'),
  fc.string({ unit: 'binary' }),
);

const scalar: fc.Arbitrary<string | number | boolean | null> = fc.oneof(number, text, fc.boolean(), fc.constant(null));

/** Any value that a field may hold. */
export const value: fc.Arbitrary<Value> = fc.letrec<{ value: Value }>((tie) => ({
  value: fc.oneof(
    { maxDepth: 4, depthSize: 'small', withCrossShrink: true },
    scalar,
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(
      fc.oneof(
        fc.constantFrom(...names),
        fc.string({ minLength: 1, unit: 'binary' }).filter((any) => any !== '__proto__'),
      ),
      tie('value'),
      {
        maxKeys: 4,
        noNullPrototype: true,
      },
    ),
  ),
})).value;

const small = fc.integer({ min: -3, max: 3 });
/**
 * Sums are the same everywhere for whole numbers only, so the fields that are added to hold no
 * others.
 */
const notNumber = value.filter((any) => typeof any !== 'number');
const name = fc.constantFrom(...names);
const operator = fc.constantFrom('=', '<', '<=', '>', '>=' as const);

function distinct<Item>(items: readonly Item[]): readonly Item[] {
  return [...new Set(items)];
}

/** Each name goes to one of the three parts of the change. */
const change: fc.Arbitrary<Change> = fc
  .array(fc.tuple(name, fc.constantFrom('set', 'add', 'remove' as const), small, fc.oneof(small, notNumber)), {
    maxLength: 5,
  })
  .map((parts) => {
    const last = distinct(parts.map(([of]) => of)).map(
      (of) => parts.findLast(([other]) => other === of) as (typeof parts)[0],
    );
    const entries = <Inner>(kind: string, inner: (part: (typeof parts)[0]) => Inner) =>
      Object.fromEntries(last.filter(([, how]) => how === kind).map((part) => [part[0], inner(part)]));
    return {
      set: entries('set', ([of, , amount, any]) => (of === 'wakeAt' ? amount : any)),
      add: entries('add', ([, , amount]) => amount),
      remove: Object.keys(entries('remove', () => true)),
    };
  });

const comparison: fc.Arbitrary<Condition> = fc
  .tuple(
    name,
    operator,
    fc.oneof(
      small,
      text,
      fc.boolean(),
      name.map((fieldOf) => ({ fieldOf })),
    ),
  )
  .filter(([field, , to]) => typeof to !== 'object' || to.fieldOf !== field)
  .map(([field, is, to]) => ({ field, is, to }) as Condition);

const condition: fc.Arbitrary<Condition> = fc.letrec<{ condition: Condition }>((tie) => ({
  condition: fc.oneof(
    { maxDepth: 2, depthSize: 'small' },
    comparison,
    name.map((exists): Condition => ({ exists })),
    fc.constantFrom(...names, 'partition').map((absent): Condition => ({ absent })),
    fc.array(tie('condition'), { maxLength: 3 }).map((all): Condition => ({ all })),
    fc.array(tie('condition'), { maxLength: 3 }).map((any): Condition => ({ any })),
  ),
})).condition;

export type Operation =
  | {
      readonly does: 'update';
      readonly sort: string;
      readonly change: Change;
      readonly condition: Condition | undefined;
    }
  | { readonly does: 'put'; readonly sort: string; readonly fields: Readonly<Record<string, Value>> }
  | { readonly does: 'delete'; readonly sort: string; readonly condition: Condition | undefined };

const sort = fc.constantFrom(...sorts);
const maybe = fc.option(condition, { nil: undefined });

export const operation: fc.Arbitrary<Operation> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ does: fc.constant('update' as const), sort, change, condition: maybe }) },
  {
    weight: 1,
    arbitrary: fc.record({ does: fc.constant('put' as const), sort, fields: change.map((given) => given.set ?? {}) }),
  },
  { weight: 1, arbitrary: fc.record({ does: fc.constant('delete' as const), sort, condition: maybe }) },
);
