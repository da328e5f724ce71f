import { bodyOf, certificateCrn, payloadV4, respellings } from '../support/notifications.ts';
import { type Attack, attack, change, otherCrn } from './attack.ts';
import { primaryCrn } from './program.ts';

/** Bodies and tokens of another shape. */
export const shapes: readonly Attack[] = [
  attack('nested: a genuine token signed by another key', 401, (arms) =>
    arms.stranger.body(arms.signer.sign(change(arms)), { alg: 'RS256', cty: 'JWT' }),
  ),
  attack('nested: a genuine token signed again by the genuine key', 400, (arms) =>
    arms.signer.body(arms.signer.sign(change(arms)), { alg: 'RS256', cty: 'JWT' }),
  ),
  attack('nested: data in data', 400, (arms) => JSON.stringify({ data: { data: arms.signer.sign(change(arms)) } })),
  attack('five parts, as an encrypted token', 400, (arms) => bodyOf(`${arms.signer.sign(change(arms))}.e30.e30`)),
  attack('JSON serialisation of a token', 400, (arms) => {
    const [header, payload, signature] = arms.signer.sign(change(arms)).split('.');
    return JSON.stringify({ protected: header, payload, signature });
  }),
  attack('a token without its body', 400, (arms) => arms.signer.sign(change(arms))),
  attack('two data, the first forged', 400, (arms) => {
    const [forged, genuine] = [arms.stranger.sign(change(arms)), arms.signer.sign(change(arms))];
    return `{"data":"${forged}","data":"${genuine}"}`;
  }),
  attack('two data, the second forged', 400, (arms) => {
    const [forged, genuine] = [arms.stranger.sign(change(arms)), arms.signer.sign(change(arms))];
    return `{"data":"${genuine}","data":"${forged}"}`;
  }),
  attack('data only inherited', 400, (arms) => `{"__proto__":{"data":"${arms.signer.sign(change(arms))}"}}`),
  attack('a body of 100,000 brackets', 400, () => '['.repeat(100_000)),
  attack('a body of 25,000 nested data', 400, () => `${'{"data":'.repeat(25_000)}1${'}'.repeat(25_000)}`),
  attack('data as 1e400', 400, () => '{"data":1e400}'),
  attack('data as a number of 100,000 digits', 400, () => `{"data":${'9'.repeat(100_000)}}`),
  attack('a body that is not UTF-8', 400, () => Buffer.from([0xff, 0xfe, 0x00])),
  attack('a genuine token beside a member that is not UTF-8', 400, (arms) =>
    Buffer.concat([
      Buffer.from(`{"data":"${arms.signer.sign(change(arms))}","x":"`),
      Buffer.from([0xc0, 0x80]),
      Buffer.from('"}'),
    ]),
  ),
  attack('a genuine body in UTF-16', 400, (arms) => Buffer.from(arms.signer.body(change(arms)).toString(), 'utf16le')),
  attack('a header of 80,000 brackets', 400, (arms) => arms.signer.body(change(arms), '['.repeat(80_000))),
  attack('a header that is not UTF-8', 400, (arms) =>
    arms.signer.body(change(arms), Buffer.from('{"alg":"RS256","x":"\xff"}', 'latin1')),
  ),
];

/** Every other spelling of one token; which there are depends on no token. */
export const spellings: readonly Attack[] = respellings('e30.e30.e30').map(({ name }) =>
  attack(`spelling: ${name}`, 400, (arms) => {
    const spelled = respellings(arms.signer.sign(change(arms))).find((other) => other.name === name);
    if (spelled === undefined) throw new Error(`no spelling ${name}`);
    return spelled.body;
  }),
);

/** Signed by the genuine key: what nobody but the primary can send, and is refused all the same. */
export const payloads: readonly Attack[] = [
  attack('payload: 80,000 brackets', 400, ({ signer }) => signer.body('['.repeat(80_000))),
  attack('payload: not UTF-8', 400, (arms) =>
    arms.signer.body(Buffer.from(JSON.stringify(change(arms, { x: '\xe9' })), 'latin1')),
  ),
  attack('payload: everything only inherited', 400, (arms) =>
    arms.signer.body(`{"__proto__":${JSON.stringify(change(arms))}}`),
  ),
  attack('payload: version 1e999', 400, (arms) =>
    arms.signer.body(JSON.stringify(change(arms)).replace('"version":5', '"version":1e999')),
  ),
  attack('payload: version of 100,000 digits', 400, (arms) =>
    arms.signer.body(JSON.stringify(change(arms)).replace('"version":5', `"version":${'9'.repeat(100_000)}`)),
  ),
  attack('payload: version 2 ** 53', 400, (arms) => arms.signer.body(change(arms, { version: 2 ** 53 }))),
  attack('payload: event_time 1e308', 400, (arms) => arms.signer.body(change(arms, { event_time: 1e308 }))),
  attack('payload: event_time -1', 400, (arms) => arms.signer.body(change(arms, { event_time: -1 }))),
  attack('payload: 101 certificates', 400, (arms) => arms.signer.body(manyCertificates(101))),
  attack('payload: instance_crn twice, the last of another', 403, (arms) =>
    arms.signer.body(JSON.stringify(change(arms)).replace(/}$/, `,"instance_crn":"${otherCrn}"}`)),
  ),
  attack('payload: certificates twice, the last of another', 403, (arms) => {
    const foreign = JSON.stringify([{ cert_crn: certificateCrn(arms.certificate, otherCrn) }]);
    return arms.signer.body(JSON.stringify(change(arms)).replace(/}$/, `,"certificates":${foreign}}`));
  }),
  ...Object.entries({
    'of another instance': otherCrn,
    'without its last colon': primaryCrn.slice(0, -1),
    'with one colon more': `${primaryCrn}:`,
    'in capitals': primaryCrn.toUpperCase(),
    'of another region': primaryCrn.replace('eu-de', 'eu-gb'),
    'of another account': primaryCrn.replace('a/0', 'a/1'),
    'with a space after': `${primaryCrn} `,
    'with NUL after': `${primaryCrn}\0`,
    'with a line break after': `${primaryCrn}\n`,
    'with a Cyrillic letter': primaryCrn.replace('cloudcerts', 'cl\u043eudcerts'),
    'percent-encoded': encodeURIComponent(primaryCrn),
  }).map(([how, crn]) =>
    attack(`payload: instance CRN ${how}`, 403, (arms) => arms.signer.body(change(arms, { instance_crn: crn }))),
  ),
  ...Object.entries({
    'of another instance': (id: string) => certificateCrn(id, otherCrn),
    'of the instance itself': () => primaryCrn,
    'without an id': () => certificateCrn('', primaryCrn),
    'with ../ in the id': (id: string) => certificateCrn(`../${id}`, primaryCrn),
    'with ? in the id': (id: string) => `${certificateCrn(id, primaryCrn)}?x=1 `,
    'with NUL in the id': (id: string) => certificateCrn(`${id}\0`, primaryCrn),
    'with a line break in the id': (id: string) => certificateCrn(`${id}\r\n`, primaryCrn),
    'with an id of 129 characters': () => certificateCrn('x'.repeat(129), primaryCrn),
    'with both colons kept': (id: string) => `${primaryCrn}certificate:${id}`,
    'of another kind of resource': (id: string) => certificateCrn(id, primaryCrn).replace(':certificate:', ':secret:'),
    'with a space before': (id: string) => ` ${certificateCrn(id, primaryCrn)}`,
    'with a Cyrillic letter': (id: string) => certificateCrn(id, primaryCrn).replace('bluemix', 'blu\u0435mix'),
  }).map(([how, crnOf]) =>
    attack(`payload: certificate CRN ${how}`, 403, (arms) =>
      arms.signer.body(change(arms, { certificates: [{ cert_crn: crnOf(arms.certificate), name: 'shop' }] })),
    ),
  ),
  attack('payload: one certificate of ours, one of another instance', 403, (arms) =>
    arms.signer.body(
      change(arms, {
        certificates: [
          { cert_crn: certificateCrn(arms.certificate, primaryCrn) },
          { cert_crn: certificateCrn(arms.certificate, otherCrn) },
        ],
      }),
    ),
  ),
];

export function manyCertificates(count: number): Record<string, unknown> {
  const ids = Array.from({ length: count }, (_, index) => `absent-${index}`);
  return payloadV4({ instance: primaryCrn, ids });
}
