import { expect, test } from 'vitest';
import { isLoopback } from '../../src/http/loopback.ts';

test.each(['localhost', '127.0.0.1', '127.255.255.254', '::1', '[::1]', '0:0:0:0:0:0:0:1', '::ffff:127.0.0.1'])(
  '%s is this machine',
  (host) => expect(isLoopback(host)).toBe(true),
);

test.each([
  '',
  '0.0.0.0',
  '::',
  '126.255.255.255',
  '128.0.0.1',
  '10.0.0.1',
  '::2',
  '127.0.0.1.example.com',
  'localhost.example.com',
  '127.1',
])('%s is not, or not for certain', (host) => expect(isLoopback(host)).toBe(false));
