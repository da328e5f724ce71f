import { generateKeyPairSync } from 'node:crypto';
import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { reportPage } from '../../src/drill/page.ts';
import { checkReport, type DrillReport, signReport } from '../../src/drill/report.ts';
import { asCodedError } from '../../src/errors.ts';
import { openSigningKey } from '../../src/signing/signing-key.ts';

const pair = () => {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  return {
    privatePem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    publicPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
  };
};
const ours = pair();

const report: DrillReport = {
  format: 1,
  link: 'shop',
  primary: 'directory:web-1',
  startedAt: '2026-11-24T03:00:00.000Z',
  completedAt: '2026-11-24T03:00:01.000Z',
  trust: 'given',
  kept: 2,
  served: 1,
  failed: 1,
  copies: [
    { store: 'directory:copies', copy: 'a-1', name: 'a', certificate: 'a', served: true, fingerprint: 'f1' },
    {
      store: 'directory:copies',
      copy: 'b-1',
      name: '<script>alert("b")</script>',
      certificate: 'b',
      served: false,
      failure: 'expired',
      message: 'it has expired',
    },
  ],
  notDrilled: [],
};

const codeOf = (work: () => unknown): string => {
  try {
    work();
    return 'fine';
  } catch (thrown) {
    return asCodedError(thrown).code;
  }
};

describe('a signed report', () => {
  const text = signReport(report, ours.privatePem);

  it('is given back by whoever has the public key', () => {
    expect(checkReport(text, ours.publicPem)).toEqual(report);
  });

  it('is refused with any byte of it changed', () => {
    fc.assert(
      fc.property(fc.nat(text.length - 2), fc.constantFrom('0', 'x', 'A', ' '), (at, put) => {
        const changed = text.slice(0, at) + put + text.slice(at + 1);
        fc.pre(changed !== text);
        let found: unknown;
        try {
          found = checkReport(changed, ours.publicPem);
        } catch (thrown) {
          expect(['drill_report_changed', 'drill_report_unreadable']).toContain(asCodedError(thrown).code);
          return;
        }
        // What does not touch the report itself (white space of the outer JSON, say) changes
        // nothing that is read.
        expect(found).toEqual(report);
      }),
      { numRuns: 500 },
    );
  });

  it('is refused where a failure was made a success, and where it was signed anew by somebody else', () => {
    expect(codeOf(() => checkReport(text.replace('\\"failed\\": 1', '\\"failed\\": 0'), ours.publicPem))).toBe(
      'drill_report_changed',
    );
    const forged = signReport({ ...report, failed: 0, served: 2 }, pair().privatePem);
    expect(codeOf(() => checkReport(forged, ours.publicPem))).toBe('drill_report_changed');
  });

  it.each(['', 'no', '{}', '[]', '{"report":"{}","signature":{}}'])('is no %j', (other) => {
    expect(codeOf(() => checkReport(other, ours.publicPem))).toBe('drill_report_unreadable');
  });
});

describe('the key that signs', () => {
  let folder: string;
  beforeEach(() => {
    folder = mkdtempSync(join(tmpdir(), 'certstandby-drill-'));
  });
  afterEach(() => rmSync(folder, { recursive: true, force: true }));

  it('is made once, for its owner alone, its public half beside it', () => {
    const at = join(folder, 'drills');
    const first = openSigningKey(at, 'drill_key_unusable');
    expect(openSigningKey(at, 'drill_key_unusable').publicKey).toBe(first.publicKey);
    expect(statSync(join(at, 'signing.key')).mode & 0o777).toBe(0o600);
    expect(readFileSync(join(at, 'signing.pub'), 'utf8')).toBe(first.publicKey);
    expect(checkReport(signReport(report, first.privateKey.reveal()), first.publicKey)).toEqual(report);
    expect(String(first.privateKey)).not.toContain('PRIVATE');
  });

  it('is refused when others may read it', () => {
    openSigningKey(folder, 'drill_key_unusable');
    chmodSync(join(folder, 'signing.key'), 0o640);
    expect(codeOf(() => openSigningKey(folder, 'drill_key_unusable'))).toBe('drill_key_unusable');
  });
});

it('the page shows what failed first, and runs nothing that a certificate is called', () => {
  const page = reportPage(report, 'report.json');
  expect(page).toContain('1 of 2 copies would not serve; 2 are kept.');
  expect(page).not.toContain('<script');
  expect(page).toContain('&#60;script&#62;');
  expect(page.indexOf('it has expired')).toBeLessThan(page.indexOf('served</span>'));
  expect(reportPage({ ...report, failed: 0, copies: [] }, 'report.json')).toContain(
    'Every copy that was tried would serve',
  );
});
