import { expect, test } from 'vitest';
import { configJsonSchema } from '../src/config.ts';

/**
 * The file that editors use. Made anew by
 * `npx vitest run --project main test/config-schema.test.ts -u`.
 */
test('certstandby.schema.json is what the settings say, in words too', async () => {
  await expect(`${JSON.stringify(configJsonSchema(), undefined, 2)}\n`).toMatchFileSnapshot(
    '../certstandby.schema.json',
  );
});
