import { isDeepStrictEqual } from 'node:util';

/** Certificate, chain and key as the API takes and gives them. */
export interface Pem {
  readonly content: string;
  readonly intermediate?: string;
  readonly priv_key?: string;
}

/** What is known of one certificate by the one who changes it. */
interface Known {
  readonly name: string;
  /** The id, once an answer told it. */
  id?: string;
  /** The last content that was answered with 200; undefined if none was, or if a delete was. */
  acknowledged: Pem | undefined;
  /** What was asked for since, and not answered: it may be there or not. */
  doubtful: (Pem | 'deleted')[];
}

/** How the one who changes, and looks afterwards, reaches the server of this life. */
export interface Access {
  readonly url: string;
  readonly crn: string;
  readonly token: string;
}

/**
 * Changes an instance from several sides, and knows afterwards what must be there. Survives the
 * server's deaths.
 */
export function importLoad(versions: readonly Pem[], random: () => number) {
  const known: Known[] = [];
  const counts = { acknowledged: 0, unanswered: 0 };
  const pick = <T>(items: readonly T[]): T | undefined => items[Math.floor(random() * items.length)];

  async function step(access: Access): Promise<void> {
    const busy = new Set(working);
    // What is in doubt is left alone until it has been read back.
    const sure = ({ acknowledged, doubtful }: Known) => acknowledged !== undefined && doubtful.length === 0;
    const certificate = random() < 0.3 ? pick(known.filter((one) => sure(one) && !busy.has(one))) : undefined;
    if (certificate === undefined) return importNew(access);
    working.add(certificate);
    try {
      if (random() < 0.8) await reimport(access, certificate);
      else await remove(access, certificate);
    } finally {
      working.delete(certificate);
    }
  }
  const working = new Set<Known>();

  async function importNew(access: Access): Promise<void> {
    const pem = pick(versions) as Pem;
    const one: Known = { name: `import-${known.length}`, acknowledged: undefined, doubtful: [pem] };
    known.push(one);
    const path = `/v3/${encodeURIComponent(access.crn)}/certificates/import`;
    const body = await request(access, 'POST', path, { name: one.name, description: '', data: pem });
    one.id = String((body as { _id: string })._id);
    acknowledge(one, pem);
  }

  async function reimport(access: Access, one: Known): Promise<void> {
    const pem = pick(versions) as Pem;
    one.doubtful.push(pem);
    await request(access, 'PUT', `/v1/certificate/${encodeURIComponent(one.id ?? '')}`, pem);
    acknowledge(one, pem);
  }

  async function remove(access: Access, one: Known): Promise<void> {
    one.doubtful.push('deleted');
    await request(access, 'DELETE', `/v2/certificate/${encodeURIComponent(one.id ?? '')}`);
    acknowledge(one, undefined);
  }

  function acknowledge(one: Known, content: Pem | undefined): void {
    one.acknowledged = content;
    one.doubtful = [];
    counts.acknowledged += 1;
  }

  return {
    counts,

    /** Changes until the server is gone; throws if it refuses something. */
    async untilDeath(access: Access, concurrency: number): Promise<void> {
      const loop = async (): Promise<void> => {
        for (;;) {
          try {
            await step(access);
          } catch (thrown) {
            if (thrown instanceof Refused) throw thrown;
            counts.unanswered += 1;
            return;
          }
        }
      };
      await Promise.all(Array.from({ length: concurrency }, loop));
    },

    /** Compares everything with what the server has; answers what must not be. */
    async broken(access: Access): Promise<readonly string[]> {
      const found: string[] = [];
      const listed = new Map<string, string>();
      for (const { _id, name } of await listAll(access)) {
        if (listed.has(_id)) found.push(`${name} is listed twice`);
        listed.set(_id, name);
      }
      for (const one of known) {
        const ids = [...listed].filter(([, name]) => name === one.name).map(([id]) => id);
        const [id] = ids;
        if (ids.length > 1) found.push(`${one.name} is there ${ids.length} times`);
        if (one.id !== undefined && id !== undefined && id !== one.id) found.push(`${one.name} has another id`);
        if (one.id !== undefined) one.id = id ?? one.id;
        const content = id === undefined ? 'deleted' : await download(access, id).catch(() => 'unreadable' as const);
        const may: (Pem | 'deleted')[] = [one.acknowledged ?? 'deleted', ...one.doubtful];
        if (!may.some((each) => isDeepStrictEqual(each, content))) {
          const what = typeof content === 'string' ? content : 'of another version';
          found.push(`${one.name} is ${what}, acknowledged: ${one.acknowledged === undefined ? 'deleted' : 'there'}`);
        }
        // From now on this is what it is.
        if (id !== undefined) one.id = id;
        one.acknowledged = typeof content === 'string' ? undefined : content;
        one.doubtful = [];
      }
      const names = new Set(known.map(({ name }) => name));
      for (const name of listed.values()) if (!names.has(name)) found.push(`${name} was never imported`);
      return found;
    },
  };
}

class Refused extends Error {}

async function request(access: Access, method: string, path: string, body?: unknown): Promise<unknown> {
  const response = await fetch(`${access.url}/api${path}`, {
    method,
    headers: { authorization: `Bearer ${access.token}`, 'content-type': 'application/json' },
    ...(body !== undefined && { body: JSON.stringify(body) }),
  });
  const text = await response.text();
  if (response.status !== 200) throw new Refused(`${method} was answered ${response.status}: ${text}`);
  return JSON.parse(text);
}

async function download(access: Access, id: string): Promise<Pem> {
  return ((await request(access, 'GET', `/v2/certificate/${encodeURIComponent(id)}`)) as { data: Pem }).data;
}

async function listAll(access: Access): Promise<readonly { readonly _id: string; readonly name: string }[]> {
  const all: { readonly _id: string; readonly name: string }[] = [];
  let from = '';
  do {
    const page = (await request(
      access,
      'GET',
      `/v3/${encodeURIComponent(access.crn)}/certificates?order=expires_on&page_size=200&page_number=0${from}`,
    )) as {
      certificates: { _id: string; name: string }[];
      nextPageInfo: { startWithDocId: string; startWithOrderByValue: string };
    };
    all.push(...page.certificates);
    const { startWithDocId, startWithOrderByValue } = page.nextPageInfo;
    const query = new URLSearchParams({
      start_from_document_id: startWithDocId,
      start_from_orderby_value: startWithOrderByValue,
    });
    from = startWithDocId === '' ? '' : `&${query}`;
  } while (from !== '');
  return all;
}
