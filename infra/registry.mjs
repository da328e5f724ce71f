import { fileURLToPath } from 'node:url';

/**
 * Puts another registry of services in the place of src/services/registry.ts. It may take over what
 * that one has.
 * @param {string} file a path from the root
 * @returns {import('esbuild').Plugin}
 */
export function registryFrom(file) {
  const path = fileURLToPath(new URL(`../${file}`, import.meta.url));
  return {
    name: 'registry',
    setup(setup) {
      setup.onResolve({ filter: /services\/registry\.ts$/ }, ({ importer }) =>
        importer === path ? undefined : { path },
      );
    },
  };
}
