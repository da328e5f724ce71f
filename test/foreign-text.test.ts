import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import {
  csvLine,
  fileName,
  fileNames,
  html,
  jsonText,
  slackText,
  visible,
  visibleWithin,
} from '../src/foreign-text.ts';

/**
 * Text as strangers write it: of every character, lone halves of surrogates too, with more of what
 * does harm.
 */
const foreign = fc
  .array(
    fc.oneof(
      fc.string({ unit: 'binary' }),
      fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
      fc.constantFrom(
        '\u001b[31m',
        '\r',
        '\n',
        '\u202e',
        '\u2066',
        '\u200f',
        '\u061c',
        '\u200b',
        '\ufeff',
        '\u{e0041}',
        '<b>',
        '"',
        '&',
      ),
    ),
  )
  .map((parts) => parts.join(''));

describe('text that a person sees', () => {
  test.each([
    ['an escape sequence', '\u001b[2J', '\\u{1b}[2J'],
    ['C1, which some terminals take for ESC [', '\u009b2J', '\\u{9b}2J'],
    ['DEL', 'a\u007f', 'a\\u{7f}'],
    ['a line break', 'a\nb\r\u0085', 'a\\u{a}b\\u{d}\\u{85}'],
    ['separators', '\u2028\u2029', '\\u{2028}\\u{2029}'],
    ['embedding, override and isolate', '\u202a\u202e\u2066\u2069', '\\u{202a}\\u{202e}\\u{2066}\\u{2069}'],
    ['marks of direction', '\u200e\u200f\u061c', '\\u{200e}\\u{200f}\\u{61c}'],
    ['what has no width', 'pay\u200bpal\ufeff\u00ad', 'pay\\u{200b}pal\\u{feff}\\u{ad}'],
    ['tags', 'x\u{e0041}\u{e007f}', 'x\\u{e0041}\\u{e007f}'],
    ['what is invisible though a letter', '\u3164\u115f', '\\u{3164}\\u{115f}'],
    ['half a pair', 'a\ud800b', 'a\\u{d800}b'],
    ['a heap of marks', `e${'\u0301'.repeat(6)}`, 'e\u0301\u0301\u0301\u0301\\u{301}\\u{301}'],
    ['what is as it seems', 'Zürich 東京 שלום é 🎉', 'Zürich 東京 שלום é 🎉'],
  ])('%s', (_, text, shown) => expect(visible(text)).toBe(shown));

  test('holds nothing that is not seen, and nothing is left out', () => {
    fc.assert(
      fc.property(foreign, (text) => {
        const shown = visible(text);
        expect(shown).not.toMatch(/[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u);
        expect(visible(shown)).toBe(shown);
        // Read back, it is what it was.
        if (!text.includes('\\')) {
          expect(shown.replace(/\\u\{([0-9a-f]+)\}/g, (_, hex) => String.fromCodePoint(Number.parseInt(hex, 16)))).toBe(
            text,
          );
        }
      }),
    );
  });

  test.each([
    ['abcd', 4, 'abcd'],
    ['abcde', 4, 'abc…'],
    ['ab\u001b', 4, 'ab\\…'],
    ['ab🎉cd', 4, 'ab…'],
  ])('%j within %i is %j', (text, most, shown) => expect(visibleWithin(text, most)).toBe(shown));
});

test('JSON says the same to every reader, and is plain on a terminal', () => {
  fc.assert(
    fc.property(foreign, fc.constantFrom(undefined, 2), (text, indent) => {
      const json = jsonText({ [text]: [text] }, indent);
      expect(JSON.parse(json)).toEqual(JSON.parse(JSON.stringify({ [text]: [text] })));
      expect(json.replaceAll('\n', '')).not.toMatch(/[\p{C}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}]/u);
    }),
  );
});

test('text in a page is text, whatever it holds; pieces stay what they are', () => {
  const piece = html`<b title="${'"onload=x'}">${'<script>\u202e&'}</b>`;
  expect(html`<p>${piece}${[piece]}${7}</p>`.toString()).toBe(
    '<p><b title="&#34;onload=x">&#60;script&#62;\\u{202e}&#38;</b><b title="&#34;onload=x">&#60;script&#62;\\u{202e}&#38;</b>7</p>',
  );
});

test('a message of Slack mentions nobody and links nothing', () => {
  expect(slackText('<!channel> & <http://x|y>\u202e')).toBe('&lt;!channel&gt; &amp; &lt;http://x|y&gt;\\u{202e}');
});

test.each([
  ['shop', '"shop"'],
  ['a,b;c\t', '"a,b;c\\u{9}"'],
  ['say "x"', '"say ""x"""'],
  ['=1+1', `"'=1+1"`],
  ['+1', `"'+1"`],
  ['-rf', `"'-rf"`],
  ['@SUM(A1)', `"'@SUM(A1)"`],
  ['  =1', `"'  =1"`],
  ['\t=1', `"'\\u{9}=1"`],
  ['\r', `"'\\u{d}"`],
  ['＝1', `"'＝1"`],
  ['two\nlines', '"two\\u{a}lines"'],
])('as a cell of CSV, %j is %s', (text, cell) => expect(csvLine([text, 'next'])).toBe(`${cell},"next"\n`));

describe('file names', () => {
  test.each([
    ['shop.example', 'shop.example'],
    ['*.shop.example', '_wildcard.shop.example'],
    ['../../etc/passwd', '_.._etc_passwd'],
    ['-rf', 'rf'],
    ['--help', 'help'],
    ['.ssh', 'ssh'],
    ['.', 'certificate'],
    ['', 'certificate'],
    ['CON', 'CON_'],
    ['nul.txt', 'nul_.txt'],
    ['Aux.tar.gz', 'Aux_.tar.gz'],
    ['com1', 'com1_'],
    ['COM¹', 'COM¹_'],
    ['lpt9 .txt', 'lpt9_.txt'],
    ['CONIN$', 'CONIN_'],
    ['console', 'console'],
    ['end. . ', 'end'],
    ['a<b>c:d"e/f\\g|h?i', 'a_b_c_d_e_f_g_h_i'],
    ['x\u001b[2J\u202ey', 'x_2J_y'],
    ['Zu\u0308rich', 'Zürich'],
    ['~', '_'],
  ])('%j is %j', (text, name) => expect(fileName(text, 'certificate')).toBe(name));

  test('are taken by Linux, macOS and Windows, and no two are one on any of them', () => {
    const reserved = /^(con|prn|aux|nul|com[0-9¹²³]|lpt[0-9¹²³])[ ]*(\.|$)/i;
    fc.assert(
      fc.property(
        fc.array(
          fc.oneof(
            foreign,
            fc.constantFrom('con', 'CON.x', 'a', 'A', 'ß', 'SS', 'ä', 'a\u0308', 'K', '\u212a', 'ﬁ', 'fi'),
          ),
        ),
        (texts) => {
          const nameFor = fileNames('certificate');
          const names = texts.map(nameFor);
          for (const name of names) {
            expect(name).toMatch(/^[^-. ](?:.*[^. ])?$/);
            expect(name).not.toMatch(/[<>:"/\\|?*\p{C}]/u);
            expect(name).not.toMatch(reserved);
            expect(Buffer.byteLength(`${name}.p12`)).toBeLessThanOrEqual(255);
          }
          const folded = names.map((name) => name.normalize('NFD').toUpperCase().toLowerCase());
          expect(new Set(folded).size).toBe(names.length);
        },
      ),
    );
  });

  test('one that is taken gets a number', () => {
    const nameFor = fileNames('certificate');
    expect(['shop', 'Shop', 'SHOP', 'ﬁ', 'fi', 'con', 'CON'].map(nameFor)).toEqual([
      'shop',
      'Shop-2',
      'SHOP-3',
      'ﬁ',
      'fi-2',
      'con_',
      'CON_-2',
    ]);
  });
});
