import { fork } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { root } from '../support/root.ts';

const runtime = join(root, 'test/functions/openwhisk-runtime.mjs');

export interface ActionOptions {
  /** The bundle: one CommonJS file. */
  readonly file: string;
  /** `/<namespace>/<package>/<action>` */
  readonly name: string;
  /** Where the action finds the platform's API. */
  readonly apiHost: string;
  readonly apiKey: string;
}

/**
 * A deployed action: its container begins with the first activation, and is warm until it is
 * killed.
 */
export interface ActionProcess {
  /** One activation: the whole result. Rejects when the process is killed in the middle. */
  run(parameters: object, timeoutMs?: number): Promise<Readonly<Record<string, unknown>>>;
  /** SIGKILL in the middle of whatever it does; the next activation finds a new container. */
  kill(): Promise<void>;
  /** Its clock goes ahead by so much from the next container on. */
  setClock(aheadMs: number): Promise<void>;
  /** What it has written, activation by activation. */
  readonly output: () => string;
}

export function actionProcess({ file, name, apiHost, apiKey }: ActionOptions): ActionProcess {
  let aheadMs = 0;
  let written = '';
  let running: { readonly child: ReturnType<typeof fork>; readonly url: Promise<string> } | undefined;

  function start() {
    const child = fork(runtime, {
      env: { __OW_API_HOST: apiHost, ACTION_CLOCK_AHEAD_MS: String(aheadMs) },
      execArgv: [],
      stdio: ['ignore', 'pipe', 'inherit', 'ipc'],
    });
    child.stdout?.setEncoding('utf8').on('data', (text: string) => {
      written += text;
    });
    child.once('exit', () => {
      if (running?.child === child) running = undefined;
    });
    const url = once(child, 'message').then(async ([{ port }]) => {
      const base = `http://127.0.0.1:${port}`;
      const code = await readFile(file, 'utf8');
      const { status, body } = await post(`${base}/init`, {
        value: { name, main: 'main', code, binary: false, env: {} },
      });
      if (status !== 200) throw new Error(`/init answered ${status}: ${JSON.stringify(body)}`);
      return base;
    });
    running = { child, url };
    return running;
  }

  async function kill(): Promise<void> {
    const child = running?.child;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill('SIGKILL');
    await exited;
  }

  return {
    kill,
    output: () => written,
    async setClock(ahead) {
      aheadMs = ahead;
      await kill();
    },
    async run(value, timeoutMs = 300_000) {
      const { url } = running ?? start();
      const activation = {
        value,
        namespace: 'guest',
        action_name: name,
        api_host: apiHost,
        api_key: apiKey,
        activation_id: 'a'.repeat(32),
        transaction_id: 't',
        deadline: String(Date.now() + aheadMs + timeoutMs),
      };
      const { status, body } = await post(`${await url}/run`, activation);
      if (status !== 200) throw new Error(`/run answered ${status}: ${JSON.stringify(body)}`);
      return body;
    },
  };
}

async function post(url: string, message: object) {
  const response = await fetch(url, { method: 'POST', body: JSON.stringify(message) });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}
