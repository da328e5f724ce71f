import { limits } from '../../limits.ts';
import { descriptionCharacters, nameCharacters } from '../certificates/certificate-row.ts';
import { invalid, memberOf, objectOf, optionalBoolean, optionalText, requiredText } from '../rows/fields.ts';
import type { KeyKind } from './authority/development-keys.ts';

/** What somebody orders. */
export interface OrderRequest {
  readonly name: string;
  readonly description: string;
  /** In lower case, each once; the first is the common name. */
  readonly domains: readonly string[];
  /** As certificates name it, and `keyKinds` knows it. */
  readonly keyAlgorithm: string;
  readonly autoRenew: boolean;
}

/**
 * The keys that are made here, by the names that Certificate Manager's API gives them (and OpenSSL,
 * which it takes them from).
 */
const keyKinds: ReadonlyMap<string, KeyKind> = new Map([
  ['rsaEncryption 2048 bit', 'rsa-2048'],
  ['rsaEncryption 4096 bit', 'rsa-4096'],
  ['id-ecPublicKey 256 bit', 'p-256'],
  ['id-ecPublicKey 384 bit', 'p-384'],
]);
const keyAlgorithms = [...keyKinds.keys()];
const [defaultKeyAlgorithm = ''] = keyAlgorithms;

/** The same, as people type them: `p-256` and so on, the default first. */
export const orderedKeys: ReadonlyMap<string, string> = new Map([...keyKinds].map(([name, kind]) => [kind, name]));

/**
 * The kind of a new key in place of one of this algorithm: the same, or the default where none such
 * is made here.
 */
export function keyKindOf(keyAlgorithm: string): KeyKind {
  return keyKinds.get(keyAlgorithm) ?? 'rsa-2048';
}

/**
 * Letters, digits and hyphens (RFC 1123); other alphabets in their ASCII form. A wildcard stands
 * for the first label alone.
 */
const domainPattern = /^(?:\*\.)?(?:[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
const domainCharacters = 253;

/**
 * The body of an order:
 * `{name, description?, domains, domain_validation_method, key_algorithm?,
 * auto_renew_enabled?, ...}`.
 * Which authority issues, and how it signs, is not the caller's to say: `issuer` and `algorithm`
 * are passed over. Throws `instance_request_invalid`.
 */
export function parseOrder(body: unknown, options: { readonly hasHook: boolean }): OrderRequest {
  const fields = objectOf(body);
  const name = requiredText(fields, 'name', nameCharacters);
  const description = optionalText(fields, 'description', descriptionCharacters) ?? '';
  const domains = domainsIn(memberOf(fields, 'domains'));
  const method = requiredText(fields, 'domain_validation_method', 64);
  if (method !== 'dns-01') throw invalid('domain_validation_method can only be dns-01');
  const provider = optionalText(fields, 'dns_provider_instance_crn', limits.crnCharacters) ?? '';
  if (provider !== '' && !options.hasHook) {
    throw invalid('dns_provider_instance_crn names a DNS provider, and this server has no DNS hook to stand in for it');
  }
  const keyAlgorithm = optionalText(fields, 'key_algorithm', 64) ?? defaultKeyAlgorithm;
  if (!keyKinds.has(keyAlgorithm)) throw invalid(`key_algorithm is none of ${keyAlgorithms.join(', ')}`);
  return {
    name,
    description,
    domains,
    keyAlgorithm,
    autoRenew: optionalBoolean(fields, 'auto_renew_enabled') ?? false,
  };
}

function domainsIn(value: unknown): readonly string[] {
  if (!Array.isArray(value) || value.length === 0) throw invalid('domains is not a list of one domain or more');
  if (value.length > limits.orderedDomains) throw invalid(`domains has more than ${limits.orderedDomains} entries`);
  const domains = value.map((domain: unknown) => {
    const text = typeof domain === 'string' ? domain.toLowerCase() : '';
    if (text.length > domainCharacters || !domainPattern.test(text) || isAddress(text)) {
      throw invalid(`domains: ${JSON.stringify(domain)?.slice(0, 300)} is not the name of a domain, or *. and one`);
    }
    return text;
  });
  const [first = ''] = domains;
  if (first.length > limits.commonNameCharacters) {
    throw invalid(
      `the first domain becomes the common name, and has more than ${limits.commonNameCharacters} characters`,
    );
  }
  const unique = new Set(domains);
  if (unique.size < domains.length) throw invalid('domains names one twice');
  const covered = domains.find(
    (domain) => unique.has(`*.${domain.split('.').slice(1).join('.')}`) && domain[0] !== '*',
  );
  if (covered !== undefined) throw invalid(`domains: ${covered} is covered by the wildcard beside it`);
  return domains;
}

/** Four numbers are an address, which no record in DNS proves. */
function isAddress(text: string): boolean {
  return /^[\d.]+$/.test(text);
}
