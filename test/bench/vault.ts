import { hash } from 'node:crypto';
import { join } from 'node:path';
import { compose } from '../../src/compose/program.ts';
import { parseConfig } from '../../src/config.ts';
import { silentLog } from '../../src/log.ts';
import { startReceiverServer } from '../../src/receiver/node-host.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { memoryTable } from '../../src/table/memory.ts';
import {
  auditDevices,
  done,
  type OpenBao,
  requireOpenBao,
  startDevelopmentBao,
  startRaftBao,
} from '../peers/openbao.ts';
import { testCertificate } from '../support/certificates.ts';
import { freePort } from '../support/free-port.ts';
import type { Report } from './report.ts';
import { quantile } from './statistics.ts';

// New certificates, one a round: one that is known is looked at each ten seconds at most where an
// event is not signed, and of new ones sixty in a minute.
const warmUp = 5;
const rounds = 50;
/** A copy that is not there by then never will be. */
const mostMs = 30_000;

/**
 * Two real OpenBaos: from a new secret in one, of which its audit device tells, to the copy in the
 * other, beside a bare GET and PUT of the same secret.
 */
export async function measureVault(report: Report, folder: string): Promise<void> {
  if (requireOpenBao() === undefined) return report.wrong('there is no OpenBao to measure with');
  const port = await freePort();
  const secret = 'a-secret-of-the-audit-device-of-a-bench';
  const from = await startRaftBao({
    configuration: auditDevices({ log: join(folder, 'audit.log'), port, secret }),
  });
  const to = await startDevelopmentBao();
  try {
    report.heading('OpenBao: from a write in one to the copy in the other, ms, against a bare GET and PUT');
    const oneNode = 'readSettles: 0s, listingLag: 0s';
    const config = parseConfig(
      `version: 1
receiver: { host: 127.0.0.1, port: ${port} }
stores:
  from: { kind: vault, address: "${from.url}", prefix: certs, ca: "${from.caFile}", token: env:FROM, poll: 1h, ${oneNode} }
  to: { kind: vault, address: "${to.url}", prefix: copies, token: env:TO, layout: tls, ${oneNode} }
links: { bench: { primary: from, backups: [to], naming: exact } }
senders: { bao: { kind: openbao-audit, store: from, prefix: certs, digest: ${hash('sha256', secret)} } }
`,
      { env: { FROM: from.root, TO: to.root }, readFile: () => '', path: join(folder, 'certstandby.yaml') },
    );
    const program = await compose(config, { runtime, log: silentLog, table: memoryTable() });
    const server = await startReceiverServer({ host: '127.0.0.1', port, log: silentLog, receiver: program.receiver });
    try {
      const [link] = program.links;
      if (link === undefined) throw new Error('there is no link');
      await program.reconcile(link);
      const times = { ours: [] as number[], bare: [] as number[] };
      for (let round = -warmUp; round < rounds; round += 1) {
        const name = `shop-${round}`;
        const data = await newData();
        const began = performance.now();
        await done(from, 'POST', `secret/data/certs/${name}`, { data });
        await untilCopied(to, name);
        const ours = performance.now() - began;
        await program.dispatch.idle();
        const next = performance.now();
        await done(from, 'POST', `secret/data/bare/${name}`, { data });
        const read = await done(from, 'GET', `secret/data/bare/${name}`);
        await done(to, 'PUT', `secret/data/bare/${name}`, { data: read.data.data });
        const bare = performance.now() - next;
        if (round < 0) continue;
        times.ours.push(ours);
        times.bare.push(bare);
      }
      for (const [share, name] of [
        [0.5, 'median'],
        [0.95, '95 %'],
      ] as const)
        report.line(
          name,
          `${quantile(times.ours, share).toFixed(1)} against ${quantile(times.bare, share).toFixed(1)}`,
          {
            value: quantile(times.ours, share) / quantile(times.bare, share),
          },
        );
    } finally {
      await server.close();
      await program.close();
    }
  } finally {
    await Promise.all([from.close(), to.close()]);
  }
}

/** Data of a secret that nothing else has, as the layout `tls` has it. */
async function newData(): Promise<{ readonly 'tls.crt': string; readonly 'tls.key': string }> {
  const { certificate, intermediate = '', privateKey } = await testCertificate();
  return { 'tls.crt': certificate + intermediate, 'tls.key': privateKey.reveal() };
}

async function untilCopied(to: OpenBao, name: string): Promise<void> {
  for (const began = performance.now(); ; ) {
    if ((await to.ask('GET', `secret/data/copies/${name}`)).status === 200) return;
    if (performance.now() - began > mostMs) throw new Error('the copy did not come');
    await runtime.wait(1);
  }
}
