import type { CertificatePem } from '../../src/certificate/certificate.ts';

/** One instance server, as its clients know it. */
export interface Side {
  readonly url: string;
  readonly crn: string;
  readonly apiKey: string;
}

/** A certificate's PEM texts in the members of Certificate Manager's API. */
export interface Content {
  readonly content: string;
  readonly priv_key?: string;
  readonly intermediate?: string;
}

interface Listed {
  readonly _id: string;
  readonly description: string;
}

/**
 * Certificate Manager's API by plain `fetch` (which keeps connections alive) and a token that is
 * already there.
 */
export function restClient({ url, crn }: Side, token: string) {
  const instance = encodeURIComponent(crn);
  const certificate = (id: string) => encodeURIComponent(`${crn.slice(0, -1)}certificate:${id}`);

  interface Page {
    readonly certificates: readonly Listed[];
    readonly nextPageInfo: { readonly startWithDocId: string; readonly startWithOrderByValue: string };
  }

  /** A page of 200, and what the next one is asked for with; empty after the last. */
  async function pageFrom(from: string): Promise<{ readonly certificates: readonly Listed[]; readonly next: string }> {
    const query = `order=expires_on&page_size=200&page_number=0${from}`;
    const { certificates, nextPageInfo } = await call<Page>('GET', `/v3/${instance}/certificates?${query}`);
    const { startWithDocId: document, startWithOrderByValue: value } = nextPageInfo;
    const next = new URLSearchParams({ start_from_document_id: document, start_from_orderby_value: value });
    return { certificates, next: document === '' ? '' : `&${next}` };
  }

  async function call<T>(method: string, path: string, body?: unknown): Promise<T> {
    const response = await fetch(`${url}/api${path}`, {
      method,
      headers: { authorization: `Bearer ${token}`, 'content-type': 'application/json' },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${path} was answered ${response.status}`);
    return JSON.parse(text) as T;
  }

  return {
    async import(name: string, data: Content): Promise<string> {
      const { _id } = await call<Listed>('POST', `/v3/${instance}/certificates/import`, {
        name,
        description: '',
        data,
      });
      return idOf(_id);
    },
    reimport: (id: string, content: Content) => call<Listed>('PUT', `/v1/certificate/${certificate(id)}`, content),
    download: async (id: string) =>
      await call<{ readonly name: string; readonly data: Content }>('GET', `/v2/certificate/${certificate(id)}`),
    remove: (id: string) => call<unknown>('DELETE', `/v2/certificate/${certificate(id)}`),
    /** One page of 200; where the next one begins, again at the front after the last. */
    page: async (from = ''): Promise<string> => (await pageFrom(from)).next,
    /** Id and description of everything there. */
    async list(): Promise<readonly { readonly id: string; readonly description: string }[]> {
      const all: Listed[] = [];
      let from = '';
      do {
        const { certificates, next } = await pageFrom(from);
        all.push(...certificates);
        from = next;
      } while (from !== '');
      return all.map(({ _id, description }) => ({ id: idOf(_id), description }));
    },
  };
}

export type RestClient = ReturnType<typeof restClient>;

/** The members of Certificate Manager's API for these texts. */
export function asContent({ certificate, intermediate, privateKey }: CertificatePem): Content {
  return {
    content: certificate,
    ...(privateKey && { priv_key: privateKey.reveal() }),
    ...(intermediate && { intermediate }),
  };
}

/** Whether two contents are the same PEM blocks in the same order, wherever their lines break. */
export function sameContent(a: Content, b: Content): boolean {
  const bare = ({ content, intermediate = '', priv_key = '' }: Content) =>
    [content, intermediate, priv_key].map((text) => text.replace(/\s+/g, '')).join();
  return bare(a) === bare(b);
}

const idOf = (crn: string): string => crn.slice(crn.lastIndexOf(':') + 1);
