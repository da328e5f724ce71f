import { parseArgs } from 'node:util';
import { feedAll } from './child.ts';
import { runCorpus } from './corpus.ts';
import { type CorpusKind, corpusKinds } from './keys.ts';

/**
 * Feeds keys that cannot exist to every place where somebody else's keys come in, in child
 * processes: `npm run corpus`. Ends with 1 if one ended the process or was refused without a code.
 * `feed` is what a child does.
 */
const { positionals, values } = parseArgs({
  allowPositionals: true,
  options: {
    kinds: { type: 'string', default: corpusKinds.join() },
    entries: { type: 'string', default: '' },
    from: { type: 'string', default: '0' },
  },
});
const kinds = values.kinds.split(',') as readonly CorpusKind[];
const entries = values.entries.split(',').filter((name) => name !== '');
if (positionals[0] === 'feed') {
  await feedAll(kinds, entries, Number(values.from));
  // Whatever an entry has left open: every try has been told.
  process.exit(0);
} else {
  const [, program = ''] = process.argv;
  const { keys, tries, aborts, uncoded, slowest, outcomes } = await runCorpus({ program, kinds, entries });
  const told = [...outcomes].sort(([, a], [, b]) => b - a).map(([outcome, count]) => `  ${count} ${outcome}`);
  process.stdout.write(
    `Node ${process.versions.node}: ${keys} keys, ${tries} tries, ${aborts.length} ended the process, ${uncoded.length} without a code; ` +
      `slowest ${slowest.ms.toFixed(0)} ms (${slowest.name})\n${told.join('\n')}\n`,
  );
  for (const name of aborts) process.stdout.write(`ENDED THE PROCESS: ${name}\n`);
  for (const name of uncoded) process.stdout.write(`WITHOUT A CODE: ${name}\n`);
  process.exitCode = aborts.length + uncoded.length > 0 ? 1 : 0;
}
