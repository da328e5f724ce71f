import 'reflect-metadata';
import { createPrivateKey, createPublicKey, X509Certificate } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import {
  ExtendedKeyUsageExtension,
  KeyUsageFlags,
  KeyUsagesExtension,
  X509Certificate as Parsed,
} from '@peculiar/x509';

/**
 * AWS Certificate Manager as its reference and its users describe it, strict: what the emulators
 * that there are let pass is refused here. It reads certificates by Node and `@peculiar/x509`, and
 * shares nothing with the store. Beside it the tagging service and the token service.
 */
export interface FakeAcm {
  readonly url: string;
  /** Operations so far, in order. */
  readonly calls: readonly string[];
  /** Imports that the account may still make. */
  quota: number;
  /** Imports that it takes in a second; absent: as many as you like. */
  importsPerSecond: number | undefined;
  /** Whoever uses a certificate. */
  use(arn: string, by: string | undefined): void;
  /** Names of errors that the next calls of these operations are answered with. */
  fail(operation: string, name: string): void;
  /** The next call of this operation is done, and its answer lost on the way. */
  lose(operation: string): void;
  /** Milliseconds for which a new certificate is in no answer yet. */
  newHiddenMs: number;
  /** Hides one from every read until it is shown again. */
  hide(arn: string, isHidden: boolean): void;
  /** Puts a certificate there that ACM issued. */
  issue(given: {
    readonly pem?: { readonly certificate: string; readonly chain: string; readonly key: string };
    readonly exportable?: boolean;
  }): string;
  /** Takes tags off, as somebody with the console does. */
  untag(arn: string, key: string): void;
  /** What is there, in order. */
  arns(): readonly string[];
  /** What serves there, in the same order. */
  leaves(): readonly X509Certificate[];
  close(): Promise<void>;
}

interface Held {
  readonly arn: string;
  readonly createdAt: number;
  type: 'IMPORTED' | 'AMAZON_ISSUED';
  leaf: X509Certificate | undefined;
  chain: readonly X509Certificate[];
  key: string;
  importedAt: number | undefined;
  exportable: boolean;
  readonly tags: Map<string, string>;
  inUseBy: readonly string[];
}

type Input = Readonly<Record<string, unknown>>;

class Refusal extends Error {
  constructor(name: string, message: string) {
    super(message);
    this.name = name;
  }
}

const tagText = /^[\p{L}\p{Z}\p{N}_.:/=+\-@]*$/u;
const allKeyTypes = ['RSA_1024', 'RSA_2048', 'RSA_3072', 'RSA_4096', 'EC_prime256v1', 'EC_secp384r1', 'EC_secp521r1'];

/** What each operation takes; anything else is refused. */
const members: Readonly<Record<string, readonly string[]>> = {
  ImportCertificate: ['CertificateArn', 'Certificate', 'PrivateKey', 'CertificateChain', 'Tags'],
  DescribeCertificate: ['CertificateArn'],
  GetCertificate: ['CertificateArn'],
  ExportCertificate: ['CertificateArn', 'Passphrase'],
  ListCertificates: [
    'CertificateStatuses',
    'Includes',
    'NextToken',
    'MaxItems',
    'SortBy',
    'SortOrder',
    'CertificateKeyPairOrigins',
  ],
  ListTagsForCertificate: ['CertificateArn'],
  AddTagsToCertificate: ['CertificateArn', 'Tags'],
  RemoveTagsFromCertificate: ['CertificateArn', 'Tags'],
  DeleteCertificate: ['CertificateArn'],
  GetResources: ['ResourceTypeFilters', 'TagFilters', 'ResourcesPerPage', 'PaginationToken'],
};

const invalid = (message: string) => new Refusal('ValidationException', message);

/**
 * `roots`: PEM of roots with which it completes chains. `now`: milliseconds. `region`, `account`:
 * where it is; by default the ones that moto plays.
 */
export async function startFakeAcm(
  options: {
    readonly roots?: readonly string[];
    readonly now?: () => number;
    readonly region?: string;
    readonly account?: string;
  } = {},
): Promise<FakeAcm> {
  const { now = Date.now, region = 'eu-west-1', account = '123456789012' } = options;
  const stem = `arn:aws:acm:${region}:${account}:certificate/`;
  const roots = (options.roots ?? []).map((pem) => new X509Certificate(pem));
  const held = new Map<string, Held>();
  /** Those that had tags once: the tagging service still knows them. */
  const tagged = new Set<string>();
  const failures = new Map<string, string[]>();
  const lost: string[] = [];
  const hidden = new Set<string>();
  const calls: string[] = [];
  const lastImports: number[] = [];
  let made = 0;

  function find(input: Input): Held {
    const arn = String(input.CertificateArn ?? '');
    if (!/^arn:[\w+=/,.@-]+:acm:[\w+=/,.@-]*:\d+:[\w+=,.@-]+(\/[\w+=,.@-]+)*$/.test(arn))
      throw invalid(`Value '${arn}' at 'certificateArn' failed to satisfy constraint`);
    const found = held.get(arn);
    if (found === undefined || !isShown(found))
      throw new Refusal('ResourceNotFoundException', `Could not find certificate ${arn}.`);
    return found;
  }

  /** Whether reads show it: all of ACM is eventually consistent. */
  // The moment of an import has a fraction of a millisecond, so that no two are at the same one.
  const isShown = ({ arn, createdAt }: Held) =>
    !hidden.has(arn) && (fake.newHiddenMs === 0 || now() >= createdAt + fake.newHiddenMs);

  const keyTypeOf = ({ publicKey }: X509Certificate): string | undefined => {
    const { asymmetricKeyType: kind, asymmetricKeyDetails: details } = publicKey;
    const type = kind === 'rsa' ? `RSA_${details?.modulusLength}` : kind === 'ec' ? `EC_${details?.namedCurve}` : '';
    return allKeyTypes.includes(type) ? type : undefined;
  };
  const namesOf = (leaf: X509Certificate) => {
    const alternative = (leaf.subjectAltName ?? '').split(', ').map((name) => name.replace(/^[^:]*:/, ''));
    const [, common] = /^CN=(.*)$/m.exec(leaf.subject) ?? [];
    return [...new Set([...(common === undefined ? [] : [common]), ...alternative])].filter((name) => name !== '');
  };

  function pemsIn(input: Input, member: string, most: number): readonly string[] | undefined {
    const value = input[member];
    if (value === undefined) return undefined;
    if (typeof value !== 'string' || !/^[A-Za-z0-9+/]*={0,2}$/.test(value))
      throw new Refusal('SerializationException', '');
    const text = Buffer.from(value, 'base64').toString('latin1');
    if (text.length < 1 || text.length > most) throw invalid(`'${member}' must have length between 1 and ${most}`);
    return text.match(/-----BEGIN [^-]+-----[\s\S]+?-----END [^-]+-----/g) ?? [];
  }

  function contentOf(input: Input) {
    const [certificate, ...more] = pemsIn(input, 'Certificate', 32_768) ?? [];
    if (certificate === undefined) throw invalid('The certificate field contains no certificate.');
    if (more.length > 0)
      throw invalid(
        'The certificate field contains more than one certificate. You can specify only one certificate in this field.',
      );
    const leaf = readCertificate(certificate);
    const chain = (pemsIn(input, 'CertificateChain', 2_097_152) ?? []).map(readCertificate);
    if (input.CertificateChain !== undefined && chain.length === 0)
      throw invalid('Could not validate the certificate chain.');
    const [key] = pemsIn(input, 'PrivateKey', 5_120) ?? [];
    if (key === undefined || !key.includes('PRIVATE KEY')) throw invalid('The private key is not supported.');
    const type = keyTypeOf(leaf);
    if (type === undefined) throw invalid('The certificate has a key algorithm that is not supported.');
    const own = createPublicKey(createPrivateKey(key)).export({ type: 'spki', format: 'der' });
    if (!own.equals(leaf.publicKey.export({ type: 'spki', format: 'der' })))
      throw invalid('The private key does not match the certificate.');
    if (now() < Date.parse(leaf.validFrom) || now() > Date.parse(leaf.validTo))
      throw invalid('The certificate is not within its validity period.');
    if (namesOf(leaf).length === 0) throw invalid('The certificate has no domain name.');
    for (const [index, issuer] of chain.entries())
      if (![leaf, ...chain][index]?.checkIssued(issuer))
        throw invalid('Could not validate the certificate with the certificate chain.');
    return { leaf, chain, key };
  }

  function readCertificate(pem: string): X509Certificate {
    try {
      return new X509Certificate(pem);
    } catch {
      throw invalid('The certificate is not in the correct format.');
    }
  }

  function usagesOf(leaf: X509Certificate) {
    const parsed = new Parsed(leaf.raw);
    const usage = parsed.getExtension(KeyUsagesExtension)?.usages;
    const extended = parsed.getExtension(ExtendedKeyUsageExtension)?.usages.map(String);
    return { usage, extended };
  }

  /** What is compared with what is there (ACM, "Reimport a certificate"). */
  function refuseOver(next: X509Certificate, there: X509Certificate): void {
    if (keyTypeOf(next) !== keyTypeOf(there)) throw invalid('The key type and size must stay the same.');
    const [is, was] = [usagesOf(next), usagesOf(there)];
    if ((was.usage === undefined) !== (is.usage === undefined) && was.usage === undefined)
      throw invalid('Key Usage cannot be added.');
    const isEc = keyTypeOf(next)?.startsWith('EC_') === true;
    const free = isEc ? KeyUsageFlags.keyEncipherment : 0;
    if (((was.usage ?? 0) & ~(is.usage ?? 0) & ~free) !== 0) throw invalid('Missing one or more Key Usages.');
    if (was.extended === undefined && is.extended !== undefined) throw invalid('Extended Key Usage cannot be added.');
    const lost = (was.extended ?? []).filter(
      (oid) => oid !== '1.3.6.1.5.5.7.3.2' && !(is.extended ?? []).includes(oid),
    );
    if (lost.length > 0) throw invalid('Missing one or more Extended Key Usages.');
    if (!namesOf(there).some((name) => namesOf(next).includes(name))) throw invalid('All domain names were removed.');
  }

  function tagsIn(input: Input): readonly (readonly [string, string | undefined])[] {
    const { Tags } = input;
    if (!Array.isArray(Tags) || Tags.length < 1 || Tags.length > 50) throw invalid("'tags' must have 1 to 50 members");
    return Tags.map(({ Key, Value }: { readonly Key?: unknown; readonly Value?: unknown }) => {
      const fits = (text: unknown, most: number) =>
        typeof text === 'string' && text.length <= most && tagText.test(text);
      if (!fits(Key, 128) || Key === '' || /^aws:/i.test(String(Key))) throw new Refusal('InvalidTagException', 'key');
      if (Value !== undefined && !fits(Value, 256)) throw new Refusal('InvalidTagException', `value of ${Key}`);
      return [String(Key), Value === undefined ? undefined : String(Value)] as const;
    });
  }

  function addTags({ arn, tags }: Held, more: readonly (readonly [string, string | undefined])[]): void {
    const all = new Set([...tags.keys(), ...more.map(([key]) => key)]);
    if (all.size > 50) throw new Refusal('TooManyTagsException', 'more than 50');
    for (const [key, value = ''] of more) tags.set(key, value);
    tagged.add(arn);
  }

  function countImport(): void {
    const { importsPerSecond } = fake;
    while (lastImports.length > 0 && now() - (lastImports[0] ?? 0) >= 1_000) lastImports.shift();
    if (importsPerSecond !== undefined && lastImports.length >= importsPerSecond)
      throw new Refusal('ThrottlingException', 'Rate exceeded');
    lastImports.push(now());
  }

  const seconds = (ms: number) => ms / 1_000;
  const summaryOf = ({ arn, leaf, type, createdAt, importedAt, inUseBy, exportable }: Held) => ({
    CertificateArn: arn,
    ...(leaf && { DomainName: namesOf(leaf)[0], SubjectAlternativeNameSummaries: namesOf(leaf).slice(0, 100) }),
    Status: leaf === undefined ? 'PENDING_VALIDATION' : Date.parse(leaf.validTo) < now() ? 'EXPIRED' : 'ISSUED',
    Type: type,
    ...(leaf && {
      KeyAlgorithm: keyTypeOf(leaf),
      NotBefore: seconds(Date.parse(leaf.validFrom)),
      NotAfter: seconds(Date.parse(leaf.validTo)),
    }),
    InUse: inUseBy.length > 0,
    CreatedAt: seconds(createdAt),
    ...(importedAt !== undefined && { ImportedAt: seconds(importedAt) }),
    ...(type === 'AMAZON_ISSUED' && { ExportOption: exportable ? 'ENABLED' : 'DISABLED' }),
  });

  /** A chain with its root, as it may come back; a leaf alone stays one. */
  function completed({ chain }: Held): readonly X509Certificate[] {
    const end = chain.at(-1);
    const root = roots.find((one) => end !== undefined && !end.raw.equals(one.raw) && end.verify(one.publicKey));
    return root === undefined ? chain : [...chain, root];
  }

  const operations: Readonly<Record<string, (input: Input) => object>> = {
    ImportCertificate(input) {
      if (input.CertificateArn !== undefined && input.Tags !== undefined)
        throw invalid('Tagging is not permitted on re-import.');
      const there = input.CertificateArn === undefined ? undefined : find(input);
      if (there !== undefined && there.type !== 'IMPORTED') throw invalid('Only imported certificates are reimported.');
      const { leaf, chain, key } = contentOf(input);
      if (there?.leaf !== undefined) refuseOver(leaf, there.leaf);
      const tags = input.Tags === undefined ? [] : tagsIn(input);
      countImport();
      if (fake.quota <= 0) throw new Refusal('LimitExceededException', 'You have reached your limit of imports.');
      fake.quota -= 1;
      made += 1;
      const importedAt = now() + made / 1_000;
      if (there !== undefined) {
        Object.assign(there, { leaf, chain, key, importedAt });
        return { CertificateArn: there.arn };
      }
      const arn = `${stem}${String(made).padStart(8, '0')}-0000-4000-8000-000000000000`;
      const fresh: Held = {
        ...{ arn, createdAt: importedAt, type: 'IMPORTED', leaf, chain, key, importedAt, exportable: false },
        ...{ tags: new Map(), inUseBy: [] },
      };
      addTags(fresh, tags);
      held.set(arn, fresh);
      return { CertificateArn: arn };
    },
    DescribeCertificate(input) {
      const one = find(input);
      const { leaf, inUseBy, exportable } = one;
      const {
        InUse: _inUse,
        SubjectAlternativeNameSummaries: names,
        ExportOption: _option,
        ...summary
      } = summaryOf(one);
      return {
        Certificate: {
          ...summary,
          InUseBy: inUseBy,
          ...(leaf && {
            SubjectAlternativeNames: names,
            Serial: leaf.serialNumber.toLowerCase().match(/../g)?.join(':'),
            KeyAlgorithm: keyTypeOf(leaf)?.replace('RSA_', 'RSA-').replace('EC_', 'EC-'),
          }),
          Options: { Export: exportable ? 'ENABLED' : 'DISABLED' },
        },
      };
    },
    GetCertificate(input) {
      const one = find(input);
      if (one.leaf === undefined) throw new Refusal('RequestInProgressException', 'not issued yet');
      const chain = completed(one);
      return {
        Certificate: one.leaf.toString(),
        ...(chain.length > 0 && { CertificateChain: chain.map(String).join('') }),
      };
    },
    ExportCertificate(input) {
      const one = find(input);
      const phrase = Buffer.from(String(input.Passphrase ?? ''), 'base64').toString();
      if (phrase.length < 4 || phrase.length > 128 || /[#$%]/.test(phrase)) throw invalid('passphrase');
      if (one.type === 'IMPORTED' || !one.exportable) throw invalid('This certificate is not exportable.');
      if (one.leaf === undefined) throw new Refusal('RequestInProgressException', 'not issued yet');
      const encrypted = { type: 'pkcs8', format: 'pem', cipher: 'aes-256-cbc', passphrase: phrase } as const;
      return {
        Certificate: one.leaf.toString(),
        CertificateChain: one.chain.map(String).join(''),
        PrivateKey: createPrivateKey(one.key).export(encrypted).toString(),
      };
    },
    ListCertificates(input) {
      const { NextToken, MaxItems = 100, Includes = {} } = input;
      if (NextToken === '') throw invalid("'nextToken' must have length greater than or equal to 1");
      const most = Number(MaxItems);
      if (!(most >= 1 && most <= 1_000)) throw invalid('maxItems');
      const { keyTypes } = Includes as { readonly keyTypes?: readonly string[] };
      if (keyTypes?.some((type) => !allKeyTypes.includes(type))) throw invalid('keyTypes');
      const shown = [...held.values()].filter(isShown).filter(({ leaf }) => {
        // Without the filter: RSA up to 2,048 bits alone, and only with a domain.
        const type = leaf && keyTypeOf(leaf);
        return type === undefined ? keyTypes === undefined : (keyTypes ?? ['RSA_1024', 'RSA_2048']).includes(type);
      });
      const rest = shown.filter(({ createdAt }) => NextToken === undefined || createdAt > Number(NextToken));
      const page = rest.slice(0, most);
      const last = page.at(-1);
      return {
        CertificateSummaryList: page.map(summaryOf),
        ...(last !== undefined && rest.length > page.length && { NextToken: String(last.createdAt) }),
      };
    },
    ListTagsForCertificate: (input) => ({
      Tags: [...find(input).tags].map(([Key, Value]) => ({ Key, ...(Value !== '' && { Value }) })),
    }),
    AddTagsToCertificate(input) {
      addTags(find(input), tagsIn(input));
      return {};
    },
    RemoveTagsFromCertificate(input) {
      const { tags } = find(input);
      for (const [key, value] of tagsIn(input)) if (value === undefined || tags.get(key) === value) tags.delete(key);
      return {};
    },
    DeleteCertificate(input) {
      const { arn, inUseBy } = find(input);
      if (inUseBy.length > 0) throw new Refusal('ResourceInUseException', `Certificate ${arn} in use.`);
      held.delete(arn);
      return {};
    },
    GetResources(input) {
      const { TagFilters = [], PaginationToken = '', ResourcesPerPage = 100 } = input;
      const filters = TagFilters as readonly { readonly Key: string; readonly Values?: readonly string[] }[];
      const matching = [...tagged].filter((arn) => {
        // What is gone is found too for a while.
        const one = held.get(arn);
        if (one !== undefined && !isShown(one)) return false;
        const tags = one?.tags;
        return (
          tags === undefined ||
          filters.every(({ Key, Values }) => tags.has(Key) && (Values ?? [tags.get(Key)]).includes(tags.get(Key) ?? ''))
        );
      });
      const from = Number(PaginationToken || 0);
      const to = from + Math.min(Number(ResourcesPerPage), 100);
      return {
        ResourceTagMappingList: matching.slice(from, to).map((ResourceARN) => ({
          ResourceARN,
          Tags: [...(held.get(ResourceARN)?.tags ?? [])].map(([Key, Value]) => ({ Key, Value })),
        })),
        PaginationToken: to < matching.length ? String(to) : '',
      };
    },
  };

  function answer(target: string, body: string): object {
    const [, operation = ''] = target.split('.');
    calls.push(operation);
    const failure = failures.get(operation)?.shift();
    if (failure !== undefined) throw new Refusal(failure, 'told to fail');
    const run = operations[operation];
    if (run === undefined) throw new Refusal('UnknownOperationException', operation);
    const input = JSON.parse(body) as Input;
    for (const member of Object.keys(input))
      if (!members[operation]?.includes(member)) throw new Refusal('SerializationException', `no member ${member}`);
    return run(input);
  }

  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks).toString();
    const target = request.headers['x-amz-target'];
    if (target === undefined) {
      response.setHeader('content-type', 'text/xml');
      response.end(`<GetCallerIdentityResponse><Account>${account}</Account></GetCallerIdentityResponse>`);
      return;
    }
    response.setHeader('content-type', 'application/x-amz-json-1.1');
    try {
      if (!/^AWS4-HMAC-SHA256 /.test(request.headers.authorization ?? ''))
        throw new Refusal('MissingAuthenticationTokenException', '');
      if (!String(request.headers['content-type']).startsWith('application/x-amz-json-1.1'))
        throw new Refusal('UnknownOperationException', 'not JSON 1.1');
      // What has nothing to answer has no body either.
      const answered = answer(String(target), body);
      const at = lost.indexOf(String(target).split('.')[1] ?? '');
      if (at >= 0) {
        lost.splice(at, 1);
        response.destroy();
        return;
      }
      response.end(Object.keys(answered).length === 0 ? '' : JSON.stringify(answered));
    } catch (thrown) {
      const { name, message } = thrown as Error;
      response.statusCode = 400;
      response.end(JSON.stringify({ __type: `com.amazonaws.acm#${name}`, message }));
    }
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));

  const fake: FakeAcm = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    calls,
    quota: Number.POSITIVE_INFINITY,
    importsPerSecond: undefined,
    newHiddenMs: 0,
    lose: (operation) => void lost.push(operation),
    hide: (arn, isHidden) => void (isHidden ? hidden.add(arn) : hidden.delete(arn)),
    use(arn, by) {
      const one = held.get(arn);
      if (one !== undefined) one.inUseBy = by === undefined ? [] : [by];
    },
    fail: (operation, name) => void failures.set(operation, [...(failures.get(operation) ?? []), name]),
    issue({ pem, exportable = false }) {
      made += 1;
      const arn = `${stem}${String(made).padStart(8, '0')}-1111-4000-8000-000000000000`;
      const chain = (pem?.chain.match(/-----BEGIN[\s\S]+?-----END CERTIFICATE-----/g) ?? []).map(readCertificate);
      const leaf = pem && readCertificate(pem.certificate);
      held.set(arn, {
        ...{ arn, createdAt: now() + made / 1_000, type: 'AMAZON_ISSUED', leaf, chain, key: pem?.key ?? '' },
        ...{ importedAt: undefined, exportable, tags: new Map(), inUseBy: [] },
      });
      return arn;
    },
    untag: (arn, key) => void held.get(arn)?.tags.delete(key),
    arns: () => [...held.keys()],
    leaves: () => [...held.values()].flatMap(({ leaf }) => leaf ?? []),
    async close() {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
  return fake;
}
