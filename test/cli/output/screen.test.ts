import { expect, test } from 'vitest';
import { commandOutput } from '../../../src/cli/output/output.ts';
import { paintFor, screenOf } from '../../../src/cli/output/screen.ts';
import { CodedError } from '../../../src/errors.ts';
import { testHost } from '../../support/command.ts';

test("text reaches the screen as text, in lines; movements of the cursor are this program's alone", () => {
  const host = testHost({ columns: 80 });
  const screen = screenOf(host.stdout);
  screen.write('a\u001b[2Jb\r\nc\u009b1m\u202ed\u{e0041}\n');
  screen.move({ up: 2 });
  screen.move('erase line');
  expect(host.output()).toBe('a\\u{1b}[2Jb\\u{d}\nc\\u{9b}1m\\u{202e}d\\u{e0041}\n\u001b[2A\u001b[0J\r\u001b[K');
  expect(screenOf(screen)).toBe(screen);
});

test('where no terminal is, the cursor is not moved', () => {
  const host = testHost();
  screenOf(host.stdout).move('erase line');
  expect(host.output()).toBe('');
});

test('colours are put in place by the screen alone: those of others are text', () => {
  const host = testHost({ columns: 80 });
  const screen = screenOf(host.stdout);
  const { bad, strong } = paintFor(screen);
  screen.write(strong(`x ${bad('red\u001b[32m')} \u001b[0m<mark>`));
  expect(host.output()).toBe('\u001b[1mx \u001b[31mred\\u{1b}[32m\u001b[39m \\u{1b}[0m<mark>\u001b[22m');
});

test('a line stays a line, whatever is in it: nobody adds one of their own', () => {
  const host = testHost();
  const output = commandOutput({}, host);
  output.line('shop\nAll is well.', 'two');
  output.finding('x\ny');
  output.table([{ title: 'NAME' }], [['a\nb']]);
  output.problem(new CodedError('store_refused', 'no\ncertstandby: all is well'), 'shop\nb');
  output.log('warn', 'backup_failed', { link: 'a\nb', message: 'c\nd' });
  expect(host.output().split('\n')).toEqual(['shop\\u{a}All is well.', 'two', 'x\\u{a}y', 'NAME', 'a\\u{a}b', '']);
  expect(host.errors().split('\n')).toEqual([
    'certstandby: shop\\u{a}b: no\\u{a}certstandby: all is well',
    expect.stringMatching(/^ {2}\S.* \[store_refused\]$/),
    'certstandby: backup failed: a\\u{a}b: c\\u{a}d',
    '',
  ]);
});

test('a message without end is cut', () => {
  const host = testHost();
  commandOutput({}, host).problem(new CodedError('store_refused', 'x'.repeat(10_000_000)));
  expect(host.errors().length).toBeLessThan(5_000);
});

test('JSON for programs holds the same text, and nothing that a terminal would obey', () => {
  const host = testHost();
  const name = 'a\u009b2J\u202e\u2028\u007f\u{e0041}\ud800';
  commandOutput({ json: true }, host).item({ name });
  expect(JSON.parse(host.output())).toEqual({ name });
  expect(host.output()).toMatch(/^[ -~]+\n$/);
});
