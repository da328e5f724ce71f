import { hash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { senderOf } from '../../../src/services/openbao-audit/sender.ts';

const secret = 'a-secret-of-some-thirty-letters';
const config = {
  kind: 'openbao-audit',
  name: 'bao',
  store: 'vault',
  digest: hash('sha256', secret),
  prefix: 'certs',
} as const;

/** A record of a write as OpenBao 2.7.2 posts it. */
const record = (request: object = {}, more: object = {}) => ({
  time: '2026-11-30T11:00:00.123456789Z',
  type: 'response',
  request: {
    id: 'f3c5d2a0-0000-4000-8000-000000000001',
    operation: 'update',
    mount_type: 'kv',
    mount_point: 'secret/',
    path: 'secret/data/certs/shop',
    namespace: { id: 'root' },
    data: { data: { certificate: 'hmac-sha256:abc' } },
    ...request,
  },
  response: { data: { version: 3 } },
  ...more,
});

function told(body: unknown, given: Partial<Parameters<typeof senderOf>[0]> = {}, authorization = `Bearer ${secret}`) {
  const sender = senderOf({ ...config, ...given });
  const text = typeof body === 'string' ? body : `${JSON.stringify(body)}\n`;
  try {
    const received = sender.receive(
      {
        header: (name) => (name.toLowerCase() === 'authorization' ? authorization : undefined),
        body: Buffer.from(text),
      },
      sender.keys ?? new Map(),
      0,
    );
    return 'events' in received ? received.events.flatMap(({ certificates }) => certificates.map(({ id }) => id)) : [];
  } catch (thrown) {
    return (thrown as { code: string }).code;
  }
}

describe('a record of the audit device', () => {
  it('of a successful write names the certificate, whatever was written of it', () => {
    for (const operation of ['create', 'update', 'patch', 'delete'])
      expect(told(record({ operation }))).toEqual(['shop']);
    for (const area of ['data', 'metadata', 'delete', 'undelete', 'destroy'])
      expect(told(record({ path: `secret/${area}/certs/team/shop` }))).toEqual(['team/shop']);
    expect(told(record({ path: 'secret/certs/shop' }))).toEqual(['shop']);
    expect(told(record({ path: 'secret/data/certs/shop.example.test/cert.key' }))).toEqual(['shop.example.test/']);
  });

  it('of anything else is dropped: reads, refusals, other places, our own logins', () => {
    expect(told(record({}, { type: 'request' }))).toEqual([]);
    expect(told(record({ operation: 'read' }))).toEqual([]);
    expect(told(record({}, { error: 'permission denied' }))).toEqual([]);
    expect(told(record({ mount_type: 'token', path: 'auth/token/lookup-self' }))).toEqual([]);
    expect(told(record({ path: 'secret/data/others/shop' }))).toEqual([]);
    expect(told(record({ path: 'kv/data/certs/shop' }))).toEqual([]);
    expect(told(record({ path: 'secret/data/certs/' }))).toEqual([]);
    expect(told(record({ namespace: { id: 'x', path: 'team/' } }))).toEqual([]);
  });

  it('of another mount or namespace is one where the configuration says so', () => {
    const given = { mount: 'kv/two', namespace: 'team' };
    expect(told(record({ path: 'kv/two/data/certs/shop', namespace: { id: 'x', path: 'team/' } }), given)).toEqual([
      'shop',
    ]);
    expect(told(record({ path: 'kv/two/data/certs/shop' }), given)).toEqual([]);
  });

  it('is proven by the secret before anything is read, and told once however often it comes', () => {
    expect(told(record(), {}, `Bearer ${secret}x`)).toBe('notification_not_genuine');
    expect(told('{', {}, 'Bearer wrong-secret-of-enough-length')).toBe('notification_not_genuine');
    expect(told('{')).toBe('notification_malformed');
    expect(told({ type: 'response' })).toBe('notification_malformed');
    const digestOf = (request: object) => {
      const sender = senderOf(config);
      const body = Buffer.from(JSON.stringify(record(request)));
      const received = sender.receive({ header: () => `Bearer ${secret}`, body }, sender.keys ?? new Map(), 0);
      return 'events' in received ? received.events[0]?.digest : undefined;
    };
    expect(digestOf({})).toBe(digestOf({ operation: 'create' }));
    expect(digestOf({})).not.toBe(digestOf({ id: 'another' }));
  });
});
