import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { testCertificate } from '../support/certificates.ts';
import { root } from '../support/root.ts';
import { requirePeer } from './peer.ts';

const skopeo = requirePeer('skopeo', ['skopeo', '--version'], 'apt-get install skopeo');
const umoci = requirePeer('umoci', ['umoci', '--version'], 'apt-get install umoci');
/** Only root may look at the world from inside of the image. */
const isRoot = process.getuid?.() === 0;

describe.skipIf(skopeo === undefined || umoci === undefined)('the image, as skopeo and umoci take it', () => {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-image-'));
  const inside = join(folder, 'bundle/rootfs');
  const make = (name: string) =>
    execFileSync(process.execPath, ['infra/container/image.mjs', '--out', join(folder, name)], { cwd: root });
  beforeAll(() => {
    execFileSync(process.execPath, ['infra/build.mjs'], { cwd: root });
    make('image');
  });
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  it('is one that skopeo copies and inspects, of an unprivileged user, and the same when it is built again', () => {
    const inspected = JSON.parse(
      execFileSync('skopeo', ['inspect', `oci:${folder}/image:latest`], { encoding: 'utf8' }),
    );
    expect(inspected).toMatchObject({ Os: 'linux', Labels: { 'org.opencontainers.image.title': 'certstandby' } });
    const config = JSON.parse(
      execFileSync('skopeo', ['inspect', '--config', `oci:${folder}/image:latest`], { encoding: 'utf8' }),
    );
    expect(config.config).toMatchObject({ User: '1000:1000', StopSignal: 'SIGTERM' });
    execFileSync('skopeo', ['copy', '--quiet', `oci:${folder}/image:latest`, `dir:${folder}/copied`]);
    make('again');
    const digestOf = (name: string) =>
      JSON.parse(readFileSync(join(folder, name, 'index.json'), 'utf8')).manifests[0].digest;
    expect(digestOf('again')).toBe(digestOf('image'));
    expect(inspected.Digest).toBe(digestOf('image'));
  });

  it('holds Node, the packages of the program and the program, and nothing that can be written but its state', () => {
    execFileSync('umoci', [
      'unpack',
      ...(isRoot ? [] : ['--rootless']),
      ...['--image', `${folder}/image:latest`, join(folder, 'bundle')],
    ]);
    expect(readdirSync(inside).toSorted()).toEqual(expect.arrayContaining(['etc', 'opt', 'tmp', 'usr', 'var']));
    const packages = readdirSync(join(inside, 'opt/certstandby/node_modules'));
    expect(packages).toContain('lmdb');
    for (const tool of ['vitest', 'typescript', 'esbuild', 'dynalite']) expect(packages).not.toContain(tool);
    expect(statSync(join(inside, 'var/lib/certstandby')).mode & 0o777).toBe(0o700);
    const writable: string[] = [];
    const walk = (path: string): void => {
      for (const entry of readdirSync(path, { withFileTypes: true })) {
        const below = join(path, entry.name);
        if (!entry.isSymbolicLink() && (statSync(below).mode & 0o022) !== 0) writable.push(below.slice(inside.length));
        if (entry.isDirectory()) walk(below);
      }
    };
    walk(inside);
    expect(writable).toEqual(['/tmp']);
    expect(spawnSync('find', [inside, '-name', 'sh', '-o', '-perm', '/6000'], { encoding: 'utf8' }).stdout).toBe('');
  });

  it.skipIf(!isRoot)(
    'runs there as that user, with its table and its packages, on nothing but what is in it',
    async () => {
      const state = join(inside, 'var/lib/certstandby');
      const site = join(state, 'live/shop');
      mkdirSync(site, { recursive: true });
      mkdirSync(join(state, 'copies'));
      const { certificate, intermediate = '', privateKey } = await testCertificate();
      writeFileSync(join(site, 'fullchain.pem'), certificate + intermediate);
      writeFileSync(join(site, 'privkey.pem'), privateKey.reveal());
      writeFileSync(
        join(state, 'certstandby.yaml'),
        `version: 1
stores:
  live: { kind: directory, id: live, path: live, quiet: 0s }
  copies: { kind: directory, id: copies, path: copies }
links: { site: { primary: live, backups: [copies] } }
`,
      );
      execFileSync('chown', ['-R', '1000:1000', state]);
      const run = (...args: readonly string[]) =>
        spawnSync(
          'chroot',
          [...['--userspec=1000:1000', inside, '/usr/local/bin/node', '/opt/certstandby/dist/certstandby.js'], ...args],
          { encoding: 'utf8', env: { PATH: process.env.PATH } },
        );
      expect(run('--help').stdout).toContain('Usage: certstandby');
      const reconciled = run('reconcile', '--config', '/var/lib/certstandby/certstandby.yaml');
      expect([reconciled.status, reconciled.stderr]).toEqual([0, '']);
      expect(run('verify', '--config', '/var/lib/certstandby/certstandby.yaml').status).toBe(0);
      expect(readdirSync(join(state, 'copies')).filter((name) => !name.startsWith('.'))).toHaveLength(1);
    },
  );
});
