import { execFile } from 'node:child_process';
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { expect, test } from 'vitest';
import { bundleFunctions } from './bundles.ts';

/** What stands in the code of one part of a service and nowhere else. */
const marks = {
  'the store of Certificate Manager': '/certificates/import',
  'the sender of Certificate Manager': 'cert_about_to_expire_reimport_required',
  'the settings of Certificate Manager': 'where API keys are exchanged for tokens',
  'a folder': '.certstandby-store',
  'what reads events of AWS': 'ACM Certificate Approaching Expiration',
  'the rows of alerts': 'alert-findings.1',
  'a channel of alerts': 'certstandby.alert',
  'what reads schemas': 'ZodMiniObject',
  'the audit trail': 'audit-chains.1',
};

/** One of which the stores are of these kinds. */
const deploymentOf = (...kinds: readonly string[]) => ({ config: { stores: kinds.map((kind) => ({ kind })) } });

/** What of them is in the code of a function, of all its files. */
function found(folder: string, platform: 'aws' | 'openwhisk', name: string): readonly string[] {
  const chunks = join(folder, platform, name);
  const files = existsSync(chunks)
    ? readdirSync(chunks).flatMap((file) => (file.endsWith('.mjs') ? [join(chunks, file)] : []))
    : [`${chunks}.cjs`];
  const code = files.map((file) => readFileSync(file, 'utf8')).join('\n');
  return marksIn(code);
}

function marksIn(code: string): readonly string[] {
  expect(code.length).toBeGreaterThan(10_000);
  return Object.entries(marks).flatMap(([what, mark]) => (code.includes(mark) ? [what] : []));
}

/** What a function on AWS loads when it starts: its entry, and what that imports at once. */
function codeAtStart(folder: string, name: string): string {
  const read = new Set<string>();
  const load = (file: string): string => {
    if (read.has(file)) return '';
    read.add(file);
    const code = readFileSync(join(folder, 'aws', name, file), 'utf8');
    const imported = [...code.matchAll(/(?:from|import)"\.\/([^"]+)"/g)].map(([, other = '']) => load(other));
    return [code, ...imported].join('\n');
  };
  return load('index.mjs');
}

const startOf = (folder: string, platform: 'aws' | 'openwhisk', name: string) =>
  platform === 'aws' ? join(folder, platform, name, 'index.mjs') : join(folder, platform, `${name}.cjs`);

/** Run before a program: whatever would load the locale data of the platform throws. */
const withoutLocales = `data:text/javascript,${encodeURIComponent(`
  const refuse = () => { throw new Error('locale data was wanted'); };
  Object.defineProperty(globalThis, 'Intl', { get: refuse });
  for (const { prototype } of [Array, BigInt, Date, Number, String])
    for (const name of Object.getOwnPropertyNames(prototype))
      if (name.includes('ocale')) prototype[name] = refuse;
`)}`;

test.each(['aws', 'openwhisk'] as const)(
  'a function on %s loads no locale data when it starts: that takes longer than all the rest of the start',
  async (platform) => {
    const bundles = await bundleFunctions(platform);
    const start = (file: string) => promisify(execFile)(process.execPath, ['--import', withoutLocales, file]);
    const planted = join(bundles.folder, 'planted.mjs');
    await writeFile(planted, 'export const text = (16_384).toLocaleString();\n');
    try {
      await expect(start(planted)).rejects.toThrow('locale data was wanted');
      for (const name of ['callback', 'replicate', 'sweep', 'reconcile'])
        await start(startOf(bundles.folder, platform, name));
    } finally {
      await bundles.dispose();
    }
  },
  120_000,
);

test.each(['aws', 'openwhisk'] as const)(
  'a function on %s holds the parts that it runs, of the services of its configuration, and nothing of others',
  async (platform) => {
    const bundles = await bundleFunctions(platform, deploymentOf('certificate-manager'));
    const none = await bundleFunctions(platform, deploymentOf());
    try {
      expect(found(bundles.folder, platform, 'callback')).toEqual(['the sender of Certificate Manager']);
      // The sweep tells the trail nothing. On AWS what the others load then lies beside it unused.
      const besideSweep = platform === 'aws' ? ['the audit trail'] : [];
      for (const [name, more] of Object.entries({
        replicate: ['the audit trail'],
        sweep: besideSweep,
        reconcile: ['the audit trail'],
      })) {
        const its = ['what reads schemas', ...more];
        expect(found(bundles.folder, platform, name), name).toEqual(['the store of Certificate Manager', ...its]);
        expect(found(none.folder, platform, name), name).toEqual(its);
      }
      expect(found(none.folder, platform, 'callback')).toEqual([]);
    } finally {
      await bundles.dispose();
      await none.dispose();
    }
  },
  120_000,
);

test('functions are not built for a service that lies on a machine', async () => {
  await expect(bundleFunctions('aws', deploymentOf('directory'))).rejects.toThrow(
    'names the service directory, which functions do not have',
  );
});

test('the callback on AWS reads events of AWS only where they come to it; the function that takes them from a queue does at once', async () => {
  const bundles = await bundleFunctions('aws', {
    config: { stores: [{ kind: 'certificate-manager' }], senders: [{ kind: 'eventbridge' }] },
  });
  try {
    const readers = ['what reads schemas', 'what reads events of AWS'];
    expect(found(bundles.folder, 'aws', 'callback')).toEqual(expect.arrayContaining(readers));
    expect(marksIn(codeAtStart(bundles.folder, 'callback'))).toEqual(['the sender of Certificate Manager']);
    expect(marksIn(codeAtStart(bundles.folder, 'events'))).toEqual(expect.arrayContaining(readers));
  } finally {
    await bundles.dispose();
  }
}, 120_000);
