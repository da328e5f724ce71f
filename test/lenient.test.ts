import { expect, it } from 'vitest';
import * as z from 'zod/mini';
import { otherwise } from '../src/lenient.ts';

/** What zod makes itself: `otherwise` must be the same, whatever is given. */
const schemas = {
  ours: z.object({ word: otherwise(z.optional(z.string()), undefined), number: otherwise(z.number(), 7) }),
  zods: z.object({ word: z.catch(z.optional(z.string()), undefined), number: z.catch(z.number(), 7) }),
};

it.each([
  ['what fits', { word: 'one', number: 1 }],
  ['what does not fit', { word: 1, number: 'one' }],
  ['what is absent', {}],
  ['what is null', { word: null, number: null }],
])('%s is taken as zod takes it with catch', (_, given) => {
  expect(schemas.ours.parse(given)).toStrictEqual(schemas.zods.parse(given));
});

it('what does not fit is replaced by the value, and nothing else is', () => {
  expect(schemas.ours.parse({ word: 1, number: 'one' })).toStrictEqual({ word: undefined, number: 7 });
  expect(schemas.ours.parse({ word: 'one', number: 1 })).toStrictEqual({ word: 'one', number: 1 });
});
