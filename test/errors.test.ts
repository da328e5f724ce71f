import { describe, expect, test } from 'vitest';
import { CodedError, type ErrorCode, errorRegistry, remedyOf } from '../src/errors.ts';

const codes = Object.keys(errorRegistry) as ErrorCode[];

test('each code has a remedy, in whole sentences, also where nothing is known of the cause', () => {
  const unfit = codes.filter((code) => !/^[A-Z]\S* .{4,}\S$/s.test(remedyOf(code)));
  expect(unfit).toEqual([]);
});

describe('a remedy is for the cause', () => {
  const withCode = (code: string, cause?: unknown) => Object.assign(new Error('no matter', { cause }), { code });

  test('that a field tells', () => {
    const error = new CodedError('store_unavailable', 'x', { fields: { reason: 'ECONNREFUSED' } });
    expect(error.remedy).toContain('Nothing listens');
  });

  test('that is innermost of the causes', () => {
    const inner = withCode('CERT_HAS_EXPIRED');
    const error = new CodedError('store_unavailable', 'x', {
      cause: withCode('ECONNRESET', new Error('y', { cause: inner })),
    });
    expect([error.reason, error.remedy]).toEqual([
      'CERT_HAS_EXPIRED',
      expect.stringContaining('has expired. Renew it there'),
    ]);
  });

  test('that a coded cause tells', () => {
    const cause = new CodedError('store_nonsense', 'y', { fields: { reason: 'ENOTFOUND' } });
    expect(new CodedError('store_unavailable', 'x', { cause }).remedy).toContain('not known to DNS');
  });

  test('and general where the cause has no code, is unknown, or has itself for a cause', () => {
    const circle = new Error('z');
    circle.cause = circle;
    const general = remedyOf('store_unavailable');
    for (const cause of [undefined, 'text', circle, withCode('EWHATEVER'), withCode('constructor')])
      expect(new CodedError('store_unavailable', 'x', { cause }).remedy).toBe(general);
  });
});
