import { describe, expect, it } from 'vitest';
import type { BackupState, Refusal } from '../../src/records/replication-record.ts';
import { restOf } from '../../src/replication/refusal.ts';
import { defaultTiming as timing } from '../../src/replication/timing.ts';

const lookedAt = 1_000_000;
const fingerprint = 'of this content';
const refusal: Refusal = {
  code: 'store_content_refused',
  facts: `store_content_refused ${fingerprint}`,
  since: lookedAt,
  looks: 1,
};

function rest(state: Partial<BackupState>, given: { readonly now?: number; readonly doubt?: number } = {}) {
  const { now = lookedAt + 1, doubt } = given;
  const lastError = { code: refusal.code, message: '', at: lookedAt };
  return restOf({ store: 'backup', attempts: 0, refusal, lastError, ...state }, { fingerprint, doubt, now, timing });
}

describe('a backup with a finding', () => {
  it('rests until the finding is due for its next look', () => {
    expect(rest({})).toEqual({ again: lookedAt + 15_000 });
    expect(rest({}, { now: lookedAt + 15_000 })).toBeUndefined();
  });

  it('rests without a moment once it was looked at often enough', () => {
    expect(rest({ refusal: { ...refusal, looks: 5 } }, { now: lookedAt + 3_600_000 })).toEqual({});
  });

  it('rests until the day on which the finding ends by itself', () => {
    const until = lookedAt + 3_600_000;
    expect(rest({ refusal: { ...refusal, until } }, { now: until })).toEqual({ again: until + timing.skewMs });
  });

  it('does not rest where the finding was of other content, or there is none', () => {
    expect(rest({ refusal: { ...refusal, facts: 'store_content_refused of other content' } })).toBeUndefined();
    expect(restOf({ store: 'backup', attempts: 0 }, { fingerprint, doubt: undefined, now: 0, timing })).toBeUndefined();
  });

  it('does not rest while an operation goes on, nor when a doubt has ended since its look', () => {
    expect(rest({ operation: { kind: 'import', at: lookedAt } })).toBeUndefined();
    expect(rest({}, { doubt: lookedAt + 5, now: lookedAt + 5 })).toBeUndefined();
    expect(rest({}, { doubt: lookedAt + 5, now: lookedAt + 4 })).toBeDefined();
    expect(rest({}, { doubt: lookedAt })).toBeDefined();
  });
});
