import { expect, test } from 'vitest';
import { commandOutput } from '../../../src/cli/output/output.ts';
import { CodedError } from '../../../src/errors.ts';
import { testHost } from '../../support/command.ts';

const error = new CodedError('store_limited', 'list at london: it answered 429', { fields: { retryAfterMs: 1_000 } });

/** Everything a command can print, at a fixed moment. */
function printed(options: { json?: boolean; quiet?: boolean }, hostOptions: Parameters<typeof testHost>[0] = {}) {
  const host = testHost(hostOptions);
  const output = commandOutput(options, host, () => Date.UTC(2026, 0, 2));
  output.line('two are equal');
  output.finding(output.paint.bad('one is not'));
  output.item({ equal: 2, left: undefined });
  output.table([{ title: 'NAME' }, { title: 'LAG', right: true }], [['shop', '9 ms']]);
  output.problem(error, 'shop');
  output.log('warn', 'backup_failed', { link: 'main', code: 'store_gone', message: 'not\u001b[31m there' });
  output.log('info', 'pass', {});
  return { output: host.output(), errors: host.errors() };
}

const problem =
  'certstandby: shop: list at london: it answered 429\n  The store limits requests; it is tried again when the store allows. [store_limited]\n';
const logLine = 'certstandby: backup failed: main: not\\u{1b}[31m there [store_gone]\n';

test('for people: lines, findings and tables on stdout, problems and logs on stderr, without colours', () => {
  expect(printed({})).toEqual({
    output: 'two are equal\none is not\nNAME   LAG\nshop  9 ms\n',
    errors: problem + logLine,
  });
});

test('quiet: only what is wrong', () => {
  expect(printed({ quiet: true })).toEqual({ output: 'one is not\n', errors: problem + logLine });
});

test('for programs: nothing but JSON, a line each, on both streams', () => {
  const { output, errors } = printed({ json: true });
  expect(output).toBe('{"equal":2}\n');
  expect(
    errors
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line)),
  ).toEqual([
    {
      error: {
        about: 'shop',
        code: 'store_limited',
        message: 'list at london: it answered 429',
        retryAfterMs: 1_000,
        remedy: 'The store limits requests; it is tried again when the store allows.',
        exit: 4,
      },
    },
    {
      time: '2026-01-02T00:00:00.000Z',
      level: 'warn',
      event: 'backup_failed',
      link: 'main',
      code: 'store_gone',
      message: 'not\u001b[31m there',
    },
  ]);
});

test('colours only on a terminal, and not against NO_COLOR', () => {
  expect(printed({}, { columns: 80 }).output).toContain('\u001b[31mone is not\u001b[39m');
  expect(printed({}, { columns: 80 }).errors).toContain('\u001b[31mcertstandby:\u001b[39m');
  expect(printed({}, { columns: 80, env: { NO_COLOR: '1' } }).output).not.toContain('\u001b');
});

/** A progress of 400, a quarter of it every second, with a line printed in between. */
function progressOn(options: { json?: boolean; quiet?: boolean }, columns?: number, secondsEach = 1) {
  const host = testHost(columns === undefined ? {} : { columns, env: { NO_COLOR: '1' } });
  let now = 0;
  const output = commandOutput(options, host, () => now);
  const progress = output.progress('verifying', 400);
  for (let quarter = 0; quarter < 4; quarter += 1) {
    now += secondsEach * 1_000;
    progress.advance(100);
    if (quarter === 1) output.line('half');
  }
  progress.end();
  progress.end();
  return { output: host.output(), errors: host.errors() };
}

test('on a terminal long work has a bar, which makes room for lines and goes away', () => {
  const { output, errors } = progressOn({}, 60);
  const full = '█'.repeat(6);
  const empty = '░'.repeat(18);
  const frames = errors.split('\r\u001b[K');
  expect(frames).toEqual([
    '',
    `verifying ${'░'.repeat(24)} 0 of 400`,
    `verifying ${full}${empty} 100 of 400, about 3.0 s…`,
    `verifying ${full.repeat(2)}${'░'.repeat(12)} 200 of 400, about 2.0 s…`,
    '',
    `verifying ${full.repeat(3)}${'░'.repeat(6)} 300 of 400, about 1.0 s…`,
    `verifying ${full.repeat(4)} 400 of 400`,
    '',
  ]);
  expect(output).toBe('half\n');
});

test('elsewhere it is a plain line every ten seconds; nothing when quiet, or for programs', () => {
  expect(progressOn({}, undefined, 6).errors).toBe('verifying: 200 of 400, about 12 s left\nverifying: 400 of 400\n');
  expect(progressOn({}, undefined, 1).errors).toBe('');
  expect(progressOn({ json: true }, undefined, 60).errors).toBe('');
  expect(progressOn({ quiet: true }, 60).errors).toBe('');
});
