import { asCodedError, type CodedError } from '../errors.ts';
import { type Finding, judgeStatus } from '../findings/status-words.ts';
import { type Html, html } from '../foreign-text.ts';
import type { ReplicationRecord } from '../records/replication-record.ts';
import type { Link } from '../replication/link.ts';
import { standingOf } from '../replication/standing.ts';
import { clean, count, duration, thousands } from '../words.ts';
import { backupCell, type Cell, primaryCell, stateWords } from './cells.ts';
import {
  dayMs,
  dayOf,
  type Estate,
  found,
  type LinkView,
  type Listed,
  lagDays,
  type State,
  states,
  type Wanted,
} from './link-view.ts';
import type { LiveRow } from './live.ts';

/**
 * The pages of the console, as text. Whatever others wrote comes out through `html`, as text: no
 * name can be markup, turn what stands beside it around, or be without end.
 */

/** More of one name than this is not shown in a list, in UTF-16 units. */
const nameShown = 120;
/** Certificates on a page of a list, and of each link on the first page. */
export const listedOnPage = 50;
const listedAtFirst = 8;

const none = html``;
/** No character is cut in half. */
const short = (text: string): string =>
  text.length > nameShown ? `${clean(text.slice(0, nameShown).replace(/[\ud800-\udbff]$/, ''))}…` : clean(text);

/** What every page of somebody who has signed in needs. */
export interface Frame {
  readonly now: number;
  readonly links: readonly string[];
  readonly formToken: string;
}

/** A whole page. Without a frame it is for somebody who has not signed in. */
function page(title: string, content: Html, frame?: Frame): string {
  const signOut =
    frame === undefined
      ? none
      : html`<nav aria-label="Pages"><a href="/">Overview</a>${frame.links.map((link) => html` <a href="/link/${link}">${link}</a>`)}</nav>
<form method="post" action="/leave"><input type="hidden" name="token" value="${frame.formToken}"><button>Sign out</button></form>`;
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>${clean(title)} - certstandby</title>
<meta name="viewport" content="width=device-width, initial-scale=1"><link rel="stylesheet" href="/console.css">${frame === undefined ? none : html`<script src="/console.js" defer></script>`}</head><body>
<a class="skip" href="#main">To the content</a>
<header class="top"><span class="brand">certstandby</span>${signOut}${frame === undefined ? none : html`<p id="live" class="faint" role="status"></p>`}</header>
<main id="main" tabindex="-1">${content}</main>
</body></html>
`.toString();
}

/** A page that says one thing: an error, or how to sign in. */
export function message(title: string, lines: readonly string[], frame?: Frame): string {
  return page(title, html`<h1>${title}</h1>${lines.map((line) => html`<p>${clean(line)}</p>`)}`, frame);
}

/** What a link for signing in leads to: nothing is used up before a person says so. */
export function enterPage(token: string): string {
  return page(
    'Sign in',
    html`<h1>Sign in to the console</h1>
<p>This link signs one person in, once.</p>
<form method="post" action="/enter"><input type="hidden" name="token" value="${token}"><button>Sign in</button></form>`,
  );
}

const symbols: Readonly<Record<Cell['state'], string>> = {
  unreadable: '?',
  refused: '✕',
  behind: '▲',
  'on-its-way': '→',
  gone: '○',
  same: '✓',
  aside: '–',
  there: '●',
};

/** A state: a sign, the words, and a colour that says no more than they do. */
const stateMark = (state: Cell['state'], words = stateWords[state]): Html =>
  html`<span class="state ${state}"><span aria-hidden="true">${symbols[state]}</span> ${words}</span>`;

/** What lies further from 1970 is no date (ECMA-262, 21.4.1.1), whatever a record holds. */
const isDate = (at: number): boolean => Math.abs(at) <= 8.64e15;
const noDate = 'no date';
const utc = (at: number): string =>
  isDate(at) ? `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC` : noDate;
const isoDay = (at: number): string => (isDate(at) ? new Date(at).toISOString().slice(0, 10) : noDate);

function moment(now: number, at: number): Html {
  if (!isDate(at)) return html`<span>${noDate}</span>`;
  const words = at <= now ? `${duration(now - at)} ago` : `in ${duration(at - now)}`;
  return html`<time datetime="${new Date(at).toISOString()}" title="${utc(at)}">${words}</time>`;
}

function cellHtml(cell: Cell, side: string, now: number): Html {
  const more = cell.more.map((line) => html`<p>${clean(line)}</p>`);
  const moments = cell.moments.map(
    ({ what, at }) => html`<p class="faint">${what} ${isoDay(at)}, ${moment(now, at)}</p>`,
  );
  return html`<td role="cell" data-side="${side}">${stateMark(cell.state, cell.words)}${more}${moments}</td>`;
}

/** Half a surrogate stands in no address: no certificate is found by one. */
const certificatePath = (link: string, certificate: string): string =>
  `/certificate/${link}?id=${encodeURIComponent(certificate.toWellFormed())}`;

/** A row of a list, with what stands in the record now; `unreadable` where that cannot be told. */
export interface ShownRow extends Listed {
  readonly record?: ReplicationRecord | undefined;
}

/** A record that no page can be made of is shown as one that cannot be read, and hides no other. */
function rowHtml(estate: Estate, link: Link, row: ShownRow, now: number): Html {
  try {
    return readableRow(estate, link, row, now);
  } catch {
    return readableRow(estate, link, { ...row, record: undefined }, now);
  }
}

function readableRow(estate: Estate, link: Link, row: ShownRow, now: number): Html {
  const { record, certificate, name } = row;
  const head = html`<th role="rowheader" scope="row"><a href="${certificatePath(link.name, certificate)}">${short(record?.primary?.name ?? name)}</a></th>`;
  const sides = [link.primary, ...link.backups].map(({ id }) => estate.nameOf(id));
  if (record === undefined) {
    const nothing: Cell = {
      state: 'unreadable',
      words: stateWords.unreadable,
      more: ['its record cannot be read'],
      moments: [],
    };
    return html`<tr role="row">${head}${sides.map((side) => cellHtml(nothing, side, now))}</tr>`;
  }
  const standing = standingOf(link, record);
  const words = (cell: Cell): Cell => ({ ...cell, more: cell.more.map((line) => estate.wording(line)) });
  const cells = [
    primaryCell(link, record, standing, now),
    ...link.backups.map(({ id }) => backupCell(id, record, standing, now)),
  ];
  return html`<tr role="row">${head}${cells.map((cell, at) => cellHtml(words(cell), sides[at] ?? '', now))}</tr>`;
}

function table(estate: Estate, link: Link, rows: readonly ShownRow[], caption: string, now: number): Html {
  const heads = [
    `${estate.nameOf(link.primary.id)} (primary)`,
    ...link.backups.map(({ id }) => `${estate.nameOf(id)} (backup)`),
  ];
  return html`<table class="sided" role="table"><caption>${caption}</caption>
<thead role="rowgroup"><tr role="row"><th role="columnheader" scope="col">Certificate</th>${heads.map((head) => html`<th role="columnheader" scope="col">${head}</th>`)}</tr></thead>
<tbody role="rowgroup">${rows.map((row) => rowHtml(estate, link, row, now))}</tbody></table>`;
}

/** What a link comes to on the first page; a link of which nothing can be told hides no other. */
export type LinkPart =
  | { readonly link: Link; readonly view: LinkView; readonly rows: readonly ShownRow[] }
  | { readonly link: Link; readonly error: CodedError };

/** Which rows of a link the first page shows. */
export const firstRows = (view: LinkView) => found(view, { text: '' }, { from: 0, most: listedAtFirst }).rows;

export function overview(estate: Estate, parts: readonly LinkPart[], events: readonly LiveRow[], frame: Frame): string {
  const judged = parts.map((part) => judgedPart(estate, part, frame));
  const bad = judged.filter(({ good }) => !good).length;
  const not = parts.length === 1 ? 'Not good' : `${bad} of ${parts.length} links not good`;
  const title = bad === 0 ? 'All is good' : not;
  const content = html`<h1 id="verdict" data-part>${title}</h1>
<section aria-labelledby="events-heading"><h2 id="events-heading">What happens</h2>
<p class="faint">What was told or copied since this process began, the newest first</p>
<ol id="events" class="events">${events.map(eventItem)}</ol></section>
<div id="links" data-part>${judged.map(({ section }) => section)}</div>`;
  return page(title, content, frame);
}

/** A link that no section can be made of is told as a failure, and hides no other. */
function judgedPart(estate: Estate, part: LinkPart, frame: Frame): { readonly good: boolean; readonly section: Html } {
  try {
    const { good, findings } = judge(estate, part);
    return { good, section: linkSection(estate, part, findings, frame) };
  } catch (thrown) {
    const failed: LinkPart = { link: part.link, error: asCodedError(thrown) };
    return { good: false, section: linkSection(estate, failed, judge(estate, failed).findings, frame) };
  }
}

/** An event as a page shows it: everything is text, and of a length that fits. */
export function shownEvent({ id, link, certificate, name, kind, at, state, lagMs }: LiveRow) {
  return {
    id: `event-${id}`,
    at: new Date(at).toISOString(),
    time: `${new Date(at).toISOString().slice(11, 19)} UTC`,
    state,
    symbol: symbols[state],
    words: stateWords[state],
    address: certificatePath(link, certificate),
    name: short(name),
    about: `${kind} in ${link}${lagMs === undefined ? '' : `, in every backup after ${duration(lagMs)}`}`,
  };
}

/** The same as the program of the page makes of it: see `assets.ts`. */
function eventItem(row: LiveRow): Html {
  const { id, at, time, state, words, address, name, about } = shownEvent(row);
  return html`<li id="${id}"><time datetime="${at}">${time}</time> ${stateMark(state, words)} <a href="${address}">${name}</a> <span class="faint">${about}</span></li>`;
}

interface Findings {
  readonly good: boolean;
  readonly findings: { readonly wrong: readonly Finding[]; readonly near: readonly Finding[]; readonly good: string };
}

function judge(estate: Estate, part: LinkPart): Findings {
  if ('error' in part) return { good: false, findings: { wrong: [], near: [], good: '' } };
  const findings = judgeStatus(part.view.status, estate.reconcileEveryMs, (store) => estate.nameOf(store));
  return { good: findings.wrong.length === 0, findings };
}

const verdictMark = (good: boolean): Html =>
  good
    ? html`<span class="state good"><span aria-hidden="true">✓</span> good</span>`
    : html`<span class="state bad"><span aria-hidden="true">✕</span> not good</span>`;

function linkSection(
  estate: Estate,
  part: LinkPart,
  { wrong, near, good }: Findings['findings'],
  { now }: Frame,
): Html {
  const { link } = part;
  const heading = (isGood: boolean) =>
    html`<h2 id="link-${link.name}"><a href="/link/${link.name}">${link.name}</a> ${verdictMark(isGood)}</h2>`;
  if ('error' in part)
    return html`<section aria-labelledby="link-${link.name}">${heading(false)}${problem(part.error)}</section>`;
  const { view } = part;
  const { status } = view;
  const shown = table(estate, link, part.rows, 'The worst first, then what expires first', now);
  const all = count(view.listed.length, 'certificate');
  return html`<section aria-labelledby="link-${link.name}">${heading(wrong.length === 0)}
<p class="faint">As of ${utc(view.at)}</p>
${wrong.length === 0 ? html`<p>${clean(good)}</p>` : none}${waiting(estate, wrong, near)}
${sidesHtml(estate, part)}
${view.listed.length === 0 ? html`<p>No certificate has been seen in the primary.</p>` : shown}
<p><a href="/link/${link.name}">Search ${all} of ${link.name}</a></p>
${figures(view, now)}
${lagPicture(view)}
${calendar(link.name, view)}
<p class="faint">The same in a terminal: <code>certstandby status --link ${status.link}</code></p></section>`;
}

/** A failure, with what to do about it. */
function problem(error: CodedError): Html {
  return html`<p class="notice">${clean(error.message)} [${error.code}]</p><p>${clean(error.remedy)}</p>`;
}

/** What waits for a person, each with what mends it. */
function waiting(estate: Estate, wrong: readonly Finding[], near: readonly Finding[]): Html {
  if (wrong.length + near.length === 0) return none;
  const item = (kind: string) => (finding: Finding) => {
    const lines = finding.words.split('\n').map((line) => html`<p>${clean(estate.wording(line.trim()))}</p>`);
    return html`<li class="${kind}">${lines}</li>`;
  };
  return html`<h3>What waits for a person</h3><ul class="findings">${wrong.map(item('wrong'))}${near.map(item('near'))}</ul>`;
}

function sidesHtml(estate: Estate, { link, view }: Extract<LinkPart, { view: LinkView }>): Html {
  const { status, counts } = view;
  const numbers = states.flatMap((state) =>
    counts[state] === 0
      ? []
      : [html`<a href="/link/${link.name}?state=${state}">${thousands(counts[state])} ${stateWords[state]}</a>`],
  );
  const listed = numbers.map((one, at) => (at === 0 ? one : html`, ${one}`));
  const unknown = counts.unreadable === 0 ? '' : `, ${thousands(counts.unreadable)} unknown`;
  const backups = status.backups.map(
    ({ store, equal, behind }) => html`<div><h3>${estate.nameOf(store)}</h3><p class="faint">backup</p>
<p>${count(equal, 'certificate')} the same when last looked at${behind === 0 ? '' : `, ${thousands(behind)} not`}${unknown}</p></div>`,
  );
  return html`<div class="sides"><div><h3>${estate.nameOf(link.primary.id)}</h3><p class="faint">primary</p>
<p>${listed.length === 0 ? 'no certificates' : listed}</p></div>${backups}</div>`;
}

function figures({ status }: LinkView, now: number): Html {
  const { reconcile, verify, drill, lag, nextExpiry } = status;
  const figure = (name: string, value: Html | string) => html`<div><dt>${name}</dt><dd>${value}</dd></div>`;
  const never = (command: string) => html`never: <code>certstandby ${command} --link ${status.link}</code>`;
  const verified =
    verify === undefined
      ? never('verify')
      : html`${moment(now, verify.completedAt)}, ${count(verify.problems, 'problem')}`;
  const drilled =
    drill === undefined
      ? never('drill')
      : html`${moment(now, drill.completedAt)}, ${drill.served} of ${drill.kept} served`;
  return html`<dl class="figures">
${figure('Last reconcile', reconcile.completedAt === undefined ? never('reconcile') : moment(now, reconcile.completedAt))}
${figure('Last verify', verified)}
${figure('Last drill', drilled)}
${figure('Lag, of 30 days', lag === undefined ? 'no change yet' : `half within ${duration(lag.p50Ms)}, the longest ${duration(lag.maxMs)}`)}
${figure('Next expiry', nextExpiry === undefined ? 'none known' : html`${short(nextExpiry.name)}, ${moment(now, nextExpiry.at)}`)}
</dl>`;
}

/** The slowest change of each of the last 30 days. The scale is of powers of ten from 100 ms on. */
function lagPicture({ lags, at }: LinkView): Html {
  const changes = lags.reduce((sum, day) => sum + day.changes, 0);
  if (changes === 0) return none;
  const least = 100;
  const bars = lags.flatMap(({ changes: of, maxMs }, index) => {
    if (of === 0) return [];
    const height = Math.min(5, Math.max(0.3, Math.log10(Math.max(maxMs, least) / least) + 0.5));
    const day = isoDay((dayOf(at) - (lagDays - 1 - index)) * dayMs);
    return html`<rect x="${index * 10 + 1}" y="${50 - height * 10}" width="8" height="${height * 10}"><title>${day}: ${duration(maxMs)}, ${count(of, 'change')}</title></rect>`;
  });
  const slowest = Math.max(...lags.map(({ maxMs }) => maxMs));
  const words = `${count(changes, 'change')} in 30 days; the slowest took ${duration(slowest)}`;
  return html`<figure><svg class="lag" viewBox="0 0 300 51" preserveAspectRatio="none" role="img" aria-label="The slowest change of each day: ${words}">
<line x1="0" y1="50.5" x2="300" y2="50.5"></line>${bars}</svg>
<figcaption class="faint">The slowest change of each of the last 30 days, today at the right: ${words}</figcaption></figure>`;
}

const weekdays = ['Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat', 'Sun'];

/** What expires on each of the coming 100 days, a week a line. */
function calendar(link: string, { expiries, at }: LinkView): Html {
  const today = dayOf(at);
  // 1970 began on a Thursday.
  const weekday = (today + 3) % 7;
  const cells = [...Array.from({ length: weekday }, () => undefined), ...expiries.keys()];
  const total = expiries.reduce((sum, one) => sum + one, 0);
  const dayCell = (ahead: number | undefined): Html => {
    if (ahead === undefined) return html`<td class="outside"></td>`;
    const date = isoDay((today + ahead) * dayMs);
    const number = expiries[ahead] ?? 0;
    if (number === 0) return html`<td><span class="day">${date.slice(5)}</span></td>`;
    return html`<td class="some"><span class="day">${date.slice(5)}</span><a href="/link/${link}?expires=${date}" aria-label="${count(number, 'certificate')} of ${link} on ${date}">${thousands(number)}</a></td>`;
  };
  const weeks: Html[] = [];
  for (let from = 0; from < cells.length; from += 7) {
    const week = cells.slice(from, from + 7);
    const rest = Array.from({ length: 7 - week.length }, () => undefined);
    weeks.push(html`<tr>${[...week, ...rest].map(dayCell)}</tr>`);
  }
  const words =
    total === 0
      ? 'Nothing expires in the coming 100 days'
      : `${count(total, 'certificate')} to expire in the coming 100 days`;
  return html`<details id="calendar-${link}"${total === 0 ? none : html` open`}><summary id="expiries-${link}">${words}</summary><table class="calendar"><caption>How many expire on each day (UTC)</caption>
<thead><tr>${weekdays.map((day) => html`<th scope="col">${day}</th>`)}</tr></thead><tbody>${weeks}</tbody></table></details>`;
}

/** What a person asked of a list, as it stands in an address. */
export interface Asked extends Wanted {
  /** From 1 on. */
  readonly page: number;
}

function addressOf(link: string, { text, state, expires }: Wanted, pageNumber: number): string {
  const query = new URLSearchParams();
  if (text !== '') query.set('q', text);
  if (state !== undefined) query.set('state', state);
  if (expires !== undefined) query.set('expires', isoDay(expires * dayMs));
  if (pageNumber > 1) query.set('page', String(pageNumber));
  const words = query.toString();
  return `/link/${link}${words === '' ? '' : `?${words}`}`;
}

/** A page of the certificates of a link. */
export function linkPage(
  estate: Estate,
  given: {
    readonly link: Link;
    readonly view: LinkView;
    readonly asked: Asked;
    readonly rows: readonly ShownRow[];
    readonly of: number;
  },
  frame: Frame,
): string {
  const { link, view, asked, rows, of } = given;
  const { now } = frame;
  const { name } = link;
  const from = (asked.page - 1) * listedOnPage;
  const option = (state: State | '', words: string) =>
    html`<option value="${state}"${state === (asked.state ?? '') ? html` selected` : none}>${words}</option>`;
  const expiring =
    asked.expires === undefined
      ? none
      : html`<input type="hidden" name="expires" value="${isoDay(asked.expires * dayMs)}">`;
  const about = asked.expires === undefined ? '' : ` that expire on ${isoDay(asked.expires * dayMs)}`;
  const caption =
    of === 0
      ? 'Nothing fits'
      : `${thousands(from + 1)} to ${thousands(from + rows.length)} of ${count(of, 'certificate')}${about}, the worst first`;
  const pages = html`<nav class="pages" aria-label="Pages of the list">${asked.page > 1 ? html`<a rel="prev" href="${addressOf(name, asked, asked.page - 1)}">Page before</a>` : none}${
    from + rows.length < of ? html` <a rel="next" href="${addressOf(name, asked, asked.page + 1)}">Next page</a>` : none
  }</nav>`;
  const content = html`<h1>${name}</h1>
<form class="search" role="search" action="/link/${name}">
<label>Name or id <input type="search" name="q" value="${asked.text}" maxlength="256"></label>
<label>State <select name="state">${option('', 'any')}${states.map((state) => option(state, `${stateWords[state]} (${thousands(view.counts[state])})`))}</select></label>
${expiring}<button>Search</button> <a href="/link/${name}">All</a></form>
<div id="list" data-part><p class="faint">As of ${utc(view.at)}</p>
${of === 0 ? html`<p>No certificate of ${name} fits${about}.</p>` : table(estate, link, rows, caption, now)}
${pages}</div>`;
  return page(name, content, frame);
}

/** One certificate: what its record says, side by side. */
export function certificatePage(
  estate: Estate,
  link: Link,
  certificate: string,
  record: ReplicationRecord,
  frame: Frame,
): string {
  const { now } = frame;
  const { primary, eventAt, toldAt, toldBy, wakeAt } = record;
  const name = primary?.name ?? certificate;
  const row: ShownRow = { certificate, name, state: 'same', record };
  const told = [eventAt, toldAt].filter((at) => at !== undefined);
  const fact = (what: string, value: Html | string | undefined) =>
    value === undefined ? [] : [html`<div><dt>${what}</dt><dd>${value}</dd></div>`];
  const at = (when: number | undefined) => (when === undefined ? undefined : html`${utc(when)}, ${moment(now, when)}`);
  const copies = link.backups.flatMap(({ id }) => {
    const held = record.backups.find(({ store }) => store === id);
    return held?.id === undefined ? [] : fact(`Copy in ${estate.nameOf(id)}`, clean(held.id));
  });
  const content = html`<h1>${clean(name)}</h1>
<p>Of <a href="/link/${link.name}">${link.name}</a></p>
<div id="certificate" data-part>${table(estate, link, [row], 'How it stands', now)}
<h2>What is known of it</h2>
<dl class="figures">${fact('Id in the primary', clean(certificate))}${copies}
${fact('Valid until', at(primary?.notAfter))}
${fact('Changed', at(primary?.changedAt))}
${fact('Last looked at in full', at(primary?.lookedAt))}
${fact('Last told of', told.length === 0 ? undefined : html`${at(Math.max(...told)) ?? none}${toldBy === undefined ? none : html` by ${clean(toldBy)}`}`)}
${fact('Next look', at(wakeAt))}
${primary === undefined ? none : html`<div class="whole"><dt>Fingerprint of leaf, chain and public key</dt><dd>${clean(primary.fingerprint)}</dd></div>`}</dl></div>`;
  return page(name, content, frame);
}
