import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { makeSigner } from '../support/notifications.ts';
import { type Callee, type LoadFigures, runLoad } from './load.ts';
import { productHandlers } from './product.ts';
import { serverHandlers } from './servers.ts';

const certificates = 10;
const renewals = 8;
const speed = 20;

type Handlers = Readonly<Record<string, (argument: never) => unknown>>;

/** The same calls without a process between. */
const here = <H extends Handlers>(handlers: H) =>
  ({ call: async (name: string, argument: never) => handlers[name]?.(argument) }) as unknown as Callee<H>;

let folder: string;
let figures: LoadFigures;
beforeAll(async () => {
  folder = await mkdtemp(join(tmpdir(), 'certstandby-load-'));
  const [servers, product] = [here(serverHandlers()), here(productHandlers())];
  try {
    figures = await runLoad({
      servers,
      product,
      signer: makeSigner(),
      folder,
      notifications: 300,
      certificates,
      renewals,
      connections: 8,
      speed,
      patienceMs: 30_000,
    });
  } finally {
    await product.call('stop');
    await servers.call('stop');
  }
});
afterAll(() => rm(folder, { recursive: true, force: true }));

test('every notification of a flood is acknowledged', () => {
  expect(figures.answers).toEqual({ 202: 300 });
});

test('in the end each certificate has one copy, of its newest content, and nothing is left to do', () => {
  expect(figures).toMatchObject({ equal: certificates, copies: certificates, equalAfterMs: expect.any(Number) });
});

test('what is asked of the backup is what its limits and the changes allow, not what arrived', () => {
  const { backup } = figures.requests;
  const minutes = ((figures.floodMs + (figures.equalAfterMs ?? 0)) * speed) / 60_000;
  const { 'reimport 200': done = 0, 'reimport 429': limited = 0 } = backup;
  expect(done).toBeGreaterThanOrEqual(certificates);
  expect(done).toBeLessThanOrEqual(certificates * renewals);
  expect(done + limited).toBeLessThanOrEqual(certificates * 5 * Math.ceil(minutes + 1));
  expect(backup['import 200']).toBeUndefined();
});
