import { expect, test } from 'vitest';
import { type ErrorCode, errorRegistry, remedyOf } from '../src/errors.ts';

/** Groups of codes by how they begin, in the order of the page, and what each is about. */
const groups: readonly (readonly [string, string])[] = [
  ['notification', 'What arrives at a callback'],
  ['notify', 'Telling a receiver of changes'],
  ['configuration', 'The configuration'],
  ['certificate', 'A certificate, before it is copied'],
  ['chain', 'A chain'],
  ['store', 'What a store answered, or did not'],
  ['verification', 'Keys that verify notifications'],
  ['reconcile', 'Reconcile'],
  ['restore', 'Restore and failback'],
  ['table', 'The table'],
  ['secret', 'Where secrets are'],
  ['root', 'Root keys'],
  ['data', 'Data keys'],
  ['archive', 'Archives'],
  ['drill', 'Drills'],
  ['audit', 'The audit trail'],
  ['instance', 'An instance of our own'],
  ['acme', 'Orders'],
  ['file', 'Files'],
];

/** The registry as a page: what mends each failure where nothing more of its cause is known. */
function page(): string {
  const codes = Object.keys(errorRegistry) as ErrorCode[];
  const groupOf = (code: ErrorCode) => groups.find(([start]) => code.startsWith(`${start}_`))?.[1] ?? 'Others';
  const titles = [...new Set([...groups.map(([, title]) => title), 'Others'])];
  const tables = titles.flatMap((title) => {
    const rows = codes
      .filter((code) => groupOf(code) === title)
      .map((code) => {
        const { exit, status, retry } = errorRegistry[code];
        const mends = remedyOf(code).replaceAll('|', '\\|').replaceAll('<', '&lt;');
        return `| \`${code}\` | ${exit} | ${status} | ${retry ? 'yes' : 'no'} | ${mends} |`;
      });
    if (rows.length === 0) return [];
    return [
      `## ${title}`,
      '',
      '| code | exit | HTTP | may pass by itself | what mends it |',
      '|---|---|---|---|---|',
      ...rows,
      '',
    ];
  });
  return [
    '# Errors',
    '',
    'Every failure has a code. Where a message says more of the cause, its remedy is for that cause, and stands below the message;',
    'here stands the one for the code alone. The exit code is that of a command that ends by it ([what each means](exit-codes.md)), the',
    'HTTP status what a request is answered with that meets it.',
    '',
    ...tables,
  ].join('\n');
}

/** Made anew by `npx vitest run --project main test/errors-page.test.ts -u`. */
test('the page of errors is what the registry says', async () => {
  await expect(page()).toMatchFileSnapshot('../docs/errors.md');
});
