import { expect, test } from 'vitest';
import * as z from 'zod/mini';
import { configFileSchema } from '../src/config.ts';

/** The file that editors use. Made anew by `npx vitest run --project main -u test/config-schema.test.ts`. */
test('certstandby.schema.json is what the configuration schema says', async () => {
  const schema = z.toJSONSchema(configFileSchema, { io: 'input' });
  await expect(`${JSON.stringify({ title: 'certstandby.yaml', ...schema }, undefined, 2)}\n`).toMatchFileSnapshot(
    '../certstandby.schema.json',
  );
});
