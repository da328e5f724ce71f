import { makeEstate } from './estate.ts';
import { fullDiskRound } from './full-disk.ts';
import { killRound, type RoundOptions, type RoundResult } from './round.ts';
import { unlikeRound } from './unlike-round.ts';
import { versionsRound } from './versions.ts';

/** What is killed, and its share of the kills. */
const setups = [
  { name: 'lmdb-1', title: 'lmdb, one worker', table: 'lmdb', workers: 1, slowness: 1, share: 0.4 },
  { name: 'lmdb-2', title: 'lmdb, two workers', table: 'lmdb', workers: 2, slowness: 1, share: 0.25 },
  { name: 'dynamodb-2', title: 'dynamodb, two workers', table: 'dynamodb', workers: 2, slowness: 2, share: 0.15 },
  { name: 'version-before', title: 'lmdb, old and new', table: 'lmdb', workers: 2, slowness: 1, share: 0.1 },
  { name: 'unlike', title: 'lmdb, laggard, two-step', table: 'lmdb', workers: 2, slowness: 3, share: 0.1 },
  { name: 'full-disk', title: 'lmdb, full disk', table: 'lmdb', workers: 1, slowness: 0.3, share: 0 },
] as const;

/** After so many kills at most it has to become quiet, and the promises are checked. */
const killsPerRound = 30;

const counted = ['kills', 'acknowledged', 'replicated', 'lost', 'doubled', 'unreadable'] as const;
type Counts = Record<(typeof counted)[number], number>;

/**
 * Round after round until so many have been killed; then the table. Answers whether a promise is
 * broken.
 */
export async function runSeries(options: {
  readonly program: string;
  readonly kills: number;
  readonly seed: number;
  /** The name of one setup; empty: all. */
  readonly only: string;
  readonly write: (text: string) => void;
}): Promise<boolean> {
  const { kills, seed, write } = options;
  const started = performance.now();
  const chosen = setups.filter(({ name }) => options.only === '' || name === options.only);
  if (chosen.length === 0) throw new Error(`--only takes one of ${setups.map(({ name }) => name).join(', ')}`);
  const shares = chosen.reduce((sum, { share }) => sum + share, 0) || 1;
  write(`seed ${seed}\n`);
  const estate = await makeEstate(24, 3);
  const rows: string[] = [];
  let anyBroken = false;
  let roundSeed = seed;
  for (const { name, title, table, workers, slowness, share } of chosen) {
    const counts: Counts = { kills: 0, acknowledged: 0, replicated: 0, lost: 0, doubled: 0, unreadable: 0 };
    let left = Math.max(1, Math.round((kills * share) / shares));
    while (left > 0) {
      const round: RoundOptions = {
        program: options.program,
        table,
        workers,
        slowness,
        kills: Math.min(left, killsPerRound),
        seed: roundSeed,
        estate,
      };
      const result = await runRound(name, round, write);
      for (const column of counted) counts[column] += result[column];
      anyBroken ||= result.broken.length > 0;
      write(describe(name, round, result));
      left -= result.kills;
      roundSeed += 1;
    }
    rows.push(
      row(
        title,
        counted.map((column) => String(counts[column])),
      ),
    );
  }
  write(
    `\n${row(
      'TABLE',
      counted.map((column) => column.toUpperCase()),
    )}${rows.join('')}`,
  );
  write(`\n${((performance.now() - started) / 1000).toFixed(0)} s in all\n`);
  return anyBroken;
}

async function runRound(
  name: (typeof setups)[number]['name'],
  round: RoundOptions,
  write: (text: string) => void,
): Promise<RoundResult> {
  if (name === 'full-disk') return fullDiskRound(round, write);
  if (name === 'unlike') return unlikeRound(round);
  return name === 'version-before' ? versionsRound(round) : killRound(round);
}

/** One line for a round, and one for each broken promise. */
function describe(name: string, { seed }: RoundOptions, result: RoundResult): string {
  const { kills } = result;
  const deaths = [...result.deaths].map(([moment, count]) => `${moment} ${count}`).join(', ');
  const line = `${name}, seed ${seed}: ${kills} kills (${deaths}), ${result.acknowledged} acknowledged`;
  const broken = result.broken.map((promise) => `  BROKEN: ${promise}\n`).join('');
  return `${line}\n${broken}${result.folder === undefined ? '' : `  what is left lies in ${result.folder}\n`}`;
}

function row(title: string, cells: readonly string[]): string {
  return `${title.padEnd(24)}${cells.map((cell) => cell.padStart(14)).join('')}\n`;
}
