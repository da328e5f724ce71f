import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { delimiter, join } from 'node:path';
import { bundleScript } from '../support/child.ts';

export interface TypedPage {
  /** Where everything lies that the page puts somewhere. */
  readonly folder: string;
  /** The block of this name, as it is typed here. */
  block(name: string): string;
  /**
   * Types a block into one shell: what it exports holds for the next one. Answers what was printed;
   * throws, with that, unless it ended well.
   */
  type(name: string): Promise<string>;
  /** Any line, as somebody types it there. */
  run(line: string): Promise<string>;
  /** Makes a block the configuration. */
  configure(name: string): void;
  /** `certstandby serve`, until what is given back is called. */
  serve(): Promise<() => Promise<void>>;
  close(): Promise<void>;
}

/** What a test says beside a configuration, which a person has no reason to. */
const more = 'receiver: { port: 0 }\nserve: { metrics: { port: 0 } }\nworker: { sweepEvery: 1s }\n';
/** A block that has not ended by then never will. */
const mostMs = 120_000;

/**
 * A page of docs/, and a shell in which its blocks are typed as they stand there. Paths below /etc
 * and /srv lie in a folder of the test; `here` says what else is another one here. `programs`: what
 * the shell runs under these names, beside `certstandby` itself.
 */
export async function openPage(
  page: string,
  given: {
    readonly programs?: Readonly<Record<string, string>>;
    readonly here?: (text: string) => string;
    readonly env?: Readonly<Record<string, string>>;
  } = {},
): Promise<TypedPage> {
  const { programs = {}, here = (text) => text, env = {} } = given;
  const text = readFileSync(new URL(`../../docs/${page}`, import.meta.url), 'utf8');
  const script = await bundleScript('src/cli/main.ts');
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-page-'));
  const bin = join(folder, 'bin');
  for (const name of ['bin', 'etc', 'srv']) mkdirSync(join(folder, name), { mode: 0o700 });
  const all = { certstandby: `"${process.execPath}" "${script.file}"`, ...programs };
  for (const [name, command] of Object.entries(all)) {
    writeFileSync(join(bin, name), `#!/bin/sh\nexec ${command} "$@"\n`);
    chmodSync(join(bin, name), 0o700);
  }
  const exported = join(folder, '.exported');
  const file = join(folder, 'certstandby.yaml');
  const environment = { ...process.env, HOME: folder, PATH: `${bin}${delimiter}${process.env.PATH}`, ...env };
  let serving: ChildProcess | undefined;

  function start(line: string): ChildProcess {
    const before = existsSync(exported) ? `. ${exported}\n` : '';
    return spawn('sh', ['-ec', `${before}${line}`], {
      cwd: folder,
      env: environment,
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  async function run(line: string): Promise<string> {
    const child = start(`${line}\nexport -p > ${exported}`);
    let said = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.setEncoding('utf8').on('data', (chunk: string) => {
        said += chunk;
      });
    const late = setTimeout(() => child.kill('SIGKILL'), mostMs);
    const [code] = await once(child, 'close');
    clearTimeout(late);
    if (code !== 0) throw new Error(`${line}\n${said}\n(exit ${code})`);
    return said;
  }

  function block(name: string): string {
    const found = new RegExp(`<!-- recipe-test: ${name} -->\n\\s*\`\`\`\\w+\n([\\s\\S]*?)\`\`\``).exec(text)?.[1];
    if (found === undefined) throw new Error(`docs/${page} has no block "${name}"`);
    return here(found.replaceAll(/(?<![\w.])\/(etc|srv)\//g, `${folder}/$1/`));
  }

  async function stop(): Promise<void> {
    if (serving === undefined || serving.exitCode !== null || serving.signalCode !== null) return;
    const ended = once(serving, 'close');
    serving.kill('SIGTERM');
    await ended;
  }

  return {
    folder,
    block,
    run,
    async type(name) {
      const said = await run(block(name));
      console.info(`docs/${page}, ${name}:\n${said}`);
      return said;
    },
    configure: (name) => writeFileSync(file, `${block(name)}${more}`),
    async serve() {
      const child = start('exec certstandby serve');
      serving = child;
      let said = '';
      await new Promise<void>((resolve, reject) => {
        for (const stream of [child.stdout, child.stderr])
          stream?.setEncoding('utf8').on('data', (chunk: string) => {
            said += chunk;
            if (said.includes('"serving"')) resolve();
          });
        child.once('close', (code) => reject(new Error(`serve ended with ${code}:\n${said}`)));
      });
      return stop;
    },
    async close() {
      await stop();
      await script.dispose();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}
