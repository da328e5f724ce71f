import { expect, test } from 'vitest';
import { parseContent } from '../../src/certificate/pem.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { testCertificate } from '../support/certificates.ts';
import { type Pair, startPair } from './pair.ts';

/**
 * What arrived at both services since the last call, without tokens and keys, as
 * `primary GET /v2/certificate`.
 */
function arrived({ primaryProxy, proxy }: Pair): readonly string[] {
  const of = (name: string, requests: string[]) =>
    requests
      .splice(0)
      .filter((request) => !/identity\/token|publicKey/.test(request))
      .map(
        (request) =>
          `${name} ${request.replace(/^(\S+) \/api(\/v\d\/[a-z]+|\/v\d)\/.*?(\/metadata|\/import)?$/, '$1 $2$3')}`,
      );
  return [...of('primary', primaryProxy.requests), ...of('backup', proxy.requests)];
}

/**
 * Waits until every certificate that was asked for has been looked at, and the last pass is over.
 */
async function worked({ program }: Pair, certificate: string): Promise<void> {
  const [link] = program.links;
  for (let attempt = 0; attempt < 200; attempt += 1) {
    const record = link && (await program.record(link, certificate));
    if (record && record.requested === record.replicated && record.leaseUntil === undefined) return;
    await systemRuntime.wait(50);
  }
  throw new Error('it is not worked off');
}

test('a certificate that an event tells of costs one read in the primary, one in the backup, and one write', async () => {
  const pair = await startPair({ sweeps: false });
  try {
    const [first, second] = await Promise.all([testCertificate(), testCertificate()]);
    const id = await pair.import('shop', first);
    const [link] = pair.program.links;
    // The service sends no event for a first import.
    if (link !== undefined) await pair.program.reconcile(link);
    await worked(pair, id);
    await pair.copied('shop', first);
    arrived(pair);
    await pair.primary.reimport(id, parseContent(second));
    await pair.copied('shop', second);
    await worked(pair, id);
    expect(arrived(pair)).toEqual([
      'primary GET /v2/certificate',
      'backup GET /v1/certificate/metadata',
      'backup PUT /v1/certificate',
    ]);
  } finally {
    await pair.close();
  }
});
