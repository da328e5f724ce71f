import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as wait } from 'node:timers/promises';
import { seededRandom } from '../simulation/virtual-time.ts';
import { testCertificate } from '../support/certificates.ts';
import { exchangeToken } from '../support/instance.ts';
import { instanceCrn } from '../support/notifications.ts';
import { type RoleProcess, startRole } from '../support/roles.ts';
import { type Access, importLoad, type Pem } from './instance-load.ts';
import type { instanceServerHandlers } from './instance-server.ts';

export interface InstanceSeries {
  /** The JavaScript file that has the role `instance`. */
  readonly program: string;
  readonly kills: number;
  readonly seed: number;
  /** After so many kills everything is read back, and at the end. */
  readonly readBackEvery: number;
}

export interface InstanceSeriesResult {
  readonly acknowledged: number;
  readonly unanswered: number;
  /** What must not be. */
  readonly broken: readonly string[];
}

const apiKey = 'the-api-key-of-the-kills-of-an-instance';
const concurrency = 6;
/** The longest that a life lasts under load. */
const lifeMs = 600;

/**
 * Kills an instance server at random moments under a load of imports, reimports and deletes, and
 * reads everything back.
 */
export async function runInstanceSeries(options: InstanceSeries): Promise<InstanceSeriesResult> {
  const { program, kills, seed, readBackEvery } = options;
  const random = seededRandom(seed);
  const folder = mkdtempSync(join(tmpdir(), 'certstandby-instance-kills-'));
  const versions = await Promise.all(Array.from({ length: 6 }, version));
  const load = importLoad(versions, random);
  const broken: string[] = [];

  async function born(): Promise<{ readonly server: RoleProcess<Handlers>; readonly access: Access }> {
    const server = startRole<Handlers>({ program, role: 'instance' });
    const url = await server.call('start', { folder, crn: instanceCrn, apiKey });
    return { server, access: { url, crn: instanceCrn, token: await exchangeToken(url, apiKey) } };
  }

  try {
    for (let kill = 1; kill <= kills; kill += 1) {
      // Now and then it dies while it starts.
      if (random() < 0.1) {
        const server = startRole<Handlers>({ program, role: 'instance' });
        server.call('start', { folder, crn: instanceCrn, apiKey }).catch(() => undefined);
        await wait(random() * 800);
        await server.kill();
        continue;
      }
      const { server, access } = await born();
      if (kill % readBackEvery === 0) broken.push(...(await load.broken(access)));
      const loading = load.untilDeath(access, concurrency);
      await Promise.race([wait(random() * lifeMs), loading]);
      await server.kill();
      await loading;
    }
    const { server, access } = await born();
    broken.push(...(await load.broken(access)));
    await server.kill();
    const clear = readdirSync(join(folder, 'data')).filter((file) => holdsKey(join(folder, 'data', file), versions));
    for (const file of clear) broken.push(`${file} holds a private key in the clear`);
    return { ...load.counts, broken };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

type Handlers = ReturnType<typeof instanceServerHandlers>;

async function version(): Promise<Pem> {
  const { certificate, intermediate, privateKey } = await testCertificate({ domains: ['kills.example.test'] });
  return { content: certificate, ...(intermediate && { intermediate }), priv_key: privateKey.reveal() };
}

/** Whether a line of the text of a key stands in a file. */
function holdsKey(file: string, versions: readonly Pem[]): boolean {
  const bytes = readFileSync(file);
  return versions.some(({ priv_key: key = '' }) => bytes.includes(key.split('\n')[1] ?? 'no key'));
}
