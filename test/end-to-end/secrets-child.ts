import { createPrivateKey } from 'node:crypto';
import { appendFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { inspect } from 'node:util';
import { setFlagsFromString, writeHeapSnapshot } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { jsonLog } from '../../src/log.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { overwriteFreedMemory } from '../../src/secret.ts';
import { answerCalls } from '../support/roles.ts';
import { type RunningProgram, startProgram } from './program.ts';

// The program whose secrets are looked for, in a process of its own: in here nothing but the
// program has seen a key.

export interface SecretsOptions {
  readonly primaryUrl: string;
  readonly backupUrl: string;
  readonly apiKey: string;
  readonly path: string;
  readonly logFile: string;
  /**
   * Gets everything that is handed from one part of the program to another, or to whoever watches
   * it.
   */
  readonly messagesFile: string;
}

/** What the control keeps, so that the search must find it. */
const spilt: unknown[] = [];

export function secretsHandlers() {
  let running: RunningProgram | undefined;
  let logFile = '';
  const program = () => {
    if (running === undefined) throw new Error('not started');
    return running.program;
  };

  return {
    /** Answers the callback URL. */
    async start(options: SecretsOptions): Promise<string> {
      overwriteFreedMemory();
      logFile = options.logFile;
      const append = (file: string) => (text: string) => appendFileSync(file, text);
      const message = append(options.messagesFile);
      const tell = (what: string, value: unknown) =>
        message(`${what} ${JSON.stringify(value)}\n${inspect(value, { depth: 20, showHidden: true })}\n`);
      running = await startProgram({
        primaryUrl: options.primaryUrl,
        backupUrl: options.backupUrl,
        apiKey: options.apiKey,
        path: options.path,
        log: jsonLog({ least: 'debug', now: runtime.now, write: append(logFile) }),
        observer: {
          acknowledged: (link, event, answer) => tell('acknowledged', { link, event, answer }),
          passed: (report) => tell('passed', report),
        },
      });
      const { dispatch } = program();
      const original = dispatch.dispatch;
      dispatch.dispatch = (wakes, how) => {
        tell('dispatched', { wakes, how });
        return original(wakes, how);
      };
      return running.callbackUrl;
    },

    sweep: () => program().sweep(),
    async reconcile() {
      for (const link of program().links) await program().reconcile(link);
    },
    idle: () => program().dispatch.idle(),

    /** Whether nothing is left to do. */
    async quiet(): Promise<boolean> {
      for (const link of program().links)
        for await (const { requested, replicated, wakeAt, leaseUntil } of program().records(link))
          if (requested > replicated || wakeAt !== undefined || leaseUntil !== undefined) return false;
      return true;
    },

    /** Forgets what nobody holds any more. */
    collect,

    /** Writes down everything that is still held. */
    snapshot(file: string) {
      writeHeapSnapshot(file);
    },

    /** The control: does with one key everything that must not be done. */
    async spill(certificate: string) {
      const reading = await program().stores.get('primary')?.read(certificate);
      const pem = reading?.state === 'present' ? reading.value.content.privateKey?.pem : undefined;
      if (pem === undefined) throw new Error('there is no key to spill');
      const text = pem.reveal();
      const der = Buffer.from(text.split('\n').slice(1, -2).join(''), 'base64');
      spilt.push(text, der, createPrivateKey(text));
      appendFileSync(logFile, `${JSON.stringify({ key: text })}\n`);
      writeFileSync(join(tmpdir(), 'spilt'), der);
    },

    stop: () => running?.close(),
  };
}

async function collect(): Promise<void> {
  setFlagsFromString('--expose-gc');
  const gc: (options: object) => void = runInNewContext('gc');
  for (let time = 0; time < 4; time += 1) {
    gc({ type: 'major', execution: 'sync', flavor: 'last-resort' });
    await wait(20);
  }
}

answerCalls(secretsHandlers());
