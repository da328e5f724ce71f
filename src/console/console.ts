import { asCodedError, type CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { ReplicationRecord } from '../records/replication-record.ts';
import type { Link } from '../replication/link.ts';
import { dayOf, type Estate, found, type Listed, linkViews, type State, states } from './link-view.ts';
import type { Live } from './live.ts';
import {
  type Asked,
  certificatePage,
  type Frame,
  firstRows,
  type LinkPart,
  linkPage,
  listedOnPage,
  message,
  overview,
  type ShownRow,
} from './pages.ts';
import type { Session } from './sessions.ts';

/** An answer of the console to somebody who has signed in. */
export interface Shown {
  readonly status: number;
  readonly page: string;
}

/** The screens: what stands at which path. None changes anything. */
export interface Screens {
  /** The screen of a path with its query; `undefined` where there is none. Never throws. */
  show(path: string, query: URLSearchParams, session: Session): Promise<Shown | undefined>;
  /** Nobody looks any more: what is only kept for those who do is let go. */
  forget(): void;
}

const linkPath = /^\/(link|certificate)\/([a-z0-9][a-z0-9-]{0,62})$/;

export function screens(estate: Estate, live: Pick<Live, 'rows' | 'settle'>, now: () => number): Screens {
  const views = linkViews(estate, now);
  const frameOf = ({ formToken }: Session): Frame => ({
    now: now(),
    formToken,
    links: estate.links.map(({ name }) => name),
  });

  /** What stands in the records of these rows now. One that cannot be read is shown as that. */
  async function shownRows(link: Link, listed: readonly Listed[]): Promise<readonly ShownRow[]> {
    const rows: ShownRow[] = [];
    for (const one of listed) {
      const record = await readRecord(link, one.certificate);
      // It may have been forgotten since the list was made.
      if (record !== 'none') rows.push(record === 'unreadable' ? one : { ...one, record });
    }
    return rows;
  }

  async function readRecord(link: Link, certificate: string): Promise<ReplicationRecord | 'none' | 'unreadable'> {
    try {
      return (await estate.record(link, certificate)) ?? 'none';
    } catch (thrown) {
      if (asCodedError(thrown).code === 'table_row_unreadable') return 'unreadable';
      throw thrown;
    }
  }

  async function partOf(link: Link): Promise<LinkPart> {
    try {
      const view = await views.get(link);
      return { link, view, rows: await shownRows(link, firstRows(view)) };
    } catch (thrown) {
      return { link, error: asCodedError(thrown) };
    }
  }

  async function showOverview(frame: Frame): Promise<Shown> {
    const parts: LinkPart[] = [];
    for (const link of estate.links) parts.push(await partOf(link));
    await live.settle();
    return { status: 200, page: overview(estate, parts, live.rows(), frame) };
  }

  async function showLink(link: Link, query: URLSearchParams, frame: Frame): Promise<Shown> {
    const wanted = askedOf(query);
    const view = await views.get(link);
    const at = (page: number) => found(view, wanted, { from: (page - 1) * listedOnPage, most: listedOnPage });
    const first = at(wanted.page);
    // A page that is no longer there leads to the last one that is.
    const page = Math.min(wanted.page, Math.max(1, Math.ceil(first.of / listedOnPage)));
    const { rows, of } = page === wanted.page ? first : at(page);
    const given = { link, view, asked: { ...wanted, page }, rows: await shownRows(link, rows), of };
    return { status: 200, page: linkPage(estate, given, frame) };
  }

  async function showCertificate(link: Link, certificate: string, frame: Frame): Promise<Shown> {
    // A key that no table takes is nobody's.
    const fits = certificate !== '' && Buffer.byteLength(certificate) <= limits.certificateIdCharacters * 4;
    const record = fits ? await estate.record(link, certificate) : undefined;
    if (record !== undefined) return { status: 200, page: certificatePage(estate, link, certificate, record, frame) };
    return { status: 404, page: message('No such certificate', [`There is no record of it in ${link.name}.`], frame) };
  }

  return {
    async show(path, query, session) {
      const frame = frameOf(session);
      try {
        if (path === '/') return await showOverview(frame);
        const [, what, name] = linkPath.exec(path) ?? [];
        if (what === undefined) return undefined;
        const link = estate.links.find((one) => one.name === name);
        if (link === undefined) return undefined;
        if (what === 'link') return await showLink(link, query, frame);
        return await showCertificate(link, query.get('id') ?? '', frame);
      } catch (thrown) {
        const error = asCodedError(thrown);
        const lines = [`${error.message} [${error.code}]`, error.remedy];
        return { status: statusOf(error), page: message('This cannot be shown', lines, frame) };
      }
    },
    forget: views.forget,
  };
}

/** Of a failure on this side; one row that is damaged is not a table that is away. */
const statusOf = ({ code }: CodedError): number => (code === 'table_unavailable' ? 503 : 500);

/** What cannot be understood of a search is as if it had not been asked. */
function askedOf(query: URLSearchParams): Asked {
  const state = states.find((one): one is State => one === query.get('state'));
  const day = Date.parse(`${query.get('expires') ?? ''}T00:00:00Z`);
  const page = Number(query.get('page') ?? 1);
  return {
    text: (query.get('q') ?? '').trim().slice(0, limits.searchCharacters),
    state,
    expires: Number.isNaN(day) ? undefined : dayOf(day),
    page: Number.isInteger(page) && page >= 1 && page <= 1_000_000 ? page : 1,
  };
}
