import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { silentLog } from '../../src/log.ts';
import { createReceiver } from '../../src/receiver/receiver.ts';
import { pinVerificationKey } from '../../src/sender/jws.ts';
import {
  certificateCrn,
  instanceCrn,
  makeSigner,
  otherInstanceCrn,
  payloadTest,
  payloadV4,
  payloadV5,
} from '../support/notifications.ts';
import { watchedLink } from './links.ts';

const signer = makeSigner();
const key = pinVerificationKey(signer.publicKeyPem);

/** Values where a payload has others: of every JSON type, and some that come close. */
const anything = fc.oneof(
  fc.jsonValue(),
  fc.constantFrom(instanceCrn, certificateCrn(), 'cert_reimported', 'cert_deleted', 5, 6, -1, 1e300, null),
);
const members = fc.constantFrom(
  'instance_crn',
  'event_type',
  'certificates',
  'expiring_certificates',
  'certificateCRN',
  'version',
  'event_id',
  'event_time',
  '__proto__',
  'data',
);

const foreign = payloadV4({ instance: otherInstanceCrn });

/** A payload of any good kind, in which some members may have another value. */
const payload = fc
  .tuple(
    fc.constantFrom(payloadV4(), payloadV5(), payloadTest(), foreign),
    fc.array(fc.tuple(members, anything), { maxLength: 3 }),
  )
  .map(([good, changes]) => {
    const texts = new Map(Object.entries(good).map(([name, value]) => [name, JSON.stringify(value)]));
    for (const [name, value] of changes) texts.set(name, JSON.stringify(value));
    return `{${[...texts].map(([name, text]) => `${JSON.stringify(name)}:${text}`).join(',')}}`;
  });

/** A good body in which some bytes were replaced. */
const damaged = fc.tuple(fc.nat(1_300), fc.nat(5), fc.uint8Array({ maxLength: 5 })).map(([at, removed, added]) => {
  const good = signer.body(payloadV4());
  return Buffer.concat([good.subarray(0, at), added, good.subarray(at + removed)]);
});

const body = fc.oneof(
  fc.uint8Array({ maxLength: 300 }),
  fc.json().map((text) => Buffer.from(text)),
  fc.string().map((data) => Buffer.from(JSON.stringify({ data }))),
  fc.tuple(fc.string(), fc.string(), fc.string()).map((parts) => {
    const token = parts.map((part) => Buffer.from(part).toString('base64url')).join('.');
    return Buffer.from(JSON.stringify({ data: token }));
  }),
  fc.jsonValue().map((header) => signer.body(payloadV4(), header)),
  payload.map((text) => signer.body(text)),
  fc.jsonValue().map((value) => signer.body(JSON.stringify(value))),
  damaged,
);

const request = fc.record({
  method: fc.oneof({ weight: 9, arbitrary: fc.constant('POST') }, fc.string({ unit: 'binary' })),
  path: fc.oneof(
    { weight: 9, arbitrary: fc.constant('/callback/shop') },
    fc.string({ unit: 'binary' }).map((end) => `/callback/${end}`),
    fc.string({ unit: 'binary' }),
  ),
  type: fc.oneof({ weight: 9, arbitrary: fc.constant('application/json') }, fc.string({ unit: 'binary' })),
  body,
});

describe('the receiver', () => {
  it('answers anything with a status below 500, and acknowledges exactly where it says so', async () => {
    const seen = new Set<number>();
    await fc.assert(
      fc.asyncProperty(request, async ({ method, path, type, body }) => {
        const link = watchedLink(async () => key);
        const receiver = createReceiver({ now: Date.now, callbacks: [link], log: silentLog });
        const header = (name: string) => (name === 'content-type' ? type : undefined);
        const answer = await receiver({ method, path, header, body });
        seen.add(answer.status);
        expect([200, 202, 400, 401, 403, 404, 405, 415]).toContain(answer.status);
        expect(link.acknowledged.length).toBe(answer.status === 202 ? 1 : 0);
        const said = JSON.parse(answer.body);
        const wanted = answer.status < 300 ? ['status'] : ['code', 'message'];
        expect(Object.keys(said)).toEqual(expect.arrayContaining(wanted));
        expect(said.sender ?? 'nobody').toBe(answer.status === 404 ? 'nobody' : 'certificate-manager');
      }),
      { numRuns: 2_000 },
    );
    for (const status of [200, 202, 400, 401, 403, 404, 405, 415]) expect(seen).toContain(status);
  });
});
