import { processOwner } from '../../src/process-owner.ts';

/** Says what this process is called as the holder of a lease, and ends. */
process.stdout.write(`${processOwner(() => 'new-id').id}\n`);
