import { appendFileSync } from 'node:fs';
import { join } from 'node:path';
import { openInstances } from '../../src/compose/instances.ts';
import type { InstanceKeyring } from '../../src/instance/api/served-instances.ts';
import { type InstanceServer, startInstanceServer } from '../../src/instance/api/server.ts';
import { jsonLog } from '../../src/log.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import { answerCalls } from '../support/roles.ts';
import { primaryCrn as crn } from './program.ts';

// An instance of our own as it is run: on LMDB, with a root key in a file. Or, for the control,
// with nothing sealed.

export interface SealedOptions {
  readonly folder: string;
  readonly apiKey: string;
  readonly sealed: boolean;
}

/** Takes part in place of a keyring, and seals nothing. */
const openKeyring: InstanceKeyring = {
  seal: async (_place, content) => Buffer.from(content).toString('latin1'),
  open: async (_place, sealed) => Buffer.from(sealed, 'latin1'),
  sealedWith: () => 'none',
  currentDataKey: async () => 'none',
  status: () => ({ state: 'ready', rootKeys: [], dataKeysInMemory: 0, calls: { wrap: 0, unwrap: 0, rewrap: 0 } }),
  destroy: async () => {},
};

export function sealedHandlers() {
  let server: InstanceServer | undefined;
  let closeRest: () => Promise<void> = async () => {};
  let rotateDataKey = async (): Promise<number> => 0;

  return {
    /** Answers its URL. */
    async start({ folder, apiKey, sealed }: SealedOptions): Promise<string> {
      const write = (line: string) => appendFileSync(join(folder, 'instance.log'), line);
      const log = jsonLog({ least: 'debug', now: runtime.now, write });
      const instance = { crn, apiKeys: [{ name: 'manager', key: new Secret(apiKey), role: 'manager' as const }] };
      const how = { host: '127.0.0.1', port: 0, instances: [instance], limits: 'none' as const };
      const path = join(folder, 'table');
      if (sealed) {
        const rootKeys = [{ kind: 'file' as const, path: join(folder, 'root-key') }];
        const opened = await openInstances(
          { table: { kind: 'lmdb', path }, rootKeys, tenants: [crn] },
          { runtime, log },
        );
        server = await opened.serve(how);
        closeRest = opened.close;
        rotateDataKey = async () => {
          await opened.keyringOf(crn).rotate();
          return (await opened.upkeepOf(crn).reseal()).resealed;
        };
      } else {
        const table = lmdbTable({ path });
        server = await startInstanceServer({ ...how, table, keyringOf: () => openKeyring, runtime, log });
        closeRest = () => table.close();
      }
      return server.url;
    },

    /** A new data key, and everything sealed with it. Answers how many rows were. */
    rotate: () => rotateDataKey(),

    async stop() {
      await server?.close();
      await closeRest();
    },
  };
}

answerCalls(sealedHandlers());
