import * as z from 'zod/mini';
import type { CertificatePem } from '../../certificate/certificate.ts';
import { defined } from '../../defined.ts';
import { parseJson } from '../../http/service-failure.ts';
import { certificateTypes, secretId } from '../../ibm-cloud/secrets.ts';
import { otherwise } from '../../lenient.ts';
import { limits } from '../../limits.ts';
import { Secret } from '../../secret.ts';
import type { CertificateMetadata } from '../../store/store.ts';
import { isOwnLabel, ownMember, readDescribed } from './names.ts';

// What Secrets Manager answers, read leniently: only what nothing can be done without is demanded;
// a member that is missing or of another type is as if the service had not said it.

const text = otherwise(z.optional(z.string()), undefined);
const texts = otherwise(z.array(z.string()), []);
const number = otherwise(z.optional(z.number()), undefined);
const validity = otherwise(z.object({ not_before: text, not_after: text }), {
  not_before: undefined,
  not_after: undefined,
});

const secretSchema = z.object({
  id: z.string().check(z.regex(secretId)),
  secret_type: z.string(),
  secret_group_id: text,
  name: text,
  description: text,
  labels: texts,
  custom_metadata: otherwise(z.optional(z.record(z.string(), z.unknown())), undefined),
  state: number,
  state_description: text,
  updated_at: text,
  created_at: text,
  versions_total: number,
  common_name: text,
  alt_names: texts,
  issuer: text,
  serial_number: text,
  validity,
  expiration_date: text,
});
export type SecretObject = z.infer<typeof secretSchema> & {
  /** What its group is called, where that is told. */
  readonly group?: string | undefined;
};

const dataSchema = z.object({
  certificate: text,
  intermediate: text,
  issuing_ca: text,
  ca_chain: texts,
  private_key: text,
  managed_csr: otherwise(z.optional(z.object({ private_key: text })), undefined),
});

const pageSchema = z.object({
  secrets: z.array(z.unknown()),
  total_count: number,
  next: otherwise(z.optional(z.object({ href: z.string() })), undefined),
});

/** A secret that holds a certificate; `undefined` if the body is none. */
export function readSecret(body: string): SecretObject | undefined {
  return secretIn(parseJson(body));
}

export function secretIn(value: unknown): SecretObject | undefined {
  const { data } = z.safeParse(secretSchema, value);
  if (data === undefined || !certificateTypes.has(data.secret_type)) return undefined;
  return { ...data, id: data.id.toLowerCase() };
}

/** The elements of a page as they came; `undefined` if the body is none. */
export function readSecretPage(body: string) {
  const { data } = z.safeParse(pageSchema, parseJson(body));
  return data && { elements: data.secrets, isLast: data.next === undefined };
}

/** What a body holds of a certificate; `undefined` without one. */
export function readPem(body: string): CertificatePem | undefined {
  const { data } = z.safeParse(dataSchema, parseJson(body));
  const certificate = data?.certificate ?? '';
  if (data === undefined || certificate.trim() === '') return undefined;
  const { private_key = '', intermediate = '', issuing_ca = '', ca_chain } = data;
  // A bundle holds the chain already, and may hold the key: what is there twice counts once.
  const chain = [intermediate, issuing_ca, ...ca_chain].filter((pem) => pem.trim() !== '');
  return {
    certificate: private_key.trim() === '' ? certificate : withoutKeys(certificate),
    ...(chain.length > 0 && { intermediate: chain.join('\n') }),
    ...(private_key.trim() !== '' && { privateKey: new Secret(private_key) }),
  };
}

/**
 * The key of the signing request that the service has made, where the certificate came without a
 * key of its own. It may as well be that of a newer request, whose certificate is still to come.
 */
export function readRequestKey(body: string): Secret | undefined {
  const { data } = z.safeParse(dataSchema, parseJson(body));
  const key = data?.managed_csr?.private_key ?? '';
  return key.trim() === '' || (data?.private_key ?? '').trim() !== '' ? undefined : new Secret(key);
}

function withoutKeys(pem: string): string {
  if (pem.length > limits.pemBytes) return pem;
  return pem.replace(/-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----[^-]*-----END [A-Z ]{0,20}PRIVATE KEY-----/g, '');
}

/** What of its custom metadata is ours. */
const ownIn = ({ custom_metadata: custom = {} }: SecretObject): unknown =>
  Object.hasOwn(custom, ownMember) ? custom[ownMember] : undefined;

/** Metadata of a secret, as every store has it; `carryGroups`: its group is a tag. */
export function metadataOf(secret: SecretObject, carryGroups = false): CertificateMetadata {
  const { labels, group, validity: valid } = secret;
  const own = ownIn(secret);
  const said = { name: secret.name ?? '', description: secret.description ?? '', labels, own, group };
  const serial = serialOf(secret.serial_number);
  return {
    id: secret.id,
    ...readDescribed(said, carryGroups),
    domains: [...new Set([...(secret.common_name === undefined ? [] : [secret.common_name]), ...secret.alt_names])],
    ...defined({
      issuer: secret.issuer,
      serial,
      notBefore: moment(valid.not_before),
      notAfter: moment(valid.not_after) ?? moment(secret.expiration_date),
      status: secret.state_description,
      revision: revisionOf(secret),
      lastModified: moment(secret.updated_at),
    }),
  };
}

/**
 * Never what reading changes. Whether that moves `updated_at` too, nobody says: a moved revision is
 * only a reason to look.
 */
function revisionOf({ updated_at = '', versions_total, serial_number = '', group }: SecretObject): string | undefined {
  const revision = `${updated_at}/${versions_total ?? ''}/${serial_number}`;
  if (revision === '//') return undefined;
  // Another name of its group moves nothing of the secret.
  return group === undefined ? revision : `${revision}/${group}`;
}

/** Whether a label says that it is a copy of ours. */
export const isLabelled = ({ labels }: SecretObject): boolean => labels.some(isOwnLabel);

const moment = (written: string | undefined): number | undefined => {
  const at = Date.parse(written ?? '');
  return Number.isNaN(at) ? undefined : at;
};

/**
 * A serial number as hex, which the service writes with colons. Digits alone could as well be
 * decimal, and are left unsaid.
 */
function serialOf(written: string | undefined): string | undefined {
  const hex = written?.toLowerCase().replace(/[\s:-]/g, '') ?? '';
  if (!/^[0-9a-f]+$/.test(hex) || /^\d{3,}$/.test(written ?? '')) return undefined;
  return hex.padStart(hex.length + (hex.length % 2), '0').replace(/^(?:00)+(?=.)/, '');
}
