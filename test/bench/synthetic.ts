import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { instanceCrn } from '../support/notifications.ts';
import { backupCrn, type Pair } from './servers.ts';

/**
 * An estate that exists as numbers only: nobody holds a hundred thousand certificates to measure
 * who lists them.
 */
export interface SyntheticEstate {
  readonly size: number;
}

const pageSize = 200;
const firstExpiry = Date.UTC(2040, 0, 1);
const begins = Date.UTC(2026, 0, 1);
const modified = Date.UTC(2026, 1, 1);

const idOf = (side: 'primary' | 'backup', number: number) =>
  `${side === 'primary' ? 'a' : 'b'}${number.toString(16).padStart(31, '0')}`;
const serialOf = (number: number) => `ab${number.toString(16).padStart(30, '0')}`;
const crnOf = (instance: string, id: string) => `${instance.slice(0, -1)}certificate:${id}`;

/** What listings of Certificate Manager say of one of them. */
function listedCertificate(side: 'primary' | 'backup', number: number) {
  const mark = `certstandby:1 ${instanceCrn} ${idOf('primary', number)}`;
  return {
    _id: crnOf(side === 'primary' ? instanceCrn : backupCrn, idOf(side, number)),
    name: `certificate ${number}`,
    description: side === 'primary' ? '' : mark,
    domains: [`host-${number}.example.test`, `www.host-${number}.example.test`],
    issuer: 'An Issuer',
    status: 'valid',
    serial_number: serialOf(number),
    begins_on: begins,
    expires_on: firstExpiry + number * 1_000,
    last_modified: modified + number,
  };
}

/** The row of its replication record, when both sides are equal. */
export function recordFields(_: SyntheticEstate, number: number, now: number) {
  const expires = firstExpiry + number * 1_000;
  return {
    sort: idOf('primary', number),
    fields: {
      requested: 1,
      replicated: 1,
      leaseToken: 1,
      attempts: 0,
      primary: {
        name: `certificate ${number}`,
        fingerprint: serialOf(number).repeat(2),
        metadataDigest: serialOf(number).repeat(2),
        revision: String(modified + number),
        listedFacts: `${serialOf(number)}|${begins}|${expires}`,
        notAfter: expires,
        changedAt: modified + number,
        changedAtFrom: 'last-modified',
        lookedAt: now,
      },
      backups: [
        {
          store: backupCrn,
          id: idOf('backup', number),
          fingerprint: serialOf(number).repeat(2),
          metadataDigest: serialOf(number).repeat(2),
          revision: String(modified + number),
          replicatedAt: modified + number + 500,
          attempts: 0,
        },
      ],
    },
  };
}

/** One server that lists both sides of an estate, and takes nothing. */
export async function startSyntheticServer({ size }: SyntheticEstate) {
  let pages = 0;
  const server = createServer((request, response) => {
    const url = new URL(request.url ?? '', 'http://localhost');
    const answer = (body: unknown) =>
      response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(body));
    if (url.pathname === '/identity/token') {
      const expires = Math.floor(Date.now() / 1000) + 3_600;
      answer({ access_token: 'token', token_type: 'Bearer', expires_in: 3_600, expiration: expires });
      return;
    }
    pages += 1;
    const side = decodeURIComponent(url.pathname).includes(instanceCrn) ? 'primary' : 'backup';
    const from = Number(url.searchParams.get('start_from_orderby_value') ?? 0);
    const numbers = Array.from({ length: Math.min(pageSize, size - from) }, (_, index) => from + index);
    const next = from + pageSize;
    const cursor =
      next < size
        ? { startWithDocId: crnOf(instanceCrn, idOf('primary', next)), startWithOrderByValue: next }
        : { startWithDocId: '', startWithOrderByValue: '' };
    answer({ certificates: numbers.map((number) => listedCertificate(side, number)), nextPageInfo: cursor });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const pair: Pair = {
    primary: { url, crn: instanceCrn, apiKey: 'key' },
    backup: { url, crn: backupCrn, apiKey: 'key' },
  };
  return {
    pair,
    pages: () => pages,
    close: () =>
      new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}
