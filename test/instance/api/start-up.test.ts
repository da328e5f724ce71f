import { build } from 'esbuild';
import { expect, test } from 'vitest';

/**
 * What a server that never orders must not load: each takes longer than the rest of it together.
 */
const slow = ['acme-client', '@peculiar/x509', 'reflect-metadata'];

/**
 * Packages that are loaded with a file: it, what it imports, what that imports, but nothing that is
 * imported only when it is needed.
 */
async function loadedWith(file: string): Promise<readonly string[]> {
  const { metafile } = await build({
    entryPoints: [file],
    bundle: true,
    packages: 'external',
    platform: 'node',
    format: 'esm',
    metafile: true,
    write: false,
    logLevel: 'silent',
  });
  const packages = new Set<string>();
  const seen = new Set<string>();
  const visit = (path: string): void => {
    if (seen.has(path)) return;
    seen.add(path);
    for (const { path: imported, kind, external } of metafile.inputs[path]?.imports ?? []) {
      if (kind !== 'import-statement') continue;
      if (external) packages.add(imported);
      else visit(imported);
    }
  };
  visit(file);
  return [...packages];
}

test.each(['src/instance/api/server.ts', 'src/compose/program.ts', 'src/compose/instances.ts', 'src/cli/main.ts'])(
  '%s loads nothing that only orders need',
  async (file) => {
    const loaded = await loadedWith(file);
    expect(loaded.length).toBeGreaterThan(2);
    expect(loaded.filter((name) => slow.includes(name))).toEqual([]);
  },
);

test('and the same look finds them where they are', async () => {
  expect(await loadedWith('src/instance/orders/authority/acme.ts')).toContain('acme-client');
  expect(await loadedWith('src/instance/orders/authority/development-ca.ts')).toEqual(
    expect.arrayContaining(['@peculiar/x509', 'reflect-metadata']),
  );
});
