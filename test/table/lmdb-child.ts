import { createInterface } from 'node:readline';
import { asCodedError } from '../../src/errors.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';
import type { Table } from '../../src/table/table.ts';

/**
 * What the tests of the embedded table do in another process. Usage: <what> <folder of the table>
 * [number].
 */
const [what = '', path = '', number = '0'] = process.argv.slice(2);
const count = Number(number);
const table = opened();
const input = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Says the code of the error when the table cannot be opened. */
function opened(): Table {
  try {
    return lmdbTable({ path });
  } catch (thrown) {
    say(asCodedError(thrown).code);
    process.exit(0);
  }
}

const scripts: Readonly<Record<string, () => Promise<void>>> = {
  /** Claims each of so many rows, once it is told to; says which ones it won. */
  async claim() {
    say('ready');
    await input.next();
    const outcomes = await Promise.all(
      Array.from({ length: count }, async (_, round) => {
        const key = { partition: 'claims', sort: `${round}` };
        const claimed = await table.update(key, { set: { owner: process.pid } }, { absent: 'owner' });
        await table.update({ partition: 'claims', sort: 'total' }, { add: { tries: 1 } });
        return claimed.applied;
      }),
    );
    say(JSON.stringify(outcomes.flatMap((won, round) => (won ? [round] : []))));
  },

  /** Writes rows without end, twenty at a time; says the name of each that was acknowledged. */
  async write() {
    await Promise.all(
      Array.from({ length: 20 }, async (_, writer) => {
        for (let at = 0; ; at += 1) {
          const sort = `${writer}-${at}`;
          await table.putIfAbsent({ partition: 'rows', sort }, { wakeAt: at, text: sort.repeat(50) });
          say(sort);
        }
      }),
    );
  },

  /** Writes one row. */
  async put() {
    await table.update({ partition: 'rows', sort: 'shared' }, { set: { number: count } });
  },

  /**
   * Writes, so many at a time, until the disk is full; says how many rows it wrote, what each
   * failure was, and whether it can still read.
   */
  async fill() {
    const failures: unknown[] = [];
    let written = 0;
    const fillRows = async (writer: number): Promise<void> => {
      for (let at = 0; failures.length < 5; at += 1) {
        const fields = { wakeAt: 1, text: 'x'.repeat(at % 2 === 0 ? 20_000 : 500) };
        await table.putIfAbsent({ partition: 'rows', sort: `${writer}-${at}` }, fields).then(
          () => {
            written += 1;
          },
          (thrown: unknown) => {
            const { code, fields } = asCodedError(thrown);
            failures.push([code, fields.engineCode]);
          },
        );
      }
    };
    await Promise.all(Array.from({ length: count }, (_, writer) => fillRows(writer)));
    say(JSON.stringify({ written, failures, first: (await table.get({ partition: 'rows', sort: '0-0' }))?.wakeAt }));
  },
};

await scripts[what]?.();
await table.close();
process.exit(0);
