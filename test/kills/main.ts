import { parseArgs } from 'node:util';
import { answerCalls } from '../support/roles.ts';
import { programHandlers } from './program.ts';
import { runSeries } from './series.ts';
import { serverHandlers } from './servers.ts';
import { tableHandlers } from './tables.ts';

/** Each runs in a process of its own; the one who kills runs in this one. */
const roles = {
  servers: serverHandlers,
  program: programHandlers,
  table: tableHandlers,
};

const [, program = '', role = ''] = process.argv;
if (Object.hasOwn(roles, role)) {
  answerCalls(roles[role as keyof typeof roles]());
} else {
  const { values } = parseArgs({
    options: {
      kills: { type: 'string', default: '300' },
      seed: { type: 'string', default: String(Date.now() % 1_000_000) },
      only: { type: 'string', default: '' },
    },
  });
  const broken = await runSeries({
    program,
    kills: Number(values.kills),
    seed: Number(values.seed),
    only: values.only,
    write: (text) => process.stdout.write(text),
  });
  process.exitCode = broken ? 1 : 0;
}
