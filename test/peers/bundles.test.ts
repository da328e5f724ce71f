import { execFile, execFileSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createServer } from 'node:tls';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { contentProblem } from '../../src/certificate/judgement.ts';
import { parseContent, toPem } from '../../src/certificate/pem.ts';
import { proveByHandshake } from '../../src/drill/handshake.ts';
import { Secret } from '../../src/secret.ts';
import { requirePeer } from './peer.ts';

/**
 * Bundles as people have them, made by OpenSSL, and what clients that trust the root make of each:
 * `openssl verify`, curl, and Node's client. Where they accept, this program does; where it accepts
 * what they refuse, the table says why it cannot know.
 */

const openssl = requirePeer('OpenSSL', ['openssl', 'version'], 'apt-get install openssl');
const curl = requirePeer('curl', ['curl', '--version'], 'apt-get install curl');
const run = promisify(execFile);

const configuration = `
[ca]
default_ca = any
[any]
database = index.txt
new_certs_dir = .
rand_serial = yes
unique_subject = no
default_md = sha256
policy = anything
[anything]
commonName = optional
[req]
distinguished_name = nothing
string_mask = utf8only
[nothing]
[printable]
distinguished_name = nothing
string_mask = nombstr
[authority]
basicConstraints = critical, CA:true
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
authorityKeyIdentifier = keyid
[no-authority]
basicConstraints = critical, CA:false
keyUsage = critical, keyCertSign
subjectKeyIdentifier = hash
[may-not-sign]
basicConstraints = critical, CA:true
keyUsage = critical, cRLSign
subjectKeyIdentifier = hash
[old-style]
[leaf]
basicConstraints = critical, CA:false
keyUsage = critical, digitalSignature
subjectAltName = DNS:shop.example.test
authorityKeyIdentifier = keyid
[leaf-by-serial]
basicConstraints = critical, CA:false
subjectAltName = DNS:shop.example.test
authorityKeyIdentifier = keyid:always, issuer:always
`;

describe.skipIf(openssl === undefined || curl === undefined)('bundles, as clients judge them', () => {
  let folder: string;
  const made = new Map<string, string>();
  const command = (args: readonly string[]) =>
    execFileSync('openssl', args, { cwd: folder, encoding: 'utf8', stdio: ['pipe', 'pipe', 'pipe'] });

  /**
   * A certificate in a file of its name. `by` is the name of another one, whose key signs it;
   * absent: its own.
   */
  function certify(
    name: string,
    options: {
      key: string;
      subject: string;
      extensions: string;
      by?: string;
      byKey?: string;
      from?: string;
      until?: string;
      strings?: string;
    },
  ) {
    const { key, subject, extensions, by, byKey = by, from = '20200101000000Z', until = '20990101000000Z' } = options;
    const request = ['req', '-new', '-config', 'openssl.cnf', '-key', `${key}.key`, '-subj', subject];
    command([...request, '-section', options.strings ?? 'req', '-out', 'request.csr']);
    const dates = ['-startdate', from, '-enddate', until];
    const signer = by === undefined ? ['-selfsign', '-keyfile', `${key}.key`] : ['-cert', `${by}.pem`];
    const signing = by === undefined ? [] : ['-keyfile', `${byKey}.key`];
    const form = ['-preserveDN', '-notext', '-extfile', 'openssl.cnf', '-extensions', extensions];
    const given = ['ca', '-batch', '-config', 'openssl.cnf', ...signer, ...signing, ...dates, ...form];
    command([...given, '-in', 'request.csr', '-out', `${name}.pem`]);
    made.set(name, command(['x509', '-in', `${name}.pem`]));
  }

  beforeAll(() => {
    folder = mkdtempSync(join(tmpdir(), 'certstandby-bundles-'));
    writeFileSync(join(folder, 'openssl.cnf'), configuration);
    writeFileSync(join(folder, 'index.txt'), '');
    for (const key of ['leaf', 'root', 'old', 'int', 'upper', 'stranger'])
      command(['genpkey', '-algorithm', 'EC', '-pkeyopt', 'ec_paramgen_curve:P-256', '-out', `${key}.key`]);
    const expired = { until: '20230101000000Z' };
    const root = { key: 'root', subject: '/CN=Root', extensions: 'authority' };
    const int = { key: 'int', subject: '/CN=Intermediate One', extensions: 'authority', by: 'root' };
    const leaf = { key: 'leaf', subject: '/CN=shop.example.test', extensions: 'leaf', byKey: 'int' };
    certify('root', root);
    certify('old', { key: 'old', subject: '/CN=Old Root', extensions: 'authority' });
    certify('old-expired', { key: 'old', subject: '/CN=Old Root', extensions: 'authority', ...expired });
    certify('stranger', { key: 'stranger', subject: '/CN=Stranger', extensions: 'authority' });
    certify('root-cross', { ...root, by: 'old' });
    certify('root-cross-expired', { ...root, by: 'old', ...expired });
    certify('root-expired', { ...root, ...expired });
    certify('root-no-authority', { ...root, extensions: 'no-authority', by: 'old' });
    certify('int', int);
    certify('int-cross', { ...int, by: 'old' });
    certify('int-expired', { ...int, ...expired });
    certify('int-early', { ...int, from: '20900101000000Z' });
    certify('int-no-authority', { ...int, extensions: 'no-authority' });
    certify('int-may-not-sign', { ...int, extensions: 'may-not-sign' });
    certify('int-other-key', { ...int, key: 'stranger' });
    certify('int-printable', { ...int, strings: 'printable' });
    certify('int-written-otherwise', { ...int, subject: '/CN=INTERMEDIATE  one', strings: 'printable' });
    certify('leaf', { ...leaf, by: 'int' });
    certify('leaf-expired', { ...leaf, by: 'int', ...expired });
    certify('leaf-of-printable', { ...leaf, by: 'int-printable' });
    certify('leaf-of-otherwise', { ...leaf, by: 'int-written-otherwise' });
    certify('leaf-by-serial', { ...leaf, by: 'int', extensions: 'leaf-by-serial' });
    certify('leaf-of-root-key', { ...leaf, key: 'root', by: 'root', byKey: 'root' });
    certify('leaf-self-signed', { key: 'leaf', subject: '/CN=shop.example.test', extensions: 'leaf' });
    certify('upper', { key: 'upper', subject: '/CN=Upper', extensions: 'authority', by: 'root' });
    certify('upper-expired', { key: 'upper', subject: '/CN=Upper', extensions: 'authority', by: 'root', ...expired });
    certify('int-of-upper', { ...int, by: 'upper' });
    certify('leaf-of-lower', { ...leaf, by: 'int-of-upper' });
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  const keyOf = (leaf: string) => (leaf === 'leaf-of-root-key' ? 'root' : 'leaf');

  /**
   * What we say, and what each client that trusts this says of the bundle as it was given, leaf
   * first.
   */
  async function judged(names: readonly string[], trusted: string) {
    const [leaf = '', ...others] = names;
    const pem = (name: string) => made.get(name) ?? '';
    const key = command(['pkey', '-in', `${keyOf(leaf)}.key`]);
    const bundle = { certificate: pem(leaf), intermediate: others.map(pem).join(''), privateKey: new Secret(key) };
    const here = join(folder, `at-${names.join('-')}`.slice(0, 200));
    mkdirSync(here, { recursive: true });
    writeFileSync(join(here, 'others.pem'), `${others.map(pem).join('')}${others.length === 0 ? pem(leaf) : ''}`);

    const verify = ['verify', '-CAfile', `${trusted}.pem`, '-untrusted', join(here, 'others.pem'), `${leaf}.pem`];
    const byOpenssl = await run('openssl', verify, { cwd: folder }).then(
      () => true,
      () => false,
    );
    const server = createServer({ cert: bundle.certificate + bundle.intermediate, key }, (socket) => {
      socket.on('error', () => {});
      socket.end('HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n');
    });
    server.on('tlsClientError', () => {});
    await new Promise<void>((listening) => server.listen(0, '127.0.0.1', listening));
    const { port } = server.address() as AddressInfo;
    const asked = ['--silent', '--cacert', `${trusted}.pem`, '--resolve', `shop.example.test:${port}:127.0.0.1`];
    const byCurl = await run('curl', [...asked, '--max-time', '30', `https://shop.example.test:${port}/`], {
      cwd: folder,
    })
      .then(
        () => true,
        () => false,
      )
      .finally(() => server.close());

    const content = parseContent(bundle);
    const byNode = (await proveByHandshake(content, { trust: [pem(trusted)], timeoutMs: 30_000 })).served;
    const problem = contentProblem(content, { nowMs: Date.now(), requireChain: true });
    const again = contentProblem(parseContent(toPem(content)), { nowMs: Date.now(), requireChain: true });
    expect(again?.code).toBe(problem?.code);
    return { clients: { openssl: byOpenssl, curl: byCurl, node: byNode }, we: problem?.code ?? 'accept' };
  }

  const all = (answer: boolean) => ({ openssl: answer, curl: answer, node: answer });
  const upsideDown = ([leaf = '', ...others]: readonly string[]) => [leaf, ...others.reverse()];

  it.each<[string, ...string[]]>([
    ['a chain', 'leaf', 'int'],
    ['a chain with its root', 'leaf', 'int', 'root'],
    ['a root cross-signed, and the old root', 'leaf', 'int', 'root-cross', 'old'],
    ['three roots in a row', 'leaf', 'int', 'root', 'root-cross', 'old'],
    ['an unrelated root', 'leaf', 'int', 'stranger'],
    ['an expired cross certificate', 'leaf', 'int', 'root-cross-expired'],
    ['an expired cross certificate and its old root', 'leaf', 'int', 'root-cross-expired', 'old'],
    ['the same, with that root expired', 'leaf', 'int', 'root-cross-expired', 'old-expired'],
    ['an expired root', 'leaf', 'int', 'root-expired'],
    ['an expired intermediate and its renewed one', 'leaf', 'int-expired', 'int'],
    ['an intermediate that is not valid yet, and the present one', 'leaf', 'int-early', 'int'],
    ['a twin of the root that is no authority', 'leaf', 'int', 'root-no-authority', 'root'],
    ['another key under the name of the intermediate', 'leaf', 'int-other-key', 'int'],
    ['a duplicate', 'leaf', 'int', 'int'],
    ['the leaf twice', 'leaf', 'leaf', 'int'],
    ['two intermediates', 'leaf-of-lower', 'int-of-upper', 'upper'],
    ['two intermediates, the lower one with a variant', 'leaf-of-lower', 'int-of-upper', 'upper', 'int'],
    ['an expired upper one with a valid twin', 'leaf-of-lower', 'int-of-upper', 'upper-expired', 'upper'],
    ['the leaf of a root whose key it has', 'leaf-of-root-key', 'root'],
    ['names in strings of another kind', 'leaf-of-printable', 'int'],
    ['names in other spaces and letters', 'leaf-of-otherwise', 'int'],
  ])('all accept: %s', async (_, ...names) => {
    for (const order of [names, upsideDown(names)])
      expect({ order, ...(await judged(order, 'root')) }).toEqual({ order, clients: all(true), we: 'accept' });
  });

  it.each<[string, ...string[]]>([
    ['alone', 'leaf', 'int', 'int-cross'],
    ['and both roots', 'leaf', 'int', 'root', 'int-cross', 'old'],
    ['and the old root', 'leaf', 'int', 'int-cross', 'old'],
    ['and something else between', 'leaf', 'int', 'stranger', 'int-cross'],
  ])(
    'both variants of a cross-signed intermediate, %s: clients go on with the first, which stays the first',
    async (_, ...names) => {
      expect(await judged(names, 'root')).toEqual({ clients: all(true), we: 'accept' });
      expect(await judged(names, 'old')).toEqual({ clients: all(false), we: 'accept' });
      const turned = names.map((name) => (name === 'int' ? 'int-cross' : name === 'int-cross' ? 'int' : name));
      expect(await judged(turned, 'old')).toEqual({ clients: all(true), we: 'accept' });
      expect(await judged(turned, 'root')).toEqual({ clients: all(false), we: 'accept' });
    },
  );

  it.each<[string, ...string[]]>([
    ['is no authority', 'leaf', 'int-no-authority', 'int'],
    ['may not sign', 'leaf', 'int-may-not-sign', 'int'],
  ])(
    'a twin of the intermediate that %s: it is kept after the path, where clients do not meet it',
    async (_, ...names) => {
      const given = await judged(names, 'root');
      expect(given).toEqual({ clients: { openssl: false, curl: false, node: true }, we: 'accept' });
      expect(await judged(upsideDown(names), 'root')).toEqual({ clients: all(true), we: 'accept' });
    },
  );

  it('all accept: what is signed by itself, where it is trusted, with something more', async () => {
    for (const order of [['leaf-self-signed'], ['leaf-self-signed', 'stranger']])
      expect(await judged(order, 'leaf-self-signed')).toEqual({ clients: all(true), we: 'accept' });
  });

  it.each<[string, string, ...string[]]>([
    ['an expired leaf', 'certificate_expired', 'leaf-expired', 'int'],
    ['an expired intermediate', 'certificate_chain_expired', 'leaf', 'int-expired'],
    ['an expired intermediate and the root', 'certificate_chain_expired', 'leaf', 'int-expired', 'root'],
    ['no intermediate, but the root', 'certificate_chain_broken', 'leaf', 'root'],
    ['an unrelated certificate alone', 'certificate_chain_broken', 'leaf', 'stranger'],
    ['another key under the name of the intermediate', 'certificate_chain_broken', 'leaf', 'int-other-key'],
    ['an intermediate that is no authority', 'certificate_issuer_no_authority', 'leaf', 'int-no-authority', 'root'],
    ['an intermediate that may not sign', 'certificate_chain_broken', 'leaf', 'int-may-not-sign', 'root'],
    ['the leaf alone', 'certificate_chain_missing', 'leaf'],
  ])('all refuse: %s', async (_, code, ...names) => {
    for (const order of [names, upsideDown(names)])
      expect({ order, ...(await judged(order, 'root')) }).toEqual({ order, clients: all(false), we: code });
  });

  it.each<[string, ...string[]]>([
    // Only what clients trust tells it from a cross certificate of a root that they know by itself.
    ['an expired intermediate above the issuer', 'leaf-of-lower', 'int-of-upper', 'upper-expired', 'root'],
    // Or from a certificate that has nothing to do with it, beside an issuer whose issuer clients
    // know.
    ['a gap above the issuer', 'leaf-of-lower', 'int-of-upper', 'root'],
    // A clock may be wrong, and a copy made ahead of its day.
    ['an intermediate that is not valid yet', 'leaf', 'int-early'],
  ])('copied with a remark, which these clients refuse: %s', async (_, ...names) => {
    for (const order of [names, upsideDown(names)])
      expect({ order, ...(await judged(order, 'root')) }).toEqual({ order, clients: all(false), we: 'accept' });
  });

  it('refused, as the issuer that the leaf names is another certificate of the same key: it names the serial number too', async () => {
    expect(await judged(['leaf-by-serial', 'int'], 'root')).toEqual({ clients: all(true), we: 'accept' });
    expect(await judged(['leaf-by-serial', 'int-printable'], 'root')).toEqual({
      clients: all(false),
      we: 'certificate_chain_broken',
    });
  });
});
