// Bundles the functions that are deployed, each with everything that it can reach and nothing else:
//   dist/aws/<function>/index.mjs, and what is loaded only when it is needed beside it
//   dist/openwhisk/<function>.cjs, one file each
// Prints what each weighs, and fails where one weighs more than it may. `--for aws` or
// `--for openwhisk` builds one platform alone, `--out <folder>` somewhere else than in dist/.
// `--configuration <file>` is what `config export` wrote: a function then has the services of that
// configuration and no others; without it, all that functions can have.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { build } from 'esbuild';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values: given } = parseArgs({
  options: {
    for: { type: 'string' },
    out: { type: 'string', default: 'dist' },
    configuration: { type: 'string' },
  },
});
const functionNames = ['callback', 'events', 'replicate', 'sweep', 'reconcile'];

/**
 * KiB of what each loads when cold, with every service that functions can have; a deployment has
 * those of its configuration. Raised only in the commit that needs it, which says why.
 */
const mostKib = {
  aws: { callback: 148, events: 112, replicate: 372, sweep: 312, reconcile: 340 },
  openwhisk: { callback: 216, replicate: 448, sweep: 372, reconcile: 416 },
};

/** Deployed functions get their credentials from the platform: see environment-credentials.ts. */
const credentials = {
  name: 'environment-credentials',
  /** @param {import('esbuild').PluginBuild} setup */
  setup(setup) {
    setup.onResolve({ filter: /^@aws-sdk\/credential-provider-node$/ }, () => ({
      path: join(root, 'infra/aws/environment-credentials.ts'),
      sideEffects: false,
    }));
  },
};

/**
 * The parts of a service that each function runs. The callback asks no store, and holds no code
 * that could.
 */
const partsRun = {
  callback: ['sender'],
  events: ['delivery'],
  replicate: ['store'],
  sweep: ['store', 'keys'],
  reconcile: ['store'],
};

/** @typedef {{ onThisMachine?: true, notInFunctions?: true }} Settings */
/** @typedef {{ kind: string, settings?: Settings } & Record<string, unknown>} Service */

/**
 * The services that the functions are built with. Throws where the configuration names one that
 * functions do not have.
 * @returns {Promise<Service[]>}
 */
async function servicesWanted() {
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: ['./src/services/registry.ts'],
    bundle: true,
    platform: 'node',
    format: 'esm',
    write: false,
    // What is loaded only when it is wanted is not wanted here: of services this reads which parts
    // there are.
    plugins: [
      {
        name: 'settings-alone',
        setup: (setup) =>
          setup.onResolve({ filter: /./ }, ({ kind, path }) =>
            kind === 'dynamic-import' ? { path, external: true } : undefined,
          ),
      },
    ],
  });
  const text = outputFiles[0]?.text ?? '';
  /** @type {Record<string, Service>} */
  const registry = await import(`data:text/javascript;base64,${Buffer.from(text).toString('base64')}`);
  const possible = Object.values(registry).filter(
    ({ settings }) => !settings?.onThisMachine && !settings?.notInFunctions,
  );
  if (given.configuration === undefined) return possible;
  /** @type {{ config: { stores: { kind: string }[], senders?: { kind: string }[] } }} */
  const { config } = JSON.parse(readFileSync(resolve(root, given.configuration), 'utf8'));
  const kinds = new Set([...config.stores, ...(config.senders ?? [])].map(({ kind }) => kind));
  for (const kind of kinds)
    if (!possible.some((service) => service.kind === kind))
      throw new Error(`${given.configuration} names the service ${kind}, which functions do not have`);
  return possible.filter(({ kind }) => kinds.has(kind));
}

/**
 * Puts a registry of these services in the place of src/services/registry.ts, with the parts that
 * this function runs. They are imported at once: all of them are wanted.
 * @param {Service[]} services
 * @param {string} name
 * @returns {import('esbuild').Plugin}
 */
const registryOf = (services, name) => ({
  name: 'registry',
  setup(setup) {
    const run = partsRun[/** @type {keyof typeof partsRun} */ (name)];
    const lines = services.flatMap((service, index) => {
      const parts = run.filter((part) => service[part] !== undefined);
      const members = parts.map((part) => `, ${part}: async () => ${part}${index}`).join('');
      return [
        ...parts.map((part) => `import * as ${part}${index} from './${service.kind}/${part}.ts';`),
        `export const service${index} = { kind: ${JSON.stringify(service.kind)}${members} };`,
      ];
    });
    const contents = lines.length === 0 ? 'export {};' : lines.join('\n');
    setup.onResolve({ filter: /services\/registry\.ts$/ }, () => ({ path: 'registry', namespace: 'registry' }));
    setup.onLoad({ filter: /./, namespace: 'registry' }, () => ({
      contents,
      loader: 'js',
      resolveDir: join(root, 'src/services'),
    }));
  },
});

/** @type {import('esbuild').BuildOptions} */
const common = {
  absWorkingDir: root,
  bundle: true,
  minify: true,
  platform: 'node',
  target: 'node20',
  // The SDK's own modules, of which what is not used falls away; its CommonJS files come whole.
  mainFields: ['module', 'main'],
  sourcemap: true,
  sourcesContent: false,
  metafile: true,
  write: false,
  logLevel: 'warning',
  // The SDK would read the name of a browser with it.
  external: ['bowser'],
};

/** How the functions of each platform are built. */
const platforms = {
  aws: (/** @type {string} */ name) => ({
    ...common,
    entryPoints: [{ in: `./functions/aws/${name}.ts`, out: 'index' }],
    outdir: join(given.out, 'aws', name),
    outExtension: { '.js': '.mjs' },
    chunkNames: '[name]-[hash]',
    format: /** @type {const} */ ('esm'),
    splitting: true,
    // What packages of the older kind ask for of Node itself.
    banner: { js: "import{createRequire}from'node:module';const require=createRequire(import.meta.url);" },
  }),
  openwhisk: (/** @type {string} */ name) => ({
    ...common,
    entryPoints: [{ in: `./functions/openwhisk/${name}.ts`, out: name }],
    outdir: join(given.out, 'openwhisk'),
    outExtension: { '.js': '.cjs' },
    format: /** @type {const} */ ('cjs'),
    sourcemap: /** @type {const} */ ('external'),
    // The platform's client reads answers in other charsets with it, if it is there. The platform
    // answers in UTF-8.
    external: ['iconv-lite'],
    // Older runtimes do not look at exports: they evaluate the code as a text, and take the
    // function of this name.
    footer: { js: 'var main = module.exports.main;' },
  }),
};

/**
 * Builds one function. Answers how many KiB are loaded when it is cold: its entry and what that
 * imports at once.
 * @param {keyof typeof platforms} platform
 * @param {string} name
 * @param {Service[]} services
 */
async function bundle(platform, name, services) {
  const options = { ...platforms[platform](name), plugins: [credentials, registryOf(services, name)] };
  const { outputFiles = [], metafile } = await build(options);
  if (platform === 'aws') rmSync(resolve(root, options.outdir), { recursive: true, force: true });
  for (const { path, contents } of outputFiles) {
    mkdirSync(dirname(path), { recursive: true });
    writeFileSync(path, contents);
  }
  const outputs = metafile?.outputs ?? {};
  const entry = Object.keys(outputs).find((file) => outputs[file]?.entryPoint?.startsWith('functions/')) ?? '';
  const seen = new Set();
  /** @param {string} file @returns {number} */
  const weigh = (file) => {
    if (seen.has(file)) return 0;
    seen.add(file);
    const atOnce = (outputs[file]?.imports ?? []).filter(
      ({ kind, external }) => kind === 'import-statement' && !external,
    );
    return (outputs[file]?.bytes ?? 0) + atOnce.reduce((sum, { path }) => sum + weigh(path), 0);
  };
  return { file: relative(root, resolve(root, entry)), kib: weigh(entry) / 1024 };
}

const started = performance.now();
try {
  const services = await servicesWanted();
  for (const platform of /** @type {(keyof typeof platforms)[]} */ (Object.keys(platforms))) {
    if (given.for !== undefined && given.for !== platform) continue;
    const present = functionNames.filter((name) => existsSync(join(root, `functions/${platform}/${name}.ts`)));
    for (const name of present) {
      const { file, kib } = await bundle(platform, name, services);
      const most = /** @type {Record<string, number>} */ (mostKib[platform])[name];
      console.error(`${file}: ${kib.toFixed(0)} KiB when cold`);
      if (most === undefined || kib <= most) continue;
      console.error(`${file} weighs more than the ${most} KiB that it may: look at what it has come to reach.`);
      process.exitCode = 1;
    }
  }
  console.error(`Built the functions in ${Math.round(performance.now() - started)} ms.`);
} catch (error) {
  if (!(error instanceof Error && 'errors' in error)) throw error;
  process.exitCode = 1; // esbuild has said what is wrong
}
