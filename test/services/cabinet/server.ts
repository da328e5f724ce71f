import { createServer, type IncomingMessage } from 'node:http';
import { text } from 'node:stream/consumers';
import { factsOf } from '../../../src/certificate/facts.ts';
import { apiPartNames, parseContent } from '../../../src/certificate/pem.ts';
import { listen } from '../../../src/http/listen.ts';
import { Secret } from '../../../src/secret.ts';

/** What is said of a place. It has no facts as long as it has no content. */
export interface PlaceJson extends PlaceWords {
  readonly id: string;
  readonly revision: string;
  readonly lastModified: number;
  readonly facts?: FactsJson;
}

/** What a client says of a place. */
interface PlaceWords {
  readonly name: string;
  readonly description: string;
  readonly tags: readonly string[];
  /** Absent: none. */
  readonly mark?: string;
}

interface FactsJson {
  readonly domains: readonly string[];
  readonly issuer: string;
  readonly serial: string;
  readonly notBefore: number;
  readonly notAfter: number;
}

export interface ContentJson {
  readonly content: string;
  readonly intermediate?: string;
  readonly priv_key?: string;
}

/** What must be so, or nothing is written: 412. */
interface Conditions {
  /** The place has this mark. */
  readonly ifMark?: string;
  /** The place has content. */
  readonly ifFilled?: boolean;
}

interface Place {
  readonly id: string;
  readonly words: PlaceWords;
  readonly content?: ContentJson;
  readonly facts?: FactsJson;
  readonly revision: number;
  readonly lastModified: number;
}

export interface CabinetOptions {
  /** The word that opens it. */
  readonly pin: string;
  /** Two places cannot have one name. */
  readonly uniqueNames: boolean;
  /** Places on one page of a listing. Default 100. */
  readonly pageSize?: number;
}

export interface CabinetServer {
  readonly url: string;
  /** Takes the content out of a place, as if it had never come. */
  empty(id: string): void;
  close(): Promise<void>;
}

interface Answer {
  readonly status: number;
  readonly body?: unknown;
}

/**
 * A service over HTTP that keeps certificates in memory and makes each in two requests, as services
 * do that keep versions of content below a name: the place first, with name and mark, then what is
 * in it. Each request takes effect at once, as a whole.
 *
 *     GET    /places?from=<number>      a page: { places, next? }
 *     POST   /places                    makes a place: 201; 409 with `holder` if its name is taken
 *     GET    /places/<id>               what is said of it
 *     POST   /places/<id>               says something else of it; 409 as above
 *     GET    /places/<id>/content       { place, content? }
 *     PUT    /places/<id>/content       fills it, or fills it anew
 *     DELETE /places/<id>               204
 */
export async function startCabinet(options: CabinetOptions): Promise<CabinetServer> {
  const { pin, uniqueNames, pageSize = 100 } = options;
  const places = new Map<string, Place>();
  let made = 0;
  let revisions = 0;

  const said = ({ id, words, facts, revision, lastModified }: Place): PlaceJson => ({
    id,
    ...words,
    ...(facts && { facts }),
    revision: String(revision),
    lastModified,
  });

  function keep(place: Omit<Place, 'revision' | 'lastModified'>): Place {
    revisions += 1;
    const kept = { ...place, revision: revisions, lastModified: Date.now() };
    places.set(place.id, kept);
    return kept;
  }

  const holderOf = (name: string) =>
    uniqueNames ? [...places.values()].find(({ words }) => words.name === name) : undefined;
  const taken = (holder: Place): Answer => ({
    status: 409,
    body: { message: 'the name is taken', holder: said(holder) },
  });

  function page(from: number): Answer {
    const rest = [...places.values()].filter(({ id }) => numberOf(id) > from);
    const shown = rest.slice(0, pageSize);
    const last = shown.at(-1);
    const next = last !== undefined && rest.length > shown.length ? { next: numberOf(last.id) } : {};
    return { status: 200, body: { places: shown.map(said), ...next } };
  }

  function make(words: PlaceWords): Answer {
    const holder = holderOf(words.name);
    if (holder !== undefined) return taken(holder);
    made += 1;
    return { status: 201, body: said(keep({ id: `p${String(made).padStart(9, '0')}`, words: wordsOf(words) })) };
  }

  function describe(place: Place, { ifMark, ifFilled, ...words }: PlaceWords & Conditions): Answer {
    if (!holds(place, { ifMark, ifFilled })) return { status: 412 };
    const holder = holderOf(words.name);
    if (holder !== undefined && holder.id !== place.id) return taken(holder);
    return { status: 200, body: said(keep({ ...place, words: wordsOf(words) })) };
  }

  function fill(place: Place, { ifMark, ifFilled, ...content }: ContentJson & Conditions): Answer {
    if (!holds(place, { ifMark, ifFilled })) return { status: 412 };
    return { status: 200, body: said(keep({ ...place, content, facts: factsIn(content) })) };
  }

  function answer(method: string, url: URL, body: unknown): Answer {
    const [, collection, id, part] = url.pathname.split('/');
    if (collection !== 'places') return { status: 404 };
    if (id === undefined) {
      if (method === 'POST') return make(body as PlaceWords);
      return method === 'GET' ? page(Number(url.searchParams.get('from') ?? 0)) : { status: 405 };
    }
    const place = places.get(id);
    if (place === undefined) return { status: 404 };
    if (part === 'content') {
      if (method === 'PUT') return fill(place, body as ContentJson & Conditions);
      return { status: 200, body: { place: said(place), content: place.content } };
    }
    if (method === 'POST') return describe(place, body as PlaceWords & Conditions);
    if (method !== 'DELETE') return { status: 200, body: said(place) };
    places.delete(id);
    return { status: 204 };
  }

  async function handle(request: IncomingMessage): Promise<Answer> {
    const body = await text(request);
    if (request.headers.authorization !== `Bearer ${pin}`) return { status: 401 };
    const url = new URL(request.url ?? '', 'http://127.0.0.1');
    return answer(request.method ?? '', url, body === '' ? undefined : JSON.parse(body));
  }

  const server = createServer((request, response) => {
    handle(request).then(
      ({ status, body = {} }) => {
        response.writeHead(status, { 'content-type': 'application/json' });
        response.end(status === 204 ? undefined : JSON.stringify(body));
      },
      () => response.destroy(),
    );
  });
  const { url } = await listen(server, '127.0.0.1', 0, { nextFree: false });
  return {
    url,
    empty(id) {
      const place = places.get(id);
      if (place !== undefined) keep({ id, words: place.words });
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

const numberOf = (id: string) => Number(id.slice(1));

/** What a place is said to be, and nothing else that came along. */
function wordsOf({ name, description, tags, mark }: PlaceWords): PlaceWords {
  return { name, description, tags, ...(mark !== undefined && { mark }) };
}

function holds(
  { words, content }: Place,
  { ifMark, ifFilled }: { readonly ifMark: string | undefined; readonly ifFilled: boolean | undefined },
): boolean {
  return (ifMark === undefined || words.mark === ifMark) && (ifFilled !== true || content !== undefined);
}

function factsIn({ content, intermediate, priv_key: key }: ContentJson): FactsJson {
  const pem = {
    certificate: content,
    ...(intermediate !== undefined && { intermediate }),
    ...(key !== undefined && { privateKey: new Secret(key) }),
  };
  const { domains, issuer, serial, notBefore, notAfter } = factsOf(parseContent(pem, apiPartNames));
  return { domains, issuer, serial, notBefore, notAfter };
}
