import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { configSettings } from '../../src/config.ts';
import * as registry from '../../src/services/registry.ts';
import type { Setting } from '../../src/settings.ts';

const kinds = Object.values(registry).map(({ kind }) => kind);
const isOfAService = ({ of }: Setting) => of !== undefined && kinds.includes(of);
/** They have a page of their own. */
const isOfAlerts = ({ path }: Setting) => path.startsWith('alerts.');
const isOfAudit = ({ path }: Setting) => path.startsWith('audit.');

/**
 * Settings as a table of a page: what stands in it is what is parsed, and what `config explain`
 * says.
 */
function tableOf(settings: readonly Setting[]): string {
  const rows = settings.map(({ path, of, what, default: standard, otherwise }) => {
    const kind = of === undefined || kinds.includes(of) ? '' : ` (${of})`;
    const holds = standard === undefined ? (otherwise ?? 'must be given') : `\`${standard}\``;
    return `| \`${path}\`${kind} | ${what} | ${holds} |`;
  });
  return ['| setting | what it means | default |', '|---|---|---|', ...rows].join('\n');
}

const pages: readonly (readonly [string, string, readonly Setting[]])[] = [
  [
    'docs/configuration.md',
    'common',
    configSettings.filter((setting) => !isOfAService(setting) && !isOfAlerts(setting) && !isOfAudit(setting)),
  ],
  ['docs/alerts.md', 'alerts', configSettings.filter(isOfAlerts)],
  ['docs/audit.md', 'audit', configSettings.filter(isOfAudit)],
  ...kinds.map(
    (kind) =>
      [`src/services/${kind}/README.md`, kind, configSettings.filter((setting) => setting.of === kind)] as const,
  ),
];

/**
 * The tables between the marks. Made anew by
 * `npx vitest run --project main test/services/pages.test.ts -u`.
 */
test.each(pages)('the settings in %s are those that there are (%s)', async (page, name, settings) => {
  const path = `../../${page}`;
  const text = readFileSync(new URL(path, import.meta.url), 'utf8');
  const [before, after] = [`<!-- settings: ${name} -->\n`, '\n<!-- /settings -->'];
  const begin = text.indexOf(before) + before.length;
  expect(begin).toBeGreaterThan(before.length);
  const end = text.indexOf('<!-- /settings -->', begin);
  const made = `${text.slice(0, begin)}\n${tableOf(settings)}\n${after}${text.slice(end + after.length - 1)}`;
  await expect(made).toMatchFileSnapshot(path);
});
