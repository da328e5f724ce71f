import { processOwner } from '../../src/process-owner.ts';
import { replicationRecords } from '../../src/records/replication-records.ts';
import { lmdbTable } from '../../src/table/lmdb.ts';

/**
 * A worker that has claimed a certificate and gets no further. Usage: <folder of the table> <link>
 * <certificate>. It says who it is when it has the lease, and ends only when it is killed.
 */
const [path = '', link = '', certificate = ''] = process.argv.slice(2);
const records = replicationRecords(lmdbTable({ path }));
const now = Date.now();
const owner = processOwner(() => 'nobody knows').id;
await records.ask({ link, certificate, now });
const { claimed } = await records.claim({
  ...{ link, certificate, owner, now },
  ...{ leaseUntil: now + 10 * 60_000, skewMs: 5_000, doubt: now },
});
process.stdout.write(`${claimed ? owner : 'not claimed'}\n`);
setInterval(() => {}, 1_000);
