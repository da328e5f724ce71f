// Writes a container image as an OCI layout (OCI Image Format Specification 1.0), without a daemon
// and without a registry:
//
//   npm run build && node infra/container/image.mjs --out certstandby-image
//   skopeo copy oci:certstandby-image:latest docker://registry.example.com/certstandby:0.1.0
//
// Three layers: Node with the libraries that it and the packages load, as they are on this machine;
// the packages that the program uses; the program. There is no shell in it and no package manager,
// it runs as user 1000, and what is built twice of the same files is the same, to the byte.
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { dirname, join, relative } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { gzipSync } from 'node:zlib';
import { pack } from 'tar-stream';

const root = fileURLToPath(new URL('../..', import.meta.url));
const { values } = parseArgs({
  options: {
    out: { type: 'string', default: 'certstandby-image' },
    node: { type: 'string', default: process.execPath },
  },
});
const user = 1000;
const home = '/opt/certstandby';
const state = '/var/lib/certstandby';
const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'));

/** @typedef {{ path: string, bytes?: Buffer, mode: number, owner?: number }} Entry A folder has no bytes. */

/** @param {string} path @param {Buffer} bytes @returns {Entry} */
const file = (path, bytes, mode = 0o644) => ({ path, bytes, mode });
/** @param {string} path @returns {Entry} */
const folder = (path, mode = 0o755, owner = 0) => ({ path, mode, owner });

/**
 * What a program, or an addon of a package, loads when it starts: files as the loader looks for
 * them.
 * @param {string} program
 */
function librariesOf(program) {
  const said = execFileSync('ldd', [program], { encoding: 'utf8' });
  return [...said.matchAll(/^\s+(?:\S+ => )?(\/\S+) \(0x/gm)].map(([, path = '']) => path);
}

/** Every file below a folder, symbolic links left out. @param {string} from @returns {string[]} */
function filesBelow(from) {
  return readdirSync(from, { withFileTypes: true }).flatMap((entry) => {
    const path = join(from, entry.name);
    if (entry.isDirectory()) return entry.name === 'node_modules' ? [] : filesBelow(path);
    return entry.isFile() ? [path] : [];
  });
}

/** Folders of the packages that the program uses: what `npm ci --omit=dev` would install. */
function packageFolders() {
  /** @type {{ packages: Record<string, { dev?: boolean, devOptional?: boolean }> }} */
  const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8'));
  return Object.entries(lock.packages)
    .filter(([path, { dev, devOptional }]) => path !== '' && !dev && !devOptional && existsSync(join(root, path)))
    .map(([path]) => path);
}

/** @param {string} from @param {(path: string) => boolean} wanted @returns {Entry[]} */
const copied = (from, wanted = () => true) =>
  filesBelow(join(root, from))
    .filter(wanted)
    .map((path) => file(join(home, relative(root, path)), readFileSync(path)));

const packages = packageFolders().flatMap((path) => copied(path, (name) => !/\.(?:map|md|d\.[cm]?ts|ts)$/.test(name)));
const addons = packages
  .filter(({ path }) => path.endsWith('.node'))
  .map(({ path }) => join(root, relative(home, path)));
const libraries = new Set([values.node, ...addons].flatMap((program) => safely(() => librariesOf(program))));

/** An addon for another platform is no program here, and is not loaded either. @param {() => string[]} read */
function safely(read) {
  try {
    return read();
  } catch {
    return [];
  }
}

const layers = [
  {
    what: 'Node and its libraries',
    entries: [
      file('/usr/local/bin/node', readFileSync(values.node), 0o755),
      ...[...libraries].map((path) => file(path, readFileSync(realpathSync(path)), 0o755)),
      file('/etc/passwd', Buffer.from(`certstandby:x:${user}:${user}::${state}:/usr/sbin/nologin\n`)),
      file('/etc/group', Buffer.from(`certstandby:x:${user}:\n`)),
      folder('/tmp', 0o1777),
      folder(state, 0o700, user),
    ],
  },
  { what: 'packages', entries: packages },
  {
    what: 'the program',
    entries: [file(`${home}/package.json`, readFileSync(join(root, 'package.json'))), ...programFiles()],
  },
];

function programFiles() {
  const entry = join(root, 'dist/certstandby.js');
  if (!existsSync(entry)) throw new Error('dist/certstandby.js is not there: npm run build');
  return [file(`${home}/dist/certstandby.js`, readFileSync(entry)), ...copied('dist/certstandby')];
}

/** The entries with every folder above them, in order, as a tar. @param {readonly Entry[]} entries @returns {Promise<Buffer>} */
async function tarOf(entries) {
  const all = new Map(entries.map((entry) => [entry.path, entry]));
  for (const { path } of entries)
    for (let above = dirname(path); above !== '/'; above = dirname(above))
      if (!all.has(above)) all.set(above, folder(above));
  const tar = pack();
  const read = buffer(tar);
  for (const { path, bytes, mode, owner = 0 } of [...all.values()].sort((a, b) => (a.path < b.path ? -1 : 1))) {
    const header = { name: path.slice(1), mode, uid: owner, gid: owner, mtime: new Date(0) };
    if (bytes === undefined) tar.entry({ ...header, type: 'directory' });
    else tar.entry({ ...header, size: bytes.length }, bytes);
  }
  tar.finalize();
  return read;
}

const blobs = join(values.out, 'blobs/sha256');
mkdirSync(blobs, { recursive: true });
/** @param {Buffer} bytes */
const sha256 = (bytes) => createHash('sha256').update(bytes).digest('hex');
/** Keeps bytes under their digest, and says how they are referred to. @param {Buffer} bytes @param {string} mediaType */
function blob(bytes, mediaType) {
  writeFileSync(join(blobs, sha256(bytes)), bytes);
  return { mediaType, digest: `sha256:${sha256(bytes)}`, size: bytes.length };
}
/** @param {object} value @param {string} mediaType */
const jsonBlob = (value, mediaType) => blob(Buffer.from(JSON.stringify(value)), mediaType);

const kept = [];
for (const { what, entries } of layers) {
  const tar = await tarOf(entries);
  kept.push({
    what,
    diff: `sha256:${sha256(tar)}`,
    ...blob(gzipSync(tar), 'application/vnd.oci.image.layer.v1.tar+gzip'),
  });
}
const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
const config = {
  created: '1970-01-01T00:00:00Z',
  architecture,
  os: 'linux',
  config: {
    User: `${user}:${user}`,
    Env: ['PATH=/usr/local/bin', `HOME=${state}`, 'NODE_ENV=production'],
    WorkingDir: state,
    Entrypoint: ['/usr/local/bin/node', '--enable-source-maps', `${home}/dist/certstandby.js`],
    Cmd: ['serve', '--config', '/etc/certstandby/certstandby.yaml'],
    ExposedPorts: { '8443/tcp': {}, '9464/tcp': {} },
    Volumes: { [state]: {} },
    StopSignal: 'SIGTERM',
    Labels: { 'org.opencontainers.image.title': 'certstandby', 'org.opencontainers.image.version': version },
  },
  rootfs: { type: 'layers', diff_ids: kept.map(({ diff }) => diff) },
  history: kept.map(({ what }) => ({ created: '1970-01-01T00:00:00Z', created_by: what })),
};
const manifest = {
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.manifest.v1+json',
  config: jsonBlob(config, 'application/vnd.oci.image.config.v1+json'),
  layers: kept.map(({ mediaType, digest, size }) => ({ mediaType, digest, size })),
};
const index = {
  schemaVersion: 2,
  mediaType: 'application/vnd.oci.image.index.v1+json',
  manifests: [
    {
      ...jsonBlob(manifest, manifest.mediaType),
      platform: { architecture, os: 'linux' },
      annotations: { 'org.opencontainers.image.ref.name': 'latest' },
    },
  ],
};
writeFileSync(join(values.out, 'oci-layout'), JSON.stringify({ imageLayoutVersion: '1.0.0' }));
writeFileSync(join(values.out, 'index.json'), JSON.stringify(index));
for (const { what, size } of kept) console.log(`${what}: ${(size / 2 ** 20).toFixed(1)} MiB`);
console.log(`${values.out}: ${index.manifests[0]?.digest}`);
