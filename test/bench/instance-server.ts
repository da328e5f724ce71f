import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { factsOf } from '../../src/certificate/facts.ts';
import { keyProblem } from '../../src/certificate/judgement.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { type InstanceServer, startInstanceServer } from '../../src/instance/api/server.ts';
import type { KeptFacts } from '../../src/instance/certificates/certificate-row.ts';
import { type CertificateRows, certificateRows } from '../../src/instance/certificates/certificate-rows.ts';
import { fileRootKey } from '../../src/keys/file.ts';
import { type Keyring, keyring } from '../../src/keys/keyring.ts';
import { silentLog as log } from '../../src/log.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import type { Table } from '../../src/table/table.ts';
import type { Content } from './rest.ts';

export interface InstanceBenchStart {
  readonly folder: string;
  readonly crn: string;
  readonly apiKey: string;
}

/**
 * The process of the instance that is measured, and of its floors: they share table, disk and keys.
 */
export function instanceHandlers() {
  let table: Table;
  let keys: Keyring;
  let rows: CertificateRows;
  let server: InstanceServer | undefined;
  let floorRows = 0;

  /** Reads and opens a row that `importFloor` wrote. */
  async function openFloor(sort: string): Promise<unknown> {
    const row = await table.get({ partition: 'floor', sort });
    const place = { certificate: sort, field: 'content', version: '1' };
    return JSON.parse(Buffer.from(await keys.open(place, String(row?.sealed))).toString());
  }

  return {
    /** Answers its address. */
    async start({ folder, crn, apiKey }: InstanceBenchStart): Promise<string> {
      table = lmdbTable({ path: join(folder, 'instance') });
      const { rootKey } = await fileRootKey({ path: join(folder, 'keys', 'root.key'), create: true });
      keys = keyring({ table, tenant: crn, rootKeys: [rootKey], runtime, log });
      rows = certificateRows({ table, sealer: keys, runtime, log, instanceCrn: crn });
      server = await startInstanceServer({
        host: '127.0.0.1',
        port: 0,
        table,
        keyringOf: () => keys,
        runtime,
        log,
        limits: 'none',
        instances: [{ crn, apiKeys: [{ name: 'bench', key: new Secret(apiKey), role: 'manager' }] }],
      });
      return server.url;
    },

    /**
     * Parses, seals and writes these, each after the one before is on disk: what an import cannot
     * do without. Certificates a second.
     */
    async importFloor(contents: readonly Content[]): Promise<number> {
      const started = performance.now();
      for (const pem of contents) {
        factsOfContent(pem);
        const sort = `floor-${floorRows}`;
        floorRows += 1;
        const place = { certificate: sort, field: 'content', version: '1' };
        const sealed = await keys.seal(place, Buffer.from(JSON.stringify(pem)));
        await table.putIfAbsent({ partition: 'floor', sort }, { sealed });
      }
      return (contents.length / (performance.now() - started)) * 1000;
    },

    /** Reads and opens the rows that `importFloor` wrote. Certificates a second. */
    async downloadFloor(count: number): Promise<number> {
      const started = performance.now();
      for (let index = 0; index < count; index += 1) {
        await openFloor(`floor-${index % floorRows}`);
      }
      return (count / (performance.now() - started)) * 1000;
    },

    /**
     * The least that serves what `downloadFloor` reads: no routes, no tokens. Answers its address.
     */
    async bareServer(): Promise<string> {
      const bare = createServer(async (request, response) => {
        const body = JSON.stringify(await openFloor(request.url?.slice(1) ?? ''));
        response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
        response.end(body);
      });
      await once(bare.listen(0, '127.0.0.1'), 'listening');
      return `http://127.0.0.1:${(bare.address() as AddressInfo).port}`;
    },

    /** What a download does beside HTTP. Certificates a second. */
    async downloads({ ids, count }: { readonly ids: readonly string[]; readonly count: number }): Promise<number> {
      const started = performance.now();
      for (let index = 0; index < count; index += 1) await rows.read(ids[index % ids.length] ?? '');
      return (count / (performance.now() - started)) * 1000;
    },

    /**
     * Adds so many certificates without HTTP, each with one of these contents, and a day of its
     * own.
     */
    async fill({ count, contents }: { readonly count: number; readonly contents: readonly Content[] }): Promise<void> {
      const facts = contents.map(factsOfContent);
      let next = 0;
      const worker = async () => {
        while (next < count) {
          const index = next;
          next += 1;
          const pem = contents[index % contents.length] as Content;
          const its = facts[index % contents.length] as KeptFacts;
          const expiresOn = Date.now() + (1 + (index % 400)) * 86_400_000;
          await rows.add(
            { name: `filled-${index}`, description: '', ...its, expiresOn },
            pem,
            Number.POSITIVE_INFINITY,
          );
        }
      };
      await Promise.all(Array.from({ length: 256 }, worker));
    },

    rootKeyCalls: () => keys.status().calls,

    /**
     * `RssAnon` in KiB after a garbage collection: LMDB maps its file, and resident size would
     * count its pages.
     */
    memoryKiB(): number {
      globalThis.gc?.();
      return Number(/^RssAnon:\s+(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1]);
    },
  };
}

/** What an import finds out about a content before it is kept. */
function factsOfContent({ content, intermediate, priv_key: key }: Content): KeptFacts {
  const parsed = parseContent({
    certificate: content,
    ...(intermediate !== undefined && { intermediate }),
    ...(key !== undefined && { privateKey: new Secret(key) }),
  });
  const problem = keyProblem(parsed);
  if (problem !== undefined) throw problem;
  const { domains, issuer, serial, notBefore, notAfter, signatureAlgorithm, keyAlgorithm } = factsOf(parsed);
  return {
    domains,
    issuer,
    serialNumber: serial,
    beginsOn: notBefore,
    expiresOn: notAfter,
    algorithm: signatureAlgorithm,
    keyAlgorithm,
  };
}
