import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { requirePeer } from './peer.ts';

/** Whether what these tests need is here: SoftHSM2, OpenSC's tool, and the compiled package. */
export const hasSoftHsm = [
  requirePeer('SoftHSM2', ['softhsm2-util', '--version'], 'apt-get install softhsm2'),
  requirePeer('pkcs11-tool', ['sh', '-c', 'command -v pkcs11-tool'], 'apt-get install opensc'),
  requirePeer(
    'pkcs11js',
    [process.execPath, '-p', 'require("pkcs11js"); require("pkcs11js/package.json").version'],
    'npm rebuild pkcs11js',
  ),
].every((version) => version !== undefined);

/** Where Debian puts it. */
const softHsmModule = '/usr/lib/softhsm/libsofthsm2.so';

/** Tokens of SoftHSM2 in a folder of their own, made by its tool and by OpenSC's. */
export function softHsm() {
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-softhsm-'));
  const tokens = join(folder, 'tokens');
  mkdirSync(tokens);
  const configuration = join(folder, 'softhsm2.conf');
  writeFileSync(configuration, `directories.tokendir = ${tokens}\nobjectstore.backend = file\nlog.level = ERROR\n`);
  const env = { PATH: process.env.PATH, SOFTHSM2_CONF: configuration };

  function run(program: string, ...args: readonly string[]): string {
    const { status, stdout, stderr } = spawnSync(program, args, { env, encoding: 'utf8' });
    if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stdout}${stderr}`);
    return stdout;
  }

  const tool = (token: string, ...args: readonly string[]) =>
    run('pkcs11-tool', '--module', softHsmModule, '--token-label', token, '--login', '--pin', pin, ...args);
  const pin = '5678';

  return {
    folder,
    tokens,
    env,
    pin,
    /** Makes a token: its serial number, and what to do for it to be gone, and back. */
    newToken(label: string) {
      const before = readdirSync(tokens);
      run('softhsm2-util', '--init-token', '--free', '--label', label, '--so-pin', '1234', '--pin', pin);
      const slots = run('softhsm2-util', '--show-slots').split(/^Slot /m);
      const [, serial = ''] =
        /Serial number: *(\S+)/.exec(slots.find((slot) => new RegExp(`Label: *${label}\\s`).test(slot)) ?? '') ?? [];
      const made = join(tokens, readdirSync(tokens).find((name) => !before.includes(name)) ?? '');
      return {
        serial,
        pull: () => renameSync(made, join(folder, label)),
        plug: () => renameSync(join(folder, label), made),
      };
    },
    /** Makes an AES key in a token, by OpenSC's tool. */
    newKey: (token: string, label: string, id: string, ...more: readonly string[]) =>
      tool(token, '--keygen', '--key-type', 'AES:32', '--label', label, '--id', id, ...more),
    deleteKey: (token: string, label: string) => tool(token, '--delete-object', '--type', 'secrkey', '--label', label),
    /**
     * Brings a key in that is known outside. Of those that SoftHSM2's own tool brings in, one in
     * three does no AES-GCM.
     */
    importKey(token: string, label: string, id: string, key: Uint8Array): void {
      const file = join(folder, `${label}.key`);
      writeFileSync(file, key);
      tool(token, '--write-object', file, '--type', 'secrkey', '--key-type', 'AES:32', '--label', label, '--id', id);
    },
    uriOf: (path: string, pinSource = 'env:HSM_PIN') =>
      `pkcs11:${path}?module-path=${softHsmModule}&pin-source=${pinSource}`,
    dispose: () => rmSync(folder, { recursive: true, force: true }),
  };
}
