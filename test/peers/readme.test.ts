import { type ChildProcess, execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { parseConfig } from '../../src/config.ts';
import { type BundledScript, bundleScript } from '../support/child.ts';
import { requirePeer } from './peer.ts';

const openssl = requirePeer('OpenSSL', ['openssl', 'version'], 'apt-get install openssl');
const curl = requirePeer('curl', ['curl', '--version'], 'apt-get install curl');

const readme = readFileSync('README.md', 'utf8');

/** The block of the README behind the comment of this name. */
function block(name: string): string {
  const text = new RegExp(`<!-- readme-test: ${name} -->\n\`\`\`\\w+\n([^]*?)\`\`\``).exec(readme)?.[1];
  if (text === undefined) throw new Error(`the README has no block "${name}"`);
  return text;
}

test('the configuration of the README is a good one', () => {
  const config = parseConfig(block('config'), {
    path: '/etc/certstandby.yaml',
    env: { FRANKFURT_API_KEY: 'key' },
    readFile: () => 'key',
  });
  expect(config.links.map(({ name, backups }) => [name, backups])).toEqual([['shop', ['london']]]);
});

describe.skipIf(!openssl || !curl)('the lines of the README, typed while certstandby up runs', () => {
  let script: BundledScript;
  let folder: string;
  let up: ChildProcess;
  beforeAll(async () => {
    script = await bundleScript('src/cli/main.ts');
    folder = mkdtempSync(join(tmpdir(), 'certstandby-readme-'));
    up = spawn(process.execPath, [script.file, 'up', '--port', '0'], { cwd: folder });
    let output = '';
    await new Promise<void>((resolve) => {
      up.stdout?.setEncoding('utf8').on('data', (text: string) => {
        output += text;
        if (output.includes('Ctrl-C stops')) resolve();
      });
    });
  });
  afterAll(async () => {
    up.kill('SIGINT');
    await once(up, 'close');
    await script.dispose();
    rmSync(folder, { recursive: true, force: true });
  });

  const bash = (commands: string) =>
    execFileSync('bash', ['-euo', 'pipefail', '-c', commands], {
      cwd: folder,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });

  test('the example as it stands', () => {
    expect(bash(`${block('import')}\n${block('use')}`)).toMatch(/subject=\s*CN = mine\.example\.test\nnotAfter=/);
  });

  const kinds: Readonly<Record<string, string>> = {
    'rsa-2048': '-newkey rsa:2048',
    'rsa-4096': '-newkey rsa:4096',
    'p-256': '-newkey ec -pkeyopt ec_paramgen_curve:P-256',
    'p-384': '-newkey ec -pkeyopt ec_paramgen_curve:P-384',
    ed25519: '-newkey ed25519',
  };
  const hundred = Array.from({ length: 100 }, (_, index) => `DNS:n${index}.many.example.test`).join(',');
  const cases: readonly {
    readonly name: string;
    readonly newKey: string;
    readonly san: string;
    readonly crlf?: boolean;
    readonly chain?: boolean;
  }[] = [
    ...Object.entries(kinds).map(([name, newKey]) => ({ name, newKey, san: `DNS:${name}.example.test` })),
    { name: 'two-intermediates', newKey: kinds['p-256'] ?? '', san: 'DNS:chain.example.test', chain: true },
    { name: 'crlf', newKey: kinds['rsa-2048'] ?? '', san: 'DNS:crlf.example.test', crlf: true, chain: true },
    { name: 'hundred-names', newKey: kinds['p-256'] ?? '', san: hundred },
    { name: 'wildcard', newKey: kinds['p-384'] ?? '', san: 'DNS:*.example.test' },
  ];

  for (const { name, newKey, san, crlf, chain } of cases) {
    test(`a certificate made by OpenSSL: ${name}`, async () => {
      writeFileSync(join(folder, 'san.cnf'), `subjectAltName=${san}\nbasicConstraints=CA:FALSE\n`);
      writeFileSync(join(folder, 'ca.cnf'), 'basicConstraints=critical,CA:TRUE\nkeyUsage=keyCertSign\n');
      const ca = (who: string, issuer: string | undefined) =>
        `openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=${who}" -keyout ${who}.key -out ${who}.csr 2>/dev/null
         openssl x509 -req -in ${who}.csr -days 90 -extfile ca.cnf ${issuer ? `-CA ${issuer}.pem -CAkey ${issuer}.key -CAcreateserial` : `-signkey ${who}.key`} -out ${who}.pem 2>/dev/null`;
      bash(`
        ${chain ? [ca('root', undefined), ca('upper', 'root'), ca('lower', 'upper')].join('\n') : ''}
        openssl req ${newKey} -nodes -subj "/CN=${name}" -keyout leaf.key -out leaf.csr 2>/dev/null
        openssl x509 -req -in leaf.csr -days 60 -extfile san.cnf ${chain ? '-CA lower.pem -CAkey lower.key -CAcreateserial' : '-signkey leaf.key'} -out leaf.pem 2>/dev/null
        ${chain ? 'cat lower.pem upper.pem > chain.pem' : ''}
        ${crlf ? 'sed -i "s/$/\\r/" leaf.pem leaf.key chain.pem' : ''}
      `);
      const imported = bash(
        `${block('import')}\nimport_certificate ${name} leaf.pem leaf.key ${chain ? 'chain.pem' : ''}`,
      );
      expect(JSON.parse(imported)).toMatchObject({ name });
      await expect.poll(() => bash(`${block('import')}\ncopies`)).toContain(`"name":"${name}"`);
      const [ofCertificate, ofKey, original, certificates] = bash(`${block('import')}
        download_copy ${name} > copy.pem
        openssl x509 -in copy.pem -noout -pubkey | openssl sha256
        openssl pkey -in copy.pem -pubout | openssl sha256
        openssl pkey -in leaf.key -pubout | openssl sha256
        grep -c 'BEGIN CERTIFICATE' copy.pem`).split('\n');
      expect(ofCertificate).toBe(ofKey);
      expect(original).toBe(ofKey);
      expect(certificates).toBe(chain ? '3' : '1');
    });
  }
});
