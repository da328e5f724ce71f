import { X509Certificate } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { asCodedError, CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import { readRegularFileSync } from '../regular-file.ts';
import type { Runtime } from '../runtime.ts';
import { openSigningKey } from '../signing/signing-key.ts';
import type { Store } from '../store/store.ts';
import { type DrillOptions, drill } from './drill.ts';
import { reportPage } from './page.ts';
import { type DrillReport, signReport } from './report.ts';

/** A drill whose report is on disk. */
export interface KeptDrill {
  readonly report: DrillReport;
  /** The signed report, and the page beside it. */
  readonly signedFile: string;
  readonly pageFile: string;
  /** For status. */
  readonly summary: {
    readonly completedAt: number;
    readonly kept: number;
    readonly served: number;
    readonly failed: number;
    readonly notDrilled: number;
    readonly examples: string[];
  };
}

const mostExamples = 5;

/**
 * Drills one link and writes the report to `folder`: signed, as `<time>-<link>.json`, and as a page
 * beside it. `trust` is a PEM file. Throws `drill_key_unusable` before anything is read, and
 * `configuration_invalid` where `trust` holds no certificate.
 */
export async function drillAndKeep(
  runtime: Runtime,
  link: { readonly name: string; readonly primary: Pick<Store, 'id'>; readonly backups: readonly Store[] },
  options: Omit<DrillOptions, 'trust'> & { readonly folder: string; readonly trust?: string },
): Promise<KeptDrill> {
  const { folder, trust, ...rest } = options;
  const { privateKey } = openSigningKey(folder, 'drill_key_unusable');
  try {
    const report = await drill(runtime, link, { ...rest, ...(trust !== undefined && { trust: readTrust(trust) }) });
    const name = `${report.startedAt.replace(/[:.]/g, '-')}-${link.name}`;
    const signedFile = join(folder, `${name}.json`);
    const pageFile = join(folder, `${name}.html`);
    write(signedFile, signReport(report, privateKey.reveal()));
    write(pageFile, reportPage(report, `${name}.json`));
    return { report, signedFile, pageFile, summary: summaryOf(report, runtime.now()) };
  } finally {
    privateKey.wipe();
  }
}

function summaryOf({ kept, served, failed, copies, notDrilled }: DrillReport, completedAt: number) {
  const examples = [
    ...notDrilled.map(({ store, message }) => `${store}: ${message}`),
    ...copies.filter((copy) => !copy.served).map(({ name, failure, message }) => `${name}: ${failure}: ${message}`),
  ];
  return {
    completedAt,
    kept,
    served,
    failed,
    notDrilled: notDrilled.length,
    examples: examples.slice(0, mostExamples),
  };
}

/**
 * The certificates of a PEM file, one each. One that cannot be read is trusted by nobody: it does
 * not keep the others from it.
 */
function readTrust(path: string): readonly string[] {
  let text = '';
  try {
    text = readRegularFileSync(path, { maxBytes: limits.drillTrustBytes }).toString('utf8');
  } catch (thrown) {
    const cause = asCodedError(thrown);
    throw new CodedError('configuration_invalid', `the authorities to trust cannot be read: ${cause.message}`, {
      cause,
    });
  }
  const blocks = text.match(/-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/g) ?? [];
  const found = blocks.filter(isReadable);
  if (found.length === 0) throw new CodedError('configuration_invalid', `${path} holds no certificate to trust`);
  return found;
}

function isReadable(pem: string): boolean {
  try {
    return new X509Certificate(pem).raw.length > 0;
  } catch {
    return false;
  }
}

function write(path: string, text: string): void {
  try {
    writeFileSync(path, text, { flag: 'wx', mode: 0o644 });
  } catch (cause) {
    const { code = 'error' } = cause as NodeJS.ErrnoException;
    throw new CodedError('drill_key_unusable', `the report ${path} cannot be written (${code})`, { cause });
  }
}
