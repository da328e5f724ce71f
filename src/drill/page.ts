import type { DrilledCopy, DrillReport } from './report.ts';

const style = `body{font:16px/1.5 system-ui,sans-serif;max-width:72rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a}
h1{font-size:1.5rem}table{border-collapse:collapse;width:100%}th,td{text-align:left;padding:.4rem .8rem .4rem 0;vertical-align:top}
tr+tr td{border-top:1px solid #ddd}code{font-size:.8rem;word-break:break-all}.good{color:#0a6b2d}.bad{color:#b00020}`;

/** The report as a page for people. It is a view: what proves anything is the signed file, which the page names. */
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
    ({ store, message }) => `<p class="bad">Not drilled: ${escaped(store)}: ${escaped(message)}</p>`,
  );
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Drill of ${escaped(link)}, ${escaped(startedAt)}</title>
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'"><style>${style}</style></head><body>
<h1>Drill of ${escaped(link)}</h1>
<p class="${good ? 'good' : 'bad'}"><strong>${words}</strong></p>
<p>From ${escaped(startedAt)} to ${escaped(completedAt)}. Each copy was read from its backup and served over TLS to a client that trusts ${trusted},
checked every name and date, and had the private key proven by the handshake.</p>
${missing.join('\n')}
<table><thead><tr><th>Certificate</th><th>Outcome</th><th>Names</th><th>Valid until</th><th>Copy and fingerprint</th></tr></thead><tbody>
${rows.join('\n')}
</tbody></table>
<p>The signed report is <code>${escaped(signedFile)}</code>; check it with <code>certstandby drill --check ${escaped(signedFile)}</code>.</p>
</body></html>
`;
}

function row({ name, served, failure, message, domains, notAfter, store, copy, fingerprint }: DrilledCopy): string {
  const outcome = served
    ? '<span class="good">served</span>'
    : `<span class="bad">${escaped(failure ?? '')}</span><br>${escaped(message ?? '')}`;
  return `<tr><td>${escaped(name)}</td><td>${outcome}</td><td>${(domains ?? []).map(escaped).join('<br>')}</td><td>${escaped(
    notAfter ?? '',
  )}</td><td>${escaped(store)} ${escaped(copy)}<br><code>${escaped(fingerprint ?? '')}</code></td></tr>`;
}

function escaped(text: string): string {
  return text.replace(/[&<>"']/g, (character) => `&#${character.charCodeAt(0)};`);
}
