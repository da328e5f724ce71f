import { describe, expect, it } from 'vitest';
import { CodedError, remedyOf } from '../../src/errors.ts';
import { backupWords } from '../../src/findings/backup-words.ts';
import { standingWords } from '../../src/findings/standing-words.ts';
import { recordedError, remedyOfRecorded } from '../../src/records/replication-record.ts';
import { type LeaseHolderFields, replicationRecords } from '../../src/records/replication-records.ts';
import { backupFindings } from '../../src/replication/backup-findings.ts';
import { memoryTable } from '../../src/table/memory.ts';

const now = 1_000_000;
const remedies = { 403: 'Give the role certstandby the verb update on secrets.', SEALED: 'Unseal it.' };
const thrown = (fields: CodedError['fields'], code: CodedError['code'] = 'store_unauthorized') =>
  new CodedError(code, 'reimport at b: it answered', { fields, remedies });

/** A record whose only backup failed in this way, written and read back. */
async function readBack(state: Partial<LeaseHolderFields['backups'][number]>) {
  const records = replicationRecords(memoryTable());
  await records.ask({ link: 'shop', certificate: 'c1', now });
  const claim = { link: 'shop', certificate: 'c1', owner: 'w', now, leaseUntil: now + 1, skewMs: 0, doubt: now };
  await records.claim({ ...claim, hasDied: () => false });
  const fields = { attempts: 0, backups: [{ store: 'b', attempts: 1, ...state }] };
  await records.commit({ link: 'shop', certificate: 'c1', token: 1, seen: 1, fields, doubts: {} });
  const record = await records.get('shop', 'c1');
  if (record?.backups[0] === undefined) throw new Error('not there');
  return { record, state: record.backups[0] };
}

describe('the remedy of whoever threw an error', () => {
  it('is for the reason that the error tells, else for its status, else that of the registry', () => {
    expect(thrown({ status: 403 }).remedy).toBe(remedies[403]);
    expect(thrown({ status: 403, serviceCode: 'SEALED' }).remedy).toBe('Unseal it.');
    expect(thrown({ status: 401, serviceCode: 'constructor' }).remedy).toBe(remedyOf('store_unauthorized'));
  });

  it('goes on where an error is thrown anew with the fields of another one', () => {
    const { fields } = thrown({ status: 403 });
    expect(new CodedError('store_unanswered', 'x', { fields }).remedy).toBe(
      `${remedyOf('store_unanswered')} ${remedies[403]}`,
    );
  });

  it('is kept in the record, and told by status and in what is said of backups', async () => {
    const lastError = recordedError(thrown({ status: 403 }), now);
    const refusal = { code: lastError.code, facts: 'f', since: now, looks: 1 } as const;
    const { record, state } = await readBack({ lastError, refusal });
    expect(state.lastError).toEqual({ ...lastError, status: 403, remedy: remedies[403] });
    const findings = backupFindings(now);
    findings.add(record, state);
    expect(backupWords(findings.result(), now, (store) => store)[0]?.remedy).toBe(remedies[403]);
    expect(standingWords({ kind: 'failing', store: 'b', error: lastError }, (store) => store)[1]).toBe(remedies[403]);
  });

  it('is kept with copies that are not let go', async () => {
    const { code, message, remedy } = recordedError(thrown({ status: 403 }, 'store_refused'), now);
    const { state } = await readBack({ unremovable: [{ id: 'x', code, message, remedy, since: now, again: now }] });
    expect(state.unremovable?.[0]?.remedy).toBe(remedies[403]);
  });

  it('is that of the registry in a record that an older version wrote', () => {
    expect(remedyOfRecorded({ code: 'store_unauthorized', status: 403 })).toBe(remedyOf('store_unauthorized'));
  });

  it('is shown without what a terminal would obey, whoever wrote the row', () => {
    const error = { code: 'store_refused', message: 'm', at: now, remedy: 'do\u001b[2J' } as const;
    expect(standingWords({ kind: 'failing', store: 'b', error }, (store) => store)[1]).toBe('do\\u{1b}[2J');
  });
});
