import * as z from 'zod/mini';

/**
 * A schema that takes `value` in the place of what does not fit: for what others may say wrongly
 * without harm. It is what `z.catch` makes, which would bring all of zod's utilities along: 11 KiB
 * that a function loads before it answers.
 */
export function otherwise<S extends z.core.$ZodType>(schema: S, value: z.core.output<S>): z.ZodMiniCatch<S> {
  const made = new z.ZodMiniCatch({ type: 'catch', innerType: schema, catchValue: () => value });
  return made as z.ZodMiniCatch<S>;
}
