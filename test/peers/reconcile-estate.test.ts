import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { Secret } from '../../src/secret.ts';
import { fill, reconcileAll, verified } from '../support/estate.ts';
import { described, setup } from '../support/replication.ts';
import { requirePeer } from './peer.ts';

const version = requirePeer('OpenSSL', ['openssl', 'version'], 'apt-get install openssl');

const size = 2_000;
/** A day's changes of which no event arrived. */
const renewals = 150;

/**
 * How `openssl req` is told to make each kind of key, and how many of a hundred certificates have
 * it: RSA keys take long to make.
 */
const kinds: readonly (readonly [args: string, ofHundred: number])[] = [
  ['rsa:2048', 2],
  ['rsa:4096', 0],
  ['rsa-pss -pkeyopt rsa_keygen_bits:2048', 1],
  ['ec -pkeyopt ec_paramgen_curve:P-256', 60],
  ['ec -pkeyopt ec_paramgen_curve:P-384', 15],
  ['ec -pkeyopt ec_paramgen_curve:P-521', 7],
  ['ed25519', 15],
];

const configuration = `
[req]
distinguished_name = nothing
[nothing]
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
[leaf]
basicConstraints = critical, CA:false
subjectAltName = DNS:host-$ENV::NUMBER.example.test
`;

/**
 * Makes certificates one after the other in a shell: to start it once for each call takes longer
 * than what it does.
 */
function makeAll(folder: string, prefix: string, count: number): readonly CertificateContent[] {
  const kindOf = (number: number) => {
    if (number === 0) return kinds[1]?.[0] ?? '';
    let rest = number % 100;
    for (const [args, share] of kinds) {
      if (rest < share) return args;
      rest -= share;
    }
    throw new Error('the shares do not add up to a hundred');
  };
  const lines = Array.from({ length: count }, (_, number) => {
    const name = `${prefix}-${number}`;
    return [
      `export NUMBER=${number}`,
      `openssl req -x509 -CA ca.pem -CAkey ca.key -newkey ${kindOf(number)} -nodes -keyout ${name}.key -days 90 ` +
        `-config openssl.cnf -extensions leaf -subj /CN=host-${number}.example.test -out ${name}.pem`,
    ].join('\n');
  });
  writeFileSync(join(folder, `${prefix}.sh`), `exec 2>/dev/null\n${lines.join('\n')}\n`);
  execFileSync('sh', ['-e', `${prefix}.sh`], { cwd: folder });
  const read = (file: string) => readFileSync(join(folder, file), 'utf8');
  const intermediate = read('ca.pem');
  return Array.from({ length: count }, (_, number) =>
    parseContent({
      certificate: read(`${prefix}-${number}.pem`),
      intermediate,
      privateKey: new Secret(read(`${prefix}-${number}.key`)),
    }),
  );
}

describe.skipIf(version === undefined)('a primary of 2,000 certificates that OpenSSL made, of all key kinds', () => {
  let folder: string;
  let estate: readonly CertificateContent[];
  let renewed: readonly CertificateContent[];

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'certstandby-estate-'));
    writeFileSync(join(folder, 'openssl.cnf'), configuration);
    const authority =
      'export NUMBER=0; openssl req -x509 -newkey rsa:2048 -nodes -days 3650 -config openssl.cnf -extensions authority ' +
      '-subj /CN=Estate -keyout ca.key -out ca.pem 2>/dev/null';
    execFileSync('sh', ['-e', '-c', authority], { cwd: folder });
    estate = makeAll(folder, 'first', size);
    renewed = makeAll(folder, 'second', renewals);
  }, 600_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('loses every event of a day; reconcile mends it, and verify proves every one of them', async () => {
    const world = await setup({ reconciled: false });
    // The virtual clock of the world stands before these certificates begin, and long before they
    // end: neither is a problem.
    fill(world, estate);
    expect((await reconcileAll(world)).asked).toEqual({ unknown: size });
    expect(await verified(world)).toMatchObject({ certificates: size, counts: { same: size }, problems: 0 });

    for (const [index, content] of renewed.entries()) await world.primary.store.reimport(`c${index + 1}`, content);
    for (let number = 201; number <= 220; number += 1)
      await world.primary.store.updateMetadata(`c${number}`, described(`renamed ${number}`), undefined);
    for (let number = 301; number <= 305; number += 1) await world.primary.store.delete(`c${number}`);
    expect((await verified(world)).problems).toBe(renewals + 20);

    const asked = { different: renewals, 'revision-moved': 20, 'gone-from-primary': 5 };
    expect((await reconcileAll(world)).asked).toEqual(asked);
    expect(await verified(world)).toMatchObject({ counts: { same: size - 5, extra: 5 }, problems: 0 });
  });
});
