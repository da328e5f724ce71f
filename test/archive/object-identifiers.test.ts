import { expect, test } from 'vitest';
import { withNames } from '../../src/archive/object-identifiers.ts';

test.each([
  ['the key derivation 1.3.6.1.4.1.11591.4.11', 'the key derivation scrypt (1.3.6.1.4.1.11591.4.11)'],
  ['the cipher 2.16.840.1.101.3.4.1.46', 'the cipher AES-256 in GCM (2.16.840.1.101.3.4.1.46)'],
  ['the cipher 1.2.3.4.5', 'the cipher 1.2.3.4.5'],
  ['more than 10.5 MiB', 'more than 10.5 MiB'],
])('%s is told as %s', (text, told) => expect(withNames(text)).toBe(told));
