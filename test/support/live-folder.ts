import { mkdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { CertificatePem } from '../../src/certificate/certificate.ts';

const kinds = ['cert', 'chain', 'fullchain', 'privkey'] as const;

/**
 * A folder as certbot keeps it: files by number under `archive`, and under `live` links to the
 * newest.
 */
export function liveFolder(root: string) {
  const numbers = new Map<string, number>();
  const live = join(root, 'live');
  mkdirSync(live, { recursive: true, mode: 0o700 });
  writeFileSync(join(live, 'README'), 'what this is\n');

  /** Writes the files of the next number, and links nothing yet. */
  function write(name: string, { certificate, intermediate = '', privateKey }: CertificatePem): number {
    const number = (numbers.get(name) ?? 0) + 1;
    numbers.set(name, number);
    const archive = join(root, 'archive', name);
    mkdirSync(archive, { recursive: true, mode: 0o700 });
    const text = {
      cert: certificate,
      chain: intermediate,
      fullchain: certificate + intermediate,
      privkey: privateKey?.reveal() ?? '',
    };
    for (const kind of kinds) writeFileSync(join(archive, `${kind}${number}.pem`), text[kind], { mode: 0o600 });
    return number;
  }

  /** Links one file to that of a number. */
  function link(name: string, kind: (typeof kinds)[number], number: number): void {
    mkdirSync(join(live, name), { recursive: true, mode: 0o700 });
    const path = join(live, name, `${kind}.pem`);
    rmSync(path, { force: true });
    symlinkSync(`../../archive/${name}/${kind}${number}.pem`, path);
  }

  return {
    live,
    write,
    link,
    /** A first certificate, or a renewal, all at once. */
    renew(name: string, pem: CertificatePem): void {
      const number = write(name, pem);
      for (const kind of kinds) link(name, kind, number);
    },
    remove: (name: string) => rmSync(join(live, name), { recursive: true }),
  };
}
