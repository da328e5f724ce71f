import { expect, test } from 'vitest';
import { checkTransport } from '../../src/cli/transport.ts';
import type { Config } from '../../src/config.ts';

const metrics = { host: '127.0.0.1', port: 0 };
const configFor = (host: string, serve?: Partial<NonNullable<Config['serve']>>) =>
  ({
    receiver: { host, port: 1 },
    ...(serve && { serve: { behindProxy: false, metrics, stopWithinMs: 1, ...serve } }),
  }) as Config;

test.each(['127.0.0.1', '127.9.9.9', '::1', 'localhost'])('plain HTTP is right on %s', (host) => {
  expect(() => checkTransport(configFor(host))).not.toThrow();
});

test.each(['0.0.0.0', '::', '10.0.0.1', '::ffff:10.0.0.1', 'localhost.example.com', ''])(
  'plain HTTP on "%s" takes a word that something in front ends TLS',
  (host) => {
    expect(() => checkTransport(configFor(host))).toThrow(`the receiver would speak plain HTTP on ${host}`);
    expect(() => checkTransport(configFor(host, {}))).toThrow('plain HTTP');
    expect(() => checkTransport(configFor(host, { behindProxy: true }))).not.toThrow();
    expect(() => checkTransport(configFor(host, { tls: { certificate: 'c', key: 'k' } }))).not.toThrow();
  },
);
