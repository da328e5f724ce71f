import { test } from 'vitest';
import { moveThereAndBack } from '../end-to-end/move.ts';

test('two hundred certificates go from Certificate Manager to Secrets Manager and back', { timeout: 900_000 }, () =>
  moveThereAndBack(200),
);
