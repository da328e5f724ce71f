import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { testCertificate } from '../support/certificates.ts';
import { runCommand, testHost } from '../support/command.ts';

// Names as an enemy would choose them, in every place that is not ours: nothing of them moves a
// terminal, in no command.

const evil = 'shop\u001b[2J\u009b31m\u202egnp\u2066\u200b\u{e0041}\u007f\r<img src=x>';
const evilFolder = `evil\u001b[31m\u202e${'x'.repeat(20)}`;

let folder: string;
let config: string;
beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-names-'));
  for (const name of ['primary', 'backup']) mkdirSync(join(folder, name), { mode: 0o700 });
  const { certificate, intermediate = '', privateKey } = await testCertificate({ domains: ['shop.example.test'] });
  const write = (at: string, name: string, privkey: string) => {
    mkdirSync(at, { mode: 0o700, recursive: true });
    writeFileSync(join(at, 'fullchain.pem'), certificate + intermediate);
    writeFileSync(join(at, 'privkey.pem'), privkey, { mode: 0o600 });
    const side = { format: 1, name, description: evil, tags: [] };
    writeFileSync(join(at, 'certstandby.json'), JSON.stringify(side));
  };
  write(join(folder, 'primary', 'good'), evil, privateKey.reveal());
  write(join(folder, 'primary', 'broken'), `${evil} broken`, 'no key');
  write(join(folder, 'archive', evilFolder), evil, privateKey.reveal());
  write(join(folder, 'damaged', evilFolder), evil, 'no key');
  config = join(folder, 'certstandby.yaml');
  const store = (name: string) =>
    `  ${name}: { kind: directory, path: "${join(folder, name)}", id: ${name}, quiet: 0s }\n`;
  writeFileSync(
    config,
    `version: 1\ntable: { kind: lmdb, path: "${join(folder, 'records')}" }\ndrill: { folder: "${join(folder, 'drills')}" }\n` +
      `stores:\n${store('primary')}${store('backup')}links:\n  main: { primary: primary, backups: [backup] }\n`,
  );
  writeFileSync(
    join(folder, 'wrong.yaml'),
    `version: 1\n"st\\e[31mores":\n  "a\\u202eb": { kind: "x\\e[2J" }\n"lin\\nks": 1\n`,
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const unseen = /[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u;

/** What reached a terminal, without line ends, colours and the bar of long work: those are ours. */
const ours = new RegExp(['\\n', '\u001b\\[(?:1|2|22|31|32|33|39)m', '\r\u001b\\[K'].join('|'), 'g');
const reached = (text: string) => text.replace(ours, '');

const at = (...args: string[]) => [...args, '--config', config];

/** In the order in which they run; some build on what those before have made. */
const commands = (): readonly (readonly [string[], ...string[]])[] => [
  [['reconcile', '--config', config, '--plan']],
  [at('reconcile', '--wait', '0')],
  [at('status')],
  [at('verify')],
  [at('events')],
  [at('doctor')],
  [at('drill')],
  [at('adopt', evil)],
  [at('adopt', evil, '--of', evil, '--backup', 'backup')],
  [at('download', '--from', 'primary', '--to', join(folder, `out${evilFolder}`), '--as', 'pem', '--unencrypted-keys')],
  [at('download', evil, '--from', 'primary', '--to', join(folder, 'other'), '--as', 'pem', '--unencrypted-keys')],
  [at('import', join(folder, 'archive'), '--into', 'primary')],
  [at('import', join(folder, 'damaged'), '--into', 'primary')],
  [at('import', join(folder, `none${evil}`), '--into', 'primary')],
  [at('import', join(folder, 'archive'), '--into', evil)],
  [at('restore', '--plan', '--from', 'backup')],
  [['config', 'check', '--config', join(folder, 'wrong.yaml')]],
  [['config', 'check', '--config', `no${evil}.yaml`]],
  [at('config', 'explain', evil)],
  [at('status', '--link', evil)],
  [[evil]],
  [[`--${evil}`]],
  [['status', `--${evil}`]],
  [['status', evil, evil]],
  [['help', evil]],
  [['completion', evil]],
  [['reconcile', '--wait', evil]],
  [['drill', '--check', `no${evil}`]],
  [['instance', 'list', '--folder', `no${evil}`]],
  [['instance', 'create', '--folder', join(folder, 'instances'), '--crn', evil]],
];

test('no command hands anything of foreign names on to the terminal, for people or for programs', {
  timeout: 120_000,
}, async () => {
  const told: string[] = [];
  for (const [args] of commands()) {
    for (const more of [[], ['--json']]) {
      const host = testHost({ columns: 80 });
      await runCommand([...args, ...more], host);
      for (const text of [host.output(), host.errors()]) {
        const found = unseen.exec(reached(text));
        expect(found && [args[0], ...more, JSON.stringify(text.slice(0, 2_000))]).toBeNull();
        told.push(text);
      }
    }
  }
  // They were really told.
  for (const shown of ['shop\\u{1b}[2J', 'st\\u{1b}[31mores']) expect(told.join('')).toContain(shown);
});

test('the page of a drill and what an archive made of the names are harmless too', () => {
  const drills = join(folder, 'drills');
  const page = readdirSync(drills).find((name) => name.endsWith('.html')) ?? '';
  const text = readFileSync(join(drills, page), 'utf8');
  expect(text).toContain(
    'shop\\u{1b}[2J\\u{9b}31m\\u{202e}gnp\\u{2066}\\u{200b}\\u{e0041}\\u{7f}\\u{d}&#60;img src=x&#62;',
  );
  expect(text.replaceAll('\n', '')).not.toMatch(unseen);
  const [made] = readdirSync(join(folder, `out${evilFolder}`));
  expect(made).toMatch(/^shop_[\w. -]+$/);
});
