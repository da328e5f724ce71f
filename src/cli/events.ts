import { Command, InvalidArgumentError } from 'commander';
import type { Program } from '../compose/program.ts';
import { standingWords } from '../findings/standing-words.ts';
import type { Link } from '../replication/link.ts';
import { systemRuntime as runtime } from '../runtime.ts';
import { commandOutput, type Host, type Output } from './output/output.ts';
import { duration } from './output/text.ts';
import { forLink, type LinkOptions, storeNames, withLinkOptions, withLinks } from './program.ts';

interface EventsOptions extends LinkOptions {
  readonly last: number;
  readonly certificate?: string;
}

/** `certstandby events`. */
export function eventsCommand(host: Host): Command {
  return withLinkOptions(new Command('events'))
    .description('list what notifications were acknowledged, and what became of them')
    .option('-n, --last <number>', 'how many, the newest first', atMostTenThousand, 20)
    .option('--certificate <id>', 'only the one of this certificate')
    .addHelpText(
      'after',
      '\nExamples:\n  certstandby events\n  certstandby events --link shop --last 100 --json' +
        '\n\nTold from the records, which keep the last event of each certificate. A service sends none for a rename or a\n' +
        'deletion, and may lose any: certstandby status says what has not been replicated, whoever told of it.',
    )
    .action((options: EventsOptions) => listEvents(options, host));
}

function atMostTenThousand(text: string): number {
  const number = Number(text);
  if (!/^\d+$/.test(text) || number < 1 || number > 10_000)
    throw new InvalidArgumentError('not a number from 1 to 10000');
  return number;
}

async function listEvents(options: EventsOptions, host: Host): Promise<void> {
  const output = commandOutput(options, host, runtime.now);
  await withLinks(options, { output, host }, async (program, links) => {
    const exits: number[] = [];
    for (const link of links)
      exits.push(await forLink(link, output, () => listOfLink(program, { link, output, options })));
    host.exitCode = Math.max(...exits);
  });
}

async function listOfLink(
  program: Program,
  given: { readonly link: Link; readonly output: Output; readonly options: EventsOptions },
): Promise<number> {
  const { link, output, options } = given;
  const nameOf = storeNames(program);
  let exit = 0;
  const events = await program.events(link, {
    most: options.last,
    certificate: options.certificate,
    unreadable({ error }) {
      output.problem(error, link.name);
      exit = error.entry.exit;
    },
  });
  for (const event of events) output.item({ link: link.name, ...event });
  if (events.length === 0) output.line(`${link.name}: no notification about a change has been acknowledged`);
  else {
    output.table(
      [
        { title: 'ACKNOWLEDGED' },
        { title: 'LINK' },
        { title: 'SENDER', most: 24 },
        { title: 'CERTIFICATE', most: 40 },
        { title: 'LAG', right: true },
        { title: 'NOW' },
      ],
      events.map(({ acknowledgedAt, sender = '', name, lagMs, standing }) => {
        const lag = standing.kind !== 'equal' || lagMs === undefined ? '' : duration(lagMs);
        const [words = ''] = standingWords(standing, nameOf);
        return [new Date(acknowledgedAt).toISOString(), link.name, sender, name, lag, words];
      }),
    );
  }
  return exit;
}
