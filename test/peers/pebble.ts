import { type ChildProcess, spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createDevelopmentCa } from '../../src/instance/orders/authority/development-ca.ts';
import { freePort } from '../support/free-port.ts';

/** Let's Encrypt's test server, and the DNS server that it asks. */
export interface Pebble {
  readonly directory: string;
  /** PEM that its own certificate is checked against. */
  readonly trust: string;
  /** Address of the DNS server. */
  readonly dnsServer: string;
  /** A program that publishes and removes records there, as a DNS hook. */
  readonly hook: string;
  /** The key of the customer, without which it makes no account where that is asked for. */
  readonly eab: { readonly keyId: string; readonly key: string };
  publish(name: string, value: string): Promise<void>;
  withdraw(name: string): Promise<void>;
  close(): Promise<void>;
}

/** The domain that it orders nothing for. */
export const blockedDomain = 'blocked.example.test';

/**
 * Starts both on 127.0.0.1. Certificates are for 90 days, proofs are made anew each time. Of a
 * hundred nonces ten are refused, or as many as asked.
 */
export async function startPebble(
  options: { readonly customersOnly?: boolean; readonly refusedNonces?: number } = {},
): Promise<Pebble> {
  const { customersOnly = false, refusedNonces = 10 } = options;
  const eab = { keyId: 'customer-1', key: randomBytes(32).toString('base64url') };
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-pebble-'));
  const [acmePort, managementPort, dnsPort, controlPort] = await Promise.all([1, 2, 3, 4].map(freePort));
  const ca = await createDevelopmentCa({ name: 'Pebble TLS', now: Date.now });
  const tls = await ca.issue({ domains: ['127.0.0.1', 'localhost'] });
  const file = (name: string, text: string): string => {
    writeFileSync(join(folder, name), text, { mode: 0o600 });
    return join(folder, name);
  };
  const dnsServer = `127.0.0.1:${dnsPort}`;
  const control = `http://127.0.0.1:${controlPort}`;
  const config = {
    listenAddress: `127.0.0.1:${acmePort}`,
    managementListenAddress: `127.0.0.1:${managementPort}`,
    certificate: file('tls.pem', `${tls.certificate}${tls.intermediate ?? ''}`),
    privateKey: file('tls.key', tls.privateKey.reveal()),
    httpPort: 1,
    tlsPort: 1,
    certificateValidityPeriod: 90 * 86_400,
    domainBlocklist: [blockedDomain],
    externalAccountBindingRequired: customersOnly,
    ...(customersOnly && { externalAccountMACKeys: { [eab.keyId]: eab.key } }),
  };
  const start = (program: string, args: readonly string[]) =>
    spawn(program, args, {
      stdio: ['ignore', 'pipe', 'pipe'],
      env: {
        ...process.env,
        PEBBLE_VA_NOSLEEP: '1',
        PEBBLE_WFE_NONCEREJECT: `${refusedNonces}`,
        PEBBLE_AUTHZREUSE: '0',
      },
    });
  const off = ['-http01', '', '-https01', '', '-tlsalpn01', ''];
  const dns = start('pebble-challtestsrv', [
    ...['-dns01', dnsServer, '-management', `127.0.0.1:${controlPort}`],
    ...off,
  ]);
  const acme = start('pebble', [
    '-config',
    file('pebble.json', JSON.stringify({ pebble: config })),
    '-dnsserver',
    dnsServer,
  ]);
  await Promise.all([said(dns, 'Starting management server'), said(acme, 'ACME directory available at')]);

  const post = async (path: string, body: object) => {
    const answer = await fetch(`${control}/${path}`, { method: 'POST', body: JSON.stringify(body) });
    if (!answer.ok) throw new Error(`pebble-challtestsrv: ${path}: HTTP ${answer.status}`);
  };
  const hook = file(
    'dns-hook',
    `#!${process.execPath}
const [action, name, value] = process.argv.slice(2);
const path = action === 'add' ? 'set-txt' : 'clear-txt';
fetch(process.env.CONTROL + '/' + path, { method: 'POST', body: JSON.stringify({ host: name + '.', value }) })
  .then((answer) => process.exit(answer.ok ? 0 : 1));
`.replaceAll('process.env.CONTROL', JSON.stringify(control)),
  );
  chmodSync(hook, 0o700);
  return {
    directory: `https://127.0.0.1:${acmePort}/dir`,
    trust: ca.rootPem,
    dnsServer,
    hook,
    eab,
    publish: (name, value) => post('set-txt', { host: `${name}.`, value }),
    withdraw: (name) => post('clear-txt', { host: `${name}.` }),
    async close() {
      for (const child of [acme, dns]) {
        child.kill('SIGKILL');
        if (child.exitCode === null && child.signalCode === null) await once(child, 'exit');
      }
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** Waits until a program has said something. Throws with what it said when it ends before. */
async function said(child: ChildProcess, text: string): Promise<void> {
  let all = '';
  await new Promise<void>((resolve, reject) => {
    const read = (chunk: Buffer) => {
      all += chunk.toString();
      if (all.includes(text)) resolve();
    };
    child.stdout?.on('data', read);
    child.stderr?.on('data', read);
    child.once('exit', (code) => reject(new Error(`${child.spawnfile} ended with ${code}: ${all}`)));
  });
}
