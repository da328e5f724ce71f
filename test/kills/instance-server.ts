import { join } from 'node:path';
import { openInstances } from '../../src/compose/instances.ts';
import { silentLog } from '../../src/log.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';

export interface InstanceServerStart {
  /** Where it keeps everything, root key included. */
  readonly folder: string;
  readonly crn: string;
  readonly apiKey: string;
}

/**
 * The process that is killed: a server with one instance on files, as `instance run` and `up` have
 * it.
 */
export function instanceServerHandlers() {
  return {
    /** Answers its address. */
    async start({ folder, crn, apiKey }: InstanceServerStart): Promise<string> {
      const instances = await openInstances(
        {
          table: { kind: 'lmdb', path: join(folder, 'data') },
          rootKeys: [{ kind: 'file', path: join(folder, 'keys', 'root.key') }],
          tenants: [crn],
        },
        { runtime, log: silentLog },
      );
      const server = await instances.serve({
        host: '127.0.0.1',
        port: 0,
        instances: [{ crn, apiKeys: [{ name: 'kills', key: new Secret(apiKey), role: 'manager' }], limits: 'none' }],
      });
      return server.url;
    },
  };
}
