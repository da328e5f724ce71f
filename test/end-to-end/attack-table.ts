import { certificateCrn, payloadTest } from '../support/notifications.ts';
import { type Arms, type Attack, attack, change, otherCrn } from './attack.ts';
import { payloads, shapes, spellings } from './attack-contents.ts';
import { algorithms, keys } from './attack-signatures.ts';
import { primaryCrn } from './program.ts';

const dressed = (arms: Arms) => ({ body: arms.signer.body(change(arms)) });

const requests: readonly Attack[] = [
  attack('GET', 405, (arms) => ({ ...dressed(arms), method: 'GET' })),
  attack('PUT', 405, (arms) => ({ ...dressed(arms), method: 'PUT' })),
  attack('text/plain', 415, (arms) => ({ ...dressed(arms), headers: { 'content-type': 'text/plain' } })),
  attack('application/jwt', 415, (arms) => ({ ...dressed(arms), headers: { 'content-type': 'application/jwt' } })),
  attack('charset=utf-16', 415, (arms) => ({
    ...dressed(arms),
    headers: { 'content-type': 'application/json; charset=utf-16' },
  })),
  attack('Content-Encoding: gzip', 415, (arms) => ({ ...dressed(arms), headers: { 'content-encoding': 'gzip' } })),
  attack('262,145 bytes', 413, (arms) => Buffer.concat([dressed(arms).body], 262_145)),
  attack('path of another link', 404, (arms) => ({ ...dressed(arms), path: '/callback/other' })),
  attack('path /callback/__proto__', 404, (arms) => ({ ...dressed(arms), path: '/callback/__proto__' })),
  attack('path with ../', 404, (arms) => ({ ...dressed(arms), path: '/callback/x/../main' })),
  attack('path with an escaped letter', 404, (arms) => ({ ...dressed(arms), path: '/callback/%6dain' })),
  attack('path with an escaped NUL', 404, (arms) => ({ ...dressed(arms), path: '/callback/main%00' })),
];

/** Each must be refused, and cost nothing. */
export const refused: readonly Attack[] = [...algorithms, ...keys, ...shapes, ...spellings, ...payloads, ...requests];

/**
 * Genuine ones that look like attacks, or carry something that must be passed over. 202: looked at;
 * 200: only noted.
 */
export const accepted: readonly Attack[] = [
  attack('genuine', 202, (arms) => arms.signer.body(change(arms))),
  attack('genuine, kid with a path', 202, (arms) =>
    arms.signer.body(change(arms), { alg: 'RS256', kid: '../../../../etc/passwd' }),
  ),
  attack('genuine, kid as a URL', 202, (arms) =>
    arms.signer.body(change(arms), { alg: 'RS256', kid: `${arms.trapUrl}/k` }),
  ),
  attack(
    'genuine, white space of JSON around it',
    202,
    (arms) => `\r\n\t { "data" \n: "${arms.signer.sign(change(arms))}" } \n`,
  ),
  attack('genuine, another member with a URL', 202, (arms) =>
    JSON.stringify({ data: arms.signer.sign(change(arms)), publicKey: `${arms.trapUrl}/keys` }),
  ),
  attack(
    'genuine, 50,000 brackets beside it',
    202,
    (arms) => `{"data":"${arms.signer.sign(change(arms))}","deep":${'['.repeat(50_000)}${']'.repeat(50_000)}}`,
  ),
  attack('genuine, query with another key', 202, (arms) => ({
    ...dressed(arms),
    path: `/callback/main?publicKey=${encodeURIComponent(arms.trapUrl)}`,
  })),
  attack('genuine, a name of control characters', 202, (arms) =>
    arms.signer.body(
      change(arms, {
        certificates: [
          {
            cert_crn: certificateCrn(arms.certificate, primaryCrn),
            name: 'a\0\u001b[2J\r\n{"level":"error"}\u202e\u2028',
          },
        ],
      }),
    ),
  ),
  attack('genuine, certificate_manager_url elsewhere', 202, (arms) =>
    arms.signer.body(change(arms, { certificate_manager_url: `${arms.trapUrl}/api` })),
  ),
  attack('genuine, a member __proto__ in the payload', 202, (arms) =>
    arms.signer.body(JSON.stringify(change(arms)).replace(/^{/, '{"__proto__":{"changes":false,"version":1},')),
  ),
  attack('genuine, instance_crn twice, the last ours', 202, (arms) =>
    arms.signer.body(JSON.stringify(change(arms)).replace(/^{/, `{"instance_crn":"${otherCrn}",`)),
  ),
  attack('genuine, event_type __proto__', 200, (arms) => arms.signer.body(change(arms, { event_type: '__proto__' }))),
  attack('genuine, version 6', 200, (arms) => arms.signer.body(change(arms, { version: 6 }))),
  attack('genuine, a test event', 200, (arms) => arms.signer.body(payloadTest({ instance: primaryCrn }))),
];
