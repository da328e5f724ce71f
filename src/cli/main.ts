import { overwriteFreedMemory } from '../secret.ts';
import { runCommandLine } from './command-line.ts';
import { processHost } from './process-host.ts';

// The program `certstandby`. The list of its commands is in command-line.ts.

// The reader of stdout may have seen enough (`| head`): that is no failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code !== 'EPIPE') throw error;
  process.exit();
});
overwriteFreedMemory();
const host = processHost();
await runCommandLine(process.argv.slice(2), host);
await host.endIfStopped();
