// Packs the functions of AWS: each bundle, with the checked configuration beside it, as
// dist/aws/<function>.zip.
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { zipSync } from 'fflate';

const dist = fileURLToPath(new URL('../../dist/aws', import.meta.url));

/**
 * The same content is the same archive whenever it is packed, so that what has not changed is not
 * deployed again.
 */
const mtime = new Date(1980, 0, 1);

/** Where the checked configuration is written, and packed from. */
export const configurationFile = join(dist, 'certstandby.json');

/** The functions that are packed. `npm run build:functions` bundles them. */
const functionNames = ['callback', 'events', 'replicate', 'sweep', 'reconcile'];

/** Throws what reading and writing files throws. */
export function packFunctions() {
  const configuration = readFileSync(configurationFile);
  for (const name of functionNames) {
    const folder = join(dist, name);
    const bundle = readdirSync(folder).sort();
    const files = bundle.map((file) => [file, readFileSync(join(folder, file))]);
    const all = Object.fromEntries([...files, ['certstandby.json', configuration]]);
    writeFileSync(`${folder}.zip`, zipSync(all, { level: 9, mtime }));
  }
}
