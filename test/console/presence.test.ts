import { expect, test } from 'vitest';
import { serveConsole } from '../../src/cli/console-listener.ts';
import { consolePresence } from '../../src/console/presence.ts';
import type { ConsoleServer } from '../../src/console/server.ts';
import { CodedError } from '../../src/errors.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { virtualTime } from '../simulation/virtual-time.ts';
import { setup, startMs } from '../support/replication.ts';
import { consoleOf } from './world.ts';

test('a console is served where its process has said so of late, and not after it has left', async () => {
  const clock = { now: startMs };
  const presence = consolePresence(memoryTable(), () => clock.now);
  expect(await presence.isServed(9_480)).toBe(false);
  await presence.note(9_480);
  expect([await presence.isServed(9_480), await presence.isServed(9_481)]).toEqual([true, false]);
  clock.now += 180_000;
  expect(await presence.isServed(9_480)).toBe(false);

  const made = await consoleOf(await setup());
  expect(await made.presence.isServed(made.server.port)).toBe(true);
  await made.server.close();
  expect(await made.presence.isServed(made.server.port)).toBe(false);
});

test('a port that is taken keeps the console from being served until it is free, and nothing else', async () => {
  const time = virtualTime(startMs, () => 0);
  const runtime = { ...time, newId: () => '' };
  const logged: string[] = [];
  const log = (_level: string, event: string) => void logged.push(event);
  const state = { isTaken: true, tries: 0, closed: 0 };
  const start = async (): Promise<ConsoleServer> => {
    state.tries += 1;
    if (state.isTaken) throw new CodedError('configuration_invalid', 'the port is taken');
    const close = async () => {
      state.closed += 1;
    };
    return { url: 'http://127.0.0.1:9480', port: 9_480, close };
  };
  const later = () => time.runUntil(time.now() + 60_000, 1_000);
  const served = await serveConsole(start, { runtime, log });
  expect(served.url).toBeUndefined();
  await later();
  state.isTaken = false;
  await later();
  await later();
  expect([state.tries, logged]).toEqual([3, ['console_not_served', 'console_served']]);
  await served.close();
  expect(state.closed).toBe(1);
});
