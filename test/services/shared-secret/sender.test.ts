import { hash } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { changeMessage } from '../../../src/sender/change-message.ts';
import { senderOf } from '../../../src/services/shared-secret/sender.ts';

const secret = 'a secret of some thirty letters'.replaceAll(' ', '-');
const next = `${secret}-2`;
const config = { kind: 'shared-secret', name: 'hook', store: 'site', digest: hash('sha256', secret) } as const;
const body = Buffer.from(changeMessage({ type: 'certificate.changed', at: 0, certificates: [{ id: 'x' }] }));

function receive(headers: Record<string, string>, more: { nextDigest?: string; header?: string } = {}): string {
  const sender = senderOf({ ...config, ...more });
  const lower = new Map(Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]));
  const header = (name: string) => lower.get(name.toLowerCase());
  try {
    const received = sender.receive({ header, body }, sender.keys ?? new Map(), 0);
    return 'events' in received && received.events[0]?.unsigned === true ? 'taken as unsigned' : 'something else';
  } catch (thrown) {
    expect(JSON.stringify(thrown)).not.toContain(secret);
    return (thrown as { code: string }).code;
  }
}

describe('a sender with a secret in a header', () => {
  it('is proven by it, and while it changes by either', () => {
    expect(receive({ authorization: `Bearer ${secret}` })).toBe('taken as unsigned');
    expect(receive({ authorization: `bearer ${secret}` })).toBe('taken as unsigned');
    expect(receive({ authorization: `Bearer ${next}` })).toBe('notification_not_genuine');
    const both = { nextDigest: hash('sha256', next) };
    for (const each of [secret, next])
      expect(receive({ authorization: `Bearer ${each}` }, both)).toBe('taken as unsigned');
  });

  it('may have a header of its own', () => {
    expect(receive({ 'X-Token': secret }, { header: 'X-Token' })).toBe('taken as unsigned');
    expect(receive({ authorization: `Bearer ${secret}` }, { header: 'X-Token' })).toBe('notification_not_genuine');
  });

  it('may be of any characters, however the host reads the bytes of a header', () => {
    const accented = 'clé secrète — à ne pas montrer'.replaceAll(' ', '-');
    const sender = senderOf({ ...config, digest: hash('sha256', accented) });
    const keys = sender.keys ?? new Map();
    for (const given of [accented, Buffer.from(accented).toString('latin1')])
      expect(sender.receive({ header: () => `Bearer ${given}`, body }, keys, 0)).toHaveProperty('events');
  });

  it.each([
    ['nothing', {}],
    ['an empty one', { authorization: 'Bearer ' }],
    ['the secret without its word', { authorization: secret }],
    ['one letter less', { authorization: `Bearer ${secret.slice(1)}` }],
    ['one letter more', { authorization: `Bearer ${secret}x` }],
    ['the digest', { authorization: `Bearer ${config.digest}` }],
    ['it twice', { authorization: `Bearer ${secret}, Bearer ${secret}` }],
    ['100 KB', { authorization: `Bearer ${'x'.repeat(100_000)}` }],
  ])('is refused with %s', (_name, headers) => {
    expect(receive(headers as Record<string, string>)).toBe('notification_not_genuine');
  });

  it('is refused with a secret so short that its digest would give it away', () => {
    const short = 'x'.repeat(23);
    const sender = senderOf({ ...config, digest: hash('sha256', short) });
    expect(() => sender.receive({ header: () => `Bearer ${short}`, body }, sender.keys ?? new Map(), 0)).toThrow();
    const enough = 'x'.repeat(24);
    const other = senderOf({ ...config, digest: hash('sha256', enough) });
    expect(other.receive({ header: () => `Bearer ${enough}`, body }, other.keys ?? new Map(), 0)).toHaveProperty(
      'events',
    );
  });
});
