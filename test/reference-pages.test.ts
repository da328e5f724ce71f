import { expect, test } from 'vitest';
import { exitCodes } from '../src/cli/exit-code-help.ts';
import { createMetrics } from '../src/monitor/metrics.ts';

/** A table of Markdown; what stands in a cell may hold a bar. */
function table(head: readonly string[], rows: readonly (readonly string[])[]): readonly string[] {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), `|${head.map(() => '---|').join('')}`, ...rows.map(line)];
}

function exitCodesPage(): string {
  return [
    '# Exit codes',
    '',
    ...table(
      ['code', 'meaning'],
      exitCodes.map(([code, meaning]) => [String(code), meaning]),
    ),
    '',
    'Which failure ends a command with which of them: [errors](errors.md). `--json` prints one object a line, `--quiet` only what is wrong,',
    'on every command but `up`, `serve`, `instance run`, `config export` and `completion`. `source <(certstandby completion bash)`',
    'completes commands and options; also `zsh` and `fish`.',
    '',
  ].join('\n');
}

function metricsPage(): string {
  const metrics = createMetrics({
    version: '',
    storeNames: new Map(),
    links: [],
    readiness: async () => ({ problems: [], waiting: [] }),
    now: () => 0,
    process: false,
  });
  const rows = metrics
    .described()
    .map(({ name, type, labels, help }) => [
      `\`${name}\``,
      type,
      labels.map((label) => `\`${label}\``).join(', '),
      help.replace(/(?<!\.)\.$/, ''),
    ]);
  return [
    '# Metrics',
    '',
    '`certstandby serve` answers `/metrics` on 127.0.0.1:9464 in the format of Prometheus; `serve.metrics` in the configuration moves it.',
    'What ends in `_seconds` is a time in seconds, in `_timestamp_seconds` a moment in seconds since 1970. Counters begin with the process;',
    'gauges are read from the records when somebody asks. The figures of the process (`process_*`, `nodejs_*`) are there too. Which of',
    'them to watch, and from when on to wake somebody, [stands with `serve`](serve.md).',
    '',
    ...table(['metric', 'type', 'labels', 'what it says'], rows),
    '',
  ].join('\n');
}

/** Each is made anew by `npx vitest run --project main test/reference-pages.test.ts -u`. */
test.each([
  ['exit-codes.md', exitCodesPage],
  ['metrics.md', metricsPage],
] as const)('docs/%s is what the program says', async (file, page) => {
  await expect(page()).toMatchFileSnapshot(`../docs/${file}`);
});
