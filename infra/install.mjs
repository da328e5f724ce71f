// Makes node_modules hold what package-lock.json says, and nothing is done, said or waited for when
// it already does. Runs before every npm script that needs packages, so it uses none itself.
// `node infra/install.mjs infra/openwhisk` does the same for the package in that folder.
//
// `npm ci` empties node_modules first: it must never run under a program that works, so it runs
// only on a difference, and only one at a time (a lock folder in the checkout).
import { spawn } from 'node:child_process';
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { hostname } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

const leastNode = [20, 19];
const waitMs = 5 * 60_000;
const checkout = fileURLToPath(new URL('..', import.meta.url));
const root = join(checkout, process.argv[2] ?? '.');
const lockFolder = join(root, '.install-lock');

/** npm's codes for "the registry was not reached". */
const networkCodes = new Set([
  'EAI_AGAIN',
  'ENOTFOUND',
  'ECONNREFUSED',
  'ECONNRESET',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'ETIMEDOUT',
  'ERR_SOCKET_TIMEOUT',
  'FETCH_ERROR',
]);

/** Ends the program with one plain sentence. */
class Problem extends Error {}

function checkNode() {
  const [major = 0, minor = 0] = process.versions.node.split('.').map(Number);
  const [leastMajor = 0, leastMinor = 0] = leastNode;
  if (major > leastMajor || (major === leastMajor && minor >= leastMinor)) return;
  throw new Problem(`Node ${leastNode.join('.')} or newer is needed; this is Node ${process.versions.node}.`);
}

/**
 * The `packages` of a lock file, or undefined if it is not there or cannot be read.
 * @param {string} file
 * @returns {Record<string, any> | undefined}
 */
function readPackages(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')).packages;
  } catch {
    return undefined;
  }
}

/**
 * Whether npm would install an optional package on this platform: its `os`, `cpu` and `libc` lists
 * name it, or exclude others.
 * @param {{ os?: string[], cpu?: string[], libc?: string[] }} entry
 */
function isForThisPlatform(entry) {
  return (
    names(entry.os, process.platform) &&
    names(entry.cpu, process.arch) &&
    (entry.libc === undefined || names(entry.libc, libc()))
  );
}

/** @param {string[] | undefined} list @param {string} value */
function names(list, value) {
  if (list === undefined) return true;
  if (list.includes(`!${value}`)) return false;
  return list.includes(value) || list.every((item) => item.startsWith('!'));
}

function libc() {
  if (process.platform !== 'linux') return 'none';
  const report = /** @type {any} */ (process.report);
  report.excludeNetwork = true;
  return report.getReport().header.glibcVersionRuntime ? 'glibc' : 'musl';
}

/**
 * Whether node_modules holds what package-lock.json says; npm writes its hidden lock last, so half
 * an install does not match.
 */
function matches() {
  const wanted = readPackages(join(root, 'package-lock.json'));
  if (wanted === undefined) throw new Problem('package-lock.json is missing or is not JSON.');
  const installed = readPackages(join(root, 'node_modules', '.package-lock.json'));
  if (installed === undefined) return false;
  for (const path of Object.keys(installed)) if (wanted[path] === undefined) return false;
  return Object.entries(wanted).every(([path, entry]) => {
    if (path === '') return true;
    const found = installed[path];
    if (found === undefined)
      // An optional package that is for no platform in particular belongs to one that is.
      return entry.optional === true && !((entry.os || entry.cpu) && isForThisPlatform(entry));
    return found.version === entry.version && found.integrity === entry.integrity && existsSync(join(root, path));
  });
}

/** Whether the process that wrote this owner file (`<pid>@<host>`) has certainly ended. */
function hasEnded(/** @type {string} */ owner) {
  const [pid, host] = owner.split('@');
  if (host !== hostname()) return false;
  try {
    process.kill(Number(pid), 0);
    return false;
  } catch (error) {
    return /** @type {NodeJS.ErrnoException} */ (error).code === 'ESRCH';
  }
}

/**
 * Takes the lock folder if nobody holds it; takes it over from a process that has ended. The folder
 * holds one file, named for its owner, from its first moment on: it is filled aside and renamed
 * into place, and renaming onto a filled folder fails.
 * @param {string} me
 * @returns {string | undefined} The living owner, if there is one.
 */
function tryLock(me) {
  const aside = `${lockFolder}-${process.pid}`;
  mkdirSync(aside, { recursive: true });
  writeFileSync(join(aside, me), '');
  try {
    renameSync(aside, lockFolder);
    return undefined;
  } catch {
    rmSync(aside, { recursive: true, force: true });
  }
  try {
    const owner = readdirSync(lockFolder)[0] ?? 'unknown';
    if (!hasEnded(owner)) return owner;
    // Of several that see it, one renames the dead owner's file; for the others it is gone.
    renameSync(join(lockFolder, owner), join(lockFolder, me));
    return undefined;
  } catch {
    return 'unknown';
  }
}

/** @param {string} me */
async function lock(me) {
  const start = performance.now();
  for (let told = false; ; told = true) {
    const owner = tryLock(me);
    if (owner === undefined) return;
    if (!told) console.error(`Waiting for another install (${owner}) to finish.`);
    if (performance.now() - start > waitMs)
      throw new Problem(`Another install (${owner}) has not finished. If none runs, remove the folder ${lockFolder}.`);
    await sleep(200);
  }
}

/** Runs `npm ci`; resolves when it worked. */
async function install() {
  console.error('Installing the packages of package-lock.json (once; a few seconds).');
  const started = performance.now();
  const options = ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--json', '--loglevel=error'];
  // The tools are wanted too, whatever NODE_ENV or the user's npm settings say.
  options.push('--include=dev', '--include=optional');
  // npm's own patience would make a machine without a network wait for many minutes.
  options.push('--fetch-retries=2', '--fetch-retry-mintimeout=1000', '--fetch-retry-maxtimeout=5000');
  const npm = process.env.npm_execpath ?? '';
  const [command, first] = basename(npm) === 'npm-cli.js' ? [process.execPath, [npm]] : ['npm', []];
  const child = spawn(command, [...first, ...options], {
    cwd: root,
    stdio: ['ignore', 'pipe', 'pipe'],
    shell: command === 'npm' && process.platform === 'win32',
  });
  let out = '';
  let err = '';
  child.stdout.setEncoding('utf8').on('data', (text) => {
    out += text;
  });
  child.stderr.setEncoding('utf8').on('data', (text) => {
    err += text;
  });
  const code = await new Promise((resolve, reject) => {
    child.on('error', (error) => reject(new Problem(`npm could not be started: ${error.message}`)));
    child.on('close', (status, signal) => resolve(status ?? signal));
  });
  if (code !== 0) throw new Problem(whyItFailed(code, out, err));
  if (!matches())
    throw new Problem(
      'npm ci ended well, but node_modules does not match package-lock.json. Remove node_modules and try again.',
    );
  console.error(`Installed in ${((performance.now() - started) / 1000).toFixed(1)} s.`);
}

/** @param {string | number} code @param {string} out @param {string} err */
function whyItFailed(code, out, err) {
  let npmError = { code: String(code), summary: err.trim() };
  try {
    npmError = JSON.parse(out).error;
  } catch {
    // npm ended without saying why on its output: what it printed must do.
  }
  if (networkCodes.has(npmError.code))
    return `The packages are not installed yet, and the npm registry cannot be reached (${npmError.code}). Connect to the network, or point npm at a registry that can be reached, and try again.`;
  if (npmError.code === 'EUSAGE')
    return 'package-lock.json does not fit package.json. Run `npm install --ignore-scripts` and commit the lock file.';
  return `npm ci failed (${npmError.code}): ${npmError.summary}`;
}

try {
  checkNode();
  if (!matches()) {
    const me = `${process.pid}@${hostname()}`;
    await lock(me);
    try {
      if (!matches()) await install();
    } finally {
      rmSync(join(lockFolder, me), { force: true });
      // Whoever waits may already have put its own folder there: an empty one may go, a filled one
      // is theirs.
      try {
        rmdirSync(lockFolder);
      } catch {}
    }
  }
} catch (error) {
  if (!(error instanceof Problem)) throw error;
  console.error(`certstandby: ${error.message}`);
  process.exitCode = 1;
}
