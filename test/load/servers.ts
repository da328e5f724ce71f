import { createPrivateKey } from 'node:crypto';
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import type { IncomingMessage, ServerResponse } from 'node:http';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { findRoutes } from '../../src/instance/api/routes.ts';
import { Secret } from '../../src/secret.ts';
import { certificateManagerStore } from '../../src/services/certificate-manager/store.ts';
import { wholeMark } from '../../src/store/mark.ts';
import type { Store } from '../../src/store/store.ts';
import { backupCrn, primaryCrn } from '../end-to-end/program.ts';
import { testCertificate } from '../support/certificates.ts';
import { apiKeyOf, startTestInstance, type TestInstance } from '../support/instance.ts';
import { scaledRuntime } from './scaled-time.ts';

/** Requests that a side answered, by operation and status: `reimport 200`. */
export type AnswerCounts = Readonly<Record<string, number>>;

export interface ServersOptions {
  readonly signingKeyPem: string;
  readonly certificates: number;
  /** Each certificate is renewed so often, less once. */
  readonly versions: number;
  /** How much faster than the wall its clock runs. */
  readonly speed: number;
}

/**
 * The process that holds the primary, without limits, and the backup, with those of Certificate
 * Manager: five writes a minute for each certificate.
 */
export function serverHandlers() {
  const runtime = { now: () => 0 };
  const counts: Record<'primary' | 'backup', Record<string, number>> = { primary: {}, backup: {} };
  const subjects: { readonly id: string; readonly versions: readonly CertificateContent[]; version: number }[] = [];
  let stop = async (): Promise<void> => {};
  let backupStore: Store | undefined;
  let primaryStore: Store | undefined;

  return {
    /** Answers where both are, and the ids of the certificates in the primary. */
    async start({ signingKeyPem, certificates, versions, speed }: ServersOptions) {
      const clock = scaledRuntime(speed);
      Object.assign(runtime, clock);
      const signingKey = createPrivateKey(signingKeyPem);
      const primary = await startTestInstance({ crn: primaryCrn, signingKey, runtime: clock });
      const backup = await startTestInstance({ crn: backupCrn, runtime: clock, limits: {} });
      const store = ({ crn: instance, url }: TestInstance) =>
        certificateManagerStore({
          instance,
          apiKey: new Secret(apiKeyOf('manager')),
          endpoint: url,
          iamUrl: url,
          runtime: clock,
        });
      primaryStore = store(primary);
      backupStore = store(backup);
      for (let index = 0; index < certificates; index += 1) {
        const made = await makeVersions(index, versions);
        const [content] = made;
        if (content === undefined) throw new Error('a certificate needs one version at least');
        const metadata = { name: `certificate ${index}`, description: '', tags: [] };
        const { id } = await primaryStore.import({ content, metadata });
        subjects.push({ id, versions: made, version: 0 });
      }
      const forget = countAnswers({ [portOf(primary)]: counts.primary, [portOf(backup)]: counts.backup });
      stop = async () => {
        forget();
        await Promise.all([primary.close(), backup.close()]);
      };
      return { primaryUrl: primary.url, backupUrl: backup.url, ids: subjects.map(({ id }) => id) };
    },

    /** Puts the next version of a certificate into the primary. */
    async renew(index: number): Promise<void> {
      const subject = subjects[index];
      const content = subject?.versions[subject.version + 1];
      if (subject === undefined || content === undefined) throw new Error(`no next version of ${index}`);
      subject.version += 1;
      await primaryStore?.reimport(subject.id, content);
    },

    /** What each side answered since the start. */
    counts: (): Readonly<Record<'primary' | 'backup', AnswerCounts>> => structuredClone(counts),

    /**
     * How many certificates have exactly one copy that equals their newest version, and how many
     * copies there are.
     */
    async compare(): Promise<{ readonly equal: number; readonly copies: number }> {
      if (backupStore === undefined) throw new Error('not started');
      const copies = new Map<string, string[]>();
      for (let cursor: string | undefined, more = true; more; ) {
        const page = await backupStore.list(cursor === undefined ? {} : { cursor });
        for (const { id, mark: found } of page.certificates) {
          const mark = wholeMark(found);
          if (mark) copies.set(mark.certificate, [...(copies.get(mark.certificate) ?? []), id]);
        }
        cursor = page.cursor;
        more = cursor !== undefined;
      }
      let equal = 0;
      for (const { id, versions, version } of subjects) {
        const [copy, ...others] = copies.get(id) ?? [];
        const newest = versions[version];
        const reading = copy === undefined || others.length > 0 ? undefined : await backupStore.read(copy);
        const held = reading?.state === 'present' ? fingerprintOf(reading.value.content) : undefined;
        if (newest !== undefined && held === fingerprintOf(newest)) equal += 1;
      }
      return { equal, copies: [...copies.values()].flat().length };
    },

    stop: () => stop(),
  };
}

async function makeVersions(index: number, count: number): Promise<readonly CertificateContent[]> {
  const domains = [`certificate-${index}.example.test`];
  return Promise.all(Array.from({ length: count }, async () => parseContent(await testCertificate({ domains }))));
}

const portOf = ({ url }: TestInstance) => Number(new URL(url).port);

/** Counts where the answers leave: what a client says about its own requests is not asked. */
function countAnswers(byPort: Readonly<Record<number, Record<string, number>>>): () => void {
  const count = (message: unknown) => {
    const { request, response } = message as { readonly request: IncomingMessage; readonly response: ServerResponse };
    const counts = byPort[request.socket.localPort ?? 0];
    if (counts === undefined) return;
    const name = `${operationOf(request)} ${response.statusCode}`;
    counts[name] = (counts[name] ?? 0) + 1;
  };
  subscribe('http.server.response.finish', count);
  return () => void unsubscribe('http.server.response.finish', count);
}

function operationOf({ method, url = '' }: IncomingMessage): string {
  const [path = ''] = url.split('?');
  if (path === '/identity/token') return 'token';
  return findRoutes(path)?.routes.find((route) => route.method === method)?.name ?? 'other';
}
