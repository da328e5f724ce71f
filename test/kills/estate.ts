import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { parseContent } from '../../src/certificate/pem.ts';
import { brokenChain, testCertificate } from '../support/certificates.ts';

/** One certificate of the primary, in all the versions that it will have. */
export interface Subject {
  readonly name: string;
  /** Good ones, each with a key of its own. */
  readonly versions: readonly CertificateContent[];
  /** The primary takes it, and no copy may be made of it: its chain is somebody else's. */
  readonly unfit: CertificateContent;
}

/** Certificates made beforehand: making them takes longer than replicating them. */
export interface Estate {
  readonly subjects: readonly Subject[];
  /** What strangers keep in the backup. */
  readonly foreign: readonly CertificateContent[];
}

export async function makeEstate(subjects: number, versions: number): Promise<Estate> {
  const make = async (domains: readonly string[]) => parseContent(await testCertificate({ domains }));
  const made: Subject[] = [];
  for (let index = 0; index < subjects; index += 1) {
    const name = `cert-${index}`;
    const domains = [`${name}.example.test`, `www.${name}.example.test`];
    const good = await Promise.all(Array.from({ length: versions }, () => make(domains)));
    made.push({ name, versions: good, unfit: parseContent(await brokenChain({ domains })) });
  }
  const foreign = await Promise.all(
    ['foreign-a', 'foreign-b', 'foreign-c'].map((name) => make([`${name}.example.test`])),
  );
  return { subjects: made, foreign };
}

/** Every private key of an estate, as PEM. */
export function* privateKeysOf({ subjects, foreign }: Estate): Generator<string> {
  for (const content of [...foreign, ...subjects.flatMap(({ versions, unfit }) => [...versions, unfit])])
    if (content.privateKey !== undefined) yield content.privateKey.pem.reveal();
}
