import { test } from 'vitest';
import { moveThereAndBack } from './move.ts';

test('certificates of all kinds of keys go from Certificate Manager to Secrets Manager and back, equal, their ids mapped', () =>
  moveThereAndBack(8));
