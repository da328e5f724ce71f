import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, statSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { expect, test } from 'vitest';
import { root } from '../support/root.ts';

/** The pages of the tree: every file of Markdown that is kept. */
const pages = execFileSync('git', ['ls-files', '-z', '--cached', '--others', '--exclude-standard', '*.md'], {
  cwd: root,
  encoding: 'utf8',
})
  .split('\0')
  .filter((path) => path !== '' && existsSync(join(root, path)));

/** What is no code: links in examples lead nowhere. */
const prose = (text: string): string => text.replace(/^ *```[\s\S]*?^ *```/gm, '').replace(/`[^`\n]*`/g, '');

/** Anchors as GitHub makes them of headings. */
const anchorsOf = (text: string): ReadonlySet<string> =>
  new Set(
    [...text.replace(/^ *```[\s\S]*?^ *```/gm, '').matchAll(/^#{1,6} (.+)$/gm)].map(([, heading = '']) =>
      heading
        .toLowerCase()
        .replace(/[^\p{L}\p{N}\- _]/gu, '')
        .replaceAll(' ', '-'),
    ),
  );

/** Links of a page that lead nowhere: to a file or a heading that is not there. */
function deadLinks(page: string, text: string): readonly string[] {
  return [...prose(text).matchAll(/\]\(([^)\s]+)\)/g)].flatMap(([, link = '']) => {
    if (/^[a-z]+:/.test(link)) return [];
    const [path = '', anchor] = link.split('#');
    const target = path === '' ? page : normalize(join(dirname(page), path));
    const file = join(root, target);
    if (!existsSync(file)) return [`${page}: ${link}`];
    if (anchor === undefined || statSync(file).isDirectory()) return [];
    const found = path === '' ? text : readFileSync(file, 'utf8');
    return anchorsOf(found).has(anchor) ? [] : [`${page}: ${link}`];
  });
}

test('every link between pages leads to a file and a heading that are there', () => {
  expect(pages).toContain('README.md');
  expect(pages.length).toBeGreaterThan(20);
  expect(pages.flatMap((page) => deadLinks(page, readFileSync(join(root, page), 'utf8')))).toEqual([]);
});

test('a dead link is found: a page, a heading of another one, and one of its own', () => {
  const text = '# Here\n[a](gone.md) [b](PROMISES.md#gone) [c](#gone) [d](#here) [e](https://example.com/x#y) `[f](x)`';
  expect(deadLinks('README.md', text)).toEqual([
    'README.md: gone.md',
    'README.md: PROMISES.md#gone',
    'README.md: #gone',
  ]);
});

test('the front page is one: what is said at length has a page of its own, and each page is reached from it', () => {
  const front = readFileSync(join(root, 'README.md'), 'utf8');
  expect(front.split('\n').length).toBeLessThanOrEqual(250);
  const [first] = front.split('\n## ');
  expect(first).toContain('(docs/worst-day.md)');
  const docs = pages.filter((page) => page.startsWith('docs/') && !page.startsWith('docs/decisions/2'));
  expect(docs.filter((page) => !front.includes(`(${page})`))).toEqual([]);
});

test('each decision has its day in its name and below its title, and a line of the index', () => {
  const index = readFileSync(join(root, 'docs/decisions/README.md'), 'utf8');
  const decisions = pages.filter((page) => page.startsWith('docs/decisions/2'));
  expect(decisions.length).toBeGreaterThan(50);
  const wrong = decisions.filter((page) => {
    const [title = '', , day = ''] = readFileSync(join(root, page), 'utf8').split('\n');
    const file = page.slice('docs/decisions/'.length);
    return !file.startsWith(`${day}-`) || !index.includes(`| ${day} | [${title.replace(/^# /, '')}](${file}) |`);
  });
  expect(wrong).toEqual([]);
});
