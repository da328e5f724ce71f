import { type Html, html } from '../foreign-text.ts';
import type { DrilledCopy, DrillReport } from './report.ts';

const style = html`body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
h1{font-size:1.5rem}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .8rem .4rem 0;vertical-align:top}
tr+tr td{border-top:1px solid #ddd}code{font-size:.8rem;word-break:break-all}.good{color:#0a6b2d}.bad{color:#b00020}`;

/**
 * The report as a page for people. It is a view: what proves anything is the signed file, which the
 * page names.
 */
export function reportPage(report: DrillReport, signedFile: string): string {
  const { link, startedAt, completedAt, served, failed, kept, copies, notDrilled, trust } = report;
  const good = failed === 0 && notDrilled.length === 0 && served > 0;
  const words = good
    ? `Every copy that was tried would serve: ${served} of ${served}, of ${kept} kept.`
    : `${failed} of ${served + failed} copies would not serve; ${kept} are kept.`;
  const trusted = trust === 'platform' ? 'the authorities that Node trusts' : 'the authorities that were given';
  // What failed comes first.
  const rows = copies.toSorted((a, b) => Number(a.served) - Number(b.served)).map(row);
  const missing = notDrilled.map(
    ({ store, message }) => html`<p class="bad">Not drilled: ${store}: ${message}</p>
`,
  );
  return html`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Drill of ${link}, ${startedAt}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><style>${style}</style></head><body>
<h1>Drill of ${link}</h1>
<p class="${good ? 'good' : 'bad'}"><strong>${words}</strong></p>
<p>From ${startedAt} to ${completedAt}. Each copy was read from its backup and served over TLS to a client that trusts ${trusted},
checked every name and date, and had the private key proven by the handshake.</p>
${missing}<table><thead><tr><th>Certificate</th><th>Outcome</th><th>Names</th><th>Valid until</th><th>Copy and fingerprint</th></tr></thead><tbody>
${rows}</tbody></table>
<p>The signed report is <code>${signedFile}</code>; check it with <code>certstandby drill --check ${signedFile}</code>.</p>
</body></html>
`.toString();
}

function row({
  name,
  served,
  failure,
  message,
  remarks,
  domains,
  notAfter,
  store,
  copy,
  fingerprint,
}: DrilledCopy): Html {
  const outcome = served
    ? html`<span class="good">served</span>`
    : html`<span class="bad">${failure ?? ''}</span><br>${message ?? ''}`;
  const remarked = (remarks ?? []).map((remark) => html`<br>${remark}`);
  const names = (domains ?? []).map((domain) => html`${domain}<br>`);
  return html`<tr><td>${name}</td><td>${outcome}${remarked}</td><td>${names}</td><td>${notAfter ?? ''}</td><td>${store} ${copy}<br><code>${fingerprint ?? ''}</code></td></tr>
`;
}
