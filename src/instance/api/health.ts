import { CodedError } from '../../errors.ts';
import type { KeyringStatus } from '../../keys/keyring.ts';
import type { Table } from '../../table/table.ts';
import { registryPartitions } from '../rows/partitions.ts';
import { type Answer, errorAnswer } from './http.ts';
import type { ServedInstances } from './served-instances.ts';

/** The longest wait for the table: the one who asks for health waits too. */
const tableMs = 2_000;

/**
 * How the server is, for those who watch it: no token is needed, and nothing is told that names an
 * instance, a key or a certificate. 200 while requests can be served, also when only one of two
 * root keys answers; else 503.
 */
export async function healthAnswer(
  method: string | undefined,
  state: { readonly served: ServedInstances; readonly table: Table; readonly tableWrites: 'ok' | 'failing' },
): Promise<Answer> {
  if (method !== 'GET' && method !== 'HEAD') {
    const answer = errorAnswer(new CodedError('instance_method', `${method} is not an operation of this path`));
    return { ...answer, headers: { allow: 'GET, HEAD' } };
  }
  const { served, table, tableWrites } = state;
  const tableReads = (await answersInTime(table)) ? 'ok' : 'failing';
  const keyrings = served.keyrings();
  const rootKeys = keyrings.some(isOutOfOrder)
    ? 'failing'
    : (['outage', 'degraded'] as const).find((trouble) => keyrings.some((keyring) => keyring.state === trouble));
  const instances = served.counts();
  const failing =
    tableReads === 'failing' ||
    tableWrites === 'failing' ||
    rootKeys === 'failing' ||
    rootKeys === 'outage' ||
    instances.waiting > 0;
  const servesUntil = Math.min(...keyrings.flatMap((keyring) => keyring.servesUntil ?? []));
  return {
    status: failing ? 503 : 200,
    body: {
      status: failing ? 'failing' : (rootKeys ?? 'ok'),
      table: { reads: tableReads, writes: tableWrites },
      // In an outage data keys in memory go on serving until this moment.
      rootKeys: { state: rootKeys ?? 'ok', ...(Number.isFinite(servesUntil) && { servesUntil }) },
      instances,
    },
  };
}

async function answersInTime(table: Table): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), tableMs);
  });
  const asked = table.get({ partition: registryPartitions.revision, sort: 'revision' }).then(
    () => true,
    () => false,
  );
  const answered = await Promise.race([asked, late]);
  clearTimeout(timer);
  return answered;
}

/** Whether a keyring has no root key left that works, nor anything in memory. */
function isOutOfOrder({ state, rootKeys }: KeyringStatus): boolean {
  const works = rootKeys.some((rootKey) => rootKey.state === 'opens' || rootKey.state === 'unasked');
  return state === 'failed' || (state === 'degraded' && !works);
}
