import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { parse } from 'yaml';
import { exitCodes } from '../src/cli/exit-code-help.ts';
import { createMetrics } from '../src/monitor/metrics.ts';
import { systemRuntime } from '../src/runtime.ts';
import { Secret } from '../src/secret.ts';
import * as registry from '../src/services/registry.ts';
import type { Service } from '../src/services/service.ts';
import type { Store } from '../src/store/store.ts';

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

/** A store of the service, as the first example of its page has one. Nothing is asked of it. */
async function exampleOf({ kind, settings, store }: Service): Promise<Store | undefined> {
  if (settings === undefined || store === undefined) return undefined;
  const page = readFileSync(new URL(`../src/services/${kind}/README.md`, import.meta.url), 'utf8');
  const example = /```yaml\n([\s\S]*?)```/.exec(page)?.[1] ?? '';
  const { stores = {} } = parse(example) as { stores?: Readonly<Record<string, { readonly kind: string }>> };
  const given = Object.values(stores).find((each) => each.kind === kind);
  if (given === undefined) throw new Error(`the page of ${kind} has no example of a store`);
  const secret = () => new Secret('secret');
  const config = settings.toConfig(given as never, { name: kind, path: (path) => path, secret });
  return (await store()).openStore(config as never, { runtime: systemRuntime, secret });
}

const yes = (it: unknown) => (it ? 'yes' : 'no');

async function servicesPage(): Promise<string> {
  const services: readonly Service[] = Object.values(registry);
  const opened = await Promise.all(services.map(async (service) => ({ service, store: await exampleOf(service) })));
  const link = ({ kind }: Service) => `[${kind}](../src/services/${kind}/README.md)`;
  const stores = opened.flatMap(({ service, store }) => {
    if (store === undefined) return [];
    const { abilities, watch } = store;
    const { givesKeys, reimportsInPlace, idsAreReferredTo, uniqueNames, quotas = [] } = abilities;
    const tells = service.sender === undefined ? 'no' : 'it posts';
    return [
      [
        link(service),
        yes(givesKeys),
        yes(reimportsInPlace),
        yes(idsAreReferredTo),
        yes(uniqueNames),
        watch === undefined ? tells : '`serve` watches it',
        yes(quotas.length > 0),
        yes(!service.settings?.onThisMachine && !service.settings?.notInFunctions),
      ],
    ];
  });
  const senders = services.filter(({ senderSettings }) => senderSettings !== undefined);
  return [
    '# Services',
    '',
    'Every service that certstandby knows, as its own folder says it. Each may be the primary or a backup of any other; what it gives no',
    'key of can be no primary.',
    '',
    '## Stores',
    '',
    ...table(
      [
        'kind',
        'gives keys back',
        'a renewal keeps the id',
        'others refer to ids',
        'names are unique',
        'tells of changes',
        'has quotas',
        'runs in functions',
      ],
      stores,
    ),
    '',
    '## What tells of changes, and keeps nothing',
    '',
    ...senders.map((service) => `- ${link(service)}`),
    '',
    'What tells of changes in which of them, and how that is proven: [senders](senders.md).',
    '',
  ].join('\n');
}

/** Each is made anew by `npx vitest run --project main test/reference-pages.test.ts -u`. */
test.each([
  ['exit-codes.md', exitCodesPage],
  ['metrics.md', metricsPage],
  ['services.md', servicesPage],
] as const)('docs/%s is what the program says', async (file, page) => {
  await expect(await page()).toMatchFileSnapshot(`../docs/${file}`);
});
