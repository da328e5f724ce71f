import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import { testCertificate } from '../support/certificates.ts';
import { type Child, startChild } from '../support/child.ts';
import { runCommand } from '../support/command.ts';

// A real process holds the lease of a certificate for ten minutes, on the table that the commands
// use, and is killed.
let folder: string;
let holder: Child;

const reconcile = () => runCommand(['reconcile', '--wait', '0', '--config', join(folder, 'certstandby.yaml')]);

async function renew(): Promise<string> {
  const shop = join(folder, 'live', 'shop');
  mkdirSync(shop, { recursive: true, mode: 0o700 });
  const { certificate, intermediate = '', privateKey } = await testCertificate();
  writeFileSync(join(shop, 'fullchain.pem'), certificate + intermediate);
  writeFileSync(join(shop, 'privkey.pem'), privateKey?.reveal() ?? '', { mode: 0o600 });
  // Files are read when they have been quiet for a while.
  await wait(300);
  return certificate;
}

/** The certificate that the one copy holds. */
function copied(): string {
  const [copy = ''] = readdirSync(join(folder, 'copies')).filter((name) => name.startsWith('shop-'));
  return readFileSync(join(folder, 'copies', copy, 'current', 'cert.pem'), 'utf8');
}

async function recordOfShop() {
  const table = lmdbTable({ path: join(folder, 'records') });
  try {
    return await replicationRecords(table).get('web', 'shop');
  } finally {
    await table.close();
  }
}

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-take-over-'));
  mkdirSync(join(folder, 'copies'), { mode: 0o700 });
  writeFileSync(
    join(folder, 'certstandby.yaml'),
    `version: 1
table: { kind: lmdb, path: records }
stores:
  live: { kind: directory, path: live, id: web-1, quiet: 100ms }
  copies: { kind: directory, path: copies, id: web-1-copies }
links: { web: { primary: live, backups: [copies] } }
`,
  );
  await renew();
  expect(await reconcile()).toMatchObject({ code: 0 });
  holder = await startChild('test/support/lease-holder-child.ts', [join(folder, 'records'), 'web', 'shop']);
});
afterAll(async () => {
  await holder?.kill();
  rmSync(folder, { recursive: true, force: true });
});

test.skipIf(!existsSync('/proc/self/stat'))(
  'what a killed process of this machine had in flight is taken over at once, and what a living one has is not',
  async () => {
    const owner = await holder.nextLine();
    expect(owner).toMatch(new RegExp(`^process:1 \\S+ pid:\\[\\d+\\] \\S+ ${holder.pid} \\d+ \\S+$`));
    const renewed = await renew();
    expect(await reconcile()).toMatchObject({ code: 6 });
    const held = await recordOfShop();
    expect(held?.leaseOwner).toBe(owner);
    expect(copied()).not.toBe(renewed);

    await holder.kill();
    expect(await reconcile()).toMatchObject({ code: 0 });
    const taken = await recordOfShop();
    // The lease of the dead one has minutes left; the token and the doubt are those of any
    // take-over.
    expect(held?.leaseUntil).toBeGreaterThan(Date.now());
    expect(taken?.leaseToken).toBeGreaterThan(held?.leaseToken ?? Number.POSITIVE_INFINITY);
    expect(taken?.doubt).toBeGreaterThan(Date.now());
    expect(taken).not.toHaveProperty('leaseOwner');
    expect(copied()).toBe(renewed);
  },
);
