import { generateKeyPairSync, type KeyObject, sign as rsaSign } from 'node:crypto';

/** The instance that the fixtures speak of, in the shape of Certificate Manager's CRNs. */
export const instanceCrn =
  'crn:v1:bluemix:public:cloudcerts:eu-de:a/00000000000000000000000000000001:11111111-2222-3333-4444-555555555555::';

/** Another instance of the same account. */
export const otherInstanceCrn =
  'crn:v1:bluemix:public:cloudcerts:eu-de:a/00000000000000000000000000000001:99999999-2222-3333-4444-555555555555::';

/** The id of the `n`-th certificate of the fixtures: 32 hex characters. */
export function certificateId(n = 1): string {
  return n.toString(16).padStart(32, 'a');
}

/** The CRN of a certificate of an instance: as the documentation builds it. */
export function certificateCrn(id = certificateId(), instance = instanceCrn): string {
  return `${instance.slice(0, -1)}certificate:${id}`;
}

/** Signs notifications as an instance of Certificate Manager does. */
export interface Signer {
  readonly publicKeyPem: string;
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
  /**
   * A compact JWS (RS256). Payload and header: text and bytes are taken as they are, anything else
   * as JSON. Whatever the header says, the signature is RSASSA-PKCS1-v1_5 with SHA-256.
   */
  sign(payload: unknown, header?: unknown): string;
  /** The body of a notification: `{"data":"<token>"}`. */
  body(payload: unknown, header?: unknown): Buffer;
}

/** A signer with a fresh RSA key. */
export function makeSigner(options: { readonly modulusLength?: number } = {}): Signer {
  const { publicKey, privateKey } = generateKeyPairSync('rsa', { modulusLength: options.modulusLength ?? 2048 });
  const sign: Signer['sign'] = (payload, header = { alg: 'RS256' }) => {
    const input = `${base64url(header)}.${base64url(payload)}`;
    return `${input}.${rsaSign('RSA-SHA256', Buffer.from(input), privateKey).toString('base64url')}`;
  };
  return {
    publicKeyPem: publicKey.export({ type: 'spki', format: 'pem' }).toString(),
    publicKey,
    privateKey,
    sign,
    body: (payload, header) => bodyOf(sign(payload, header)),
  };
}

/** Text and bytes as they are, anything else as JSON, in base64url. */
export function base64url(part: unknown): string {
  const raw = typeof part === 'string' || part instanceof Uint8Array ? part : JSON.stringify(part);
  return Buffer.from(raw as string).toString('base64url');
}

/** The body around a token: `{"data":"<token>"}`. */
export function bodyOf(token: string): Buffer {
  return Buffer.from(JSON.stringify({ data: token }));
}

/** What a fixture may be told. Ids are certificate ids (the last segment of the CRN). */
interface PayloadOptions {
  readonly instance?: string;
  readonly type?: string;
  readonly ids?: readonly string[];
  readonly name?: string;
}

const expiresOn = 1_707_776_000_000;
const expiryDate = 1_707_696_000_000;

function frame(instance: string): { instance_crn: string; certificate_manager_url: string } {
  return {
    instance_crn: instance,
    certificate_manager_url: `https://cloud.ibm.com/services/cloudcerts/${encodeURIComponent(instance)}`,
  };
}

function items(options: PayloadOptions, extra: Record<string, unknown> = {}): Record<string, unknown>[] {
  const { instance = instanceCrn, ids = [certificateId()], name = 'shop' } = options;
  return ids.map((id) => ({
    cert_crn: certificateCrn(id, instance),
    domains: 'shop.example.test,www.shop.example.test',
    ...extra,
    name,
  }));
}

/** Version 1: only expiry, no `event_type`, the list has another name. */
export function payloadV1(options: PayloadOptions = {}): Record<string, unknown> {
  return {
    ...frame(options.instance ?? instanceCrn),
    expiry_date: expiryDate,
    expiring_certificates: items(options),
    version: 1,
  };
}

/** The earliest beta of version 1: no `version`, and items without a name. */
export function payloadBeta(options: PayloadOptions = {}): Record<string, unknown> {
  return {
    ...frame(options.instance ?? instanceCrn),
    expiry_date: expiryDate,
    expiring_certificates: items(options).map(({ name: _, ...item }) => item),
  };
}

/** Version 2: `event_type` and `certificates`. */
export function payloadV2(options: PayloadOptions = {}): Record<string, unknown> {
  return {
    ...frame(options.instance ?? instanceCrn),
    event_type: options.type ?? 'cert_reimported',
    expiry_date: expiryDate,
    certificates: items(options),
    version: 2,
  };
}

/** Version 3: items say when they expire. */
export function payloadV3(options: PayloadOptions = {}): Record<string, unknown> {
  return {
    ...frame(options.instance ?? instanceCrn),
    event_type: options.type ?? 'cert_reimported',
    certificates: items(options, { expires_on: expiresOn }),
    version: 3,
  };
}

/** Version 4: ordered certificates too. */
export function payloadV4(options: PayloadOptions = {}): Record<string, unknown> {
  return {
    ...frame(options.instance ?? instanceCrn),
    event_type: options.type ?? 'cert_reimported',
    certificates: items(options, { expires_on: expiresOn }),
    version: 4,
    latestVersion: 4,
  };
}

/** The test event: version 4, a made-up certificate, and the expiry as ISO text. */
export function payloadTest(options: PayloadOptions = {}): Record<string, unknown> {
  const ids = ['12345678-9012-3456-7890-123456789012'];
  return {
    ...frame(options.instance ?? instanceCrn),
    event_type: 'test_notification_channel',
    certificates: items({ ids, ...options, name: 'certificate name' }, { expires_on: '2024-02-12T22:13:20.000Z' }),
    version: 4,
    latestVersion: 4,
  };
}

/**
 * Domain validation: another shape, with one `certificateCRN`; an early version 4 carried the
 * orderer's access token.
 */
export function payloadDomainValidation(
  options: PayloadOptions & { readonly userToken?: string } = {},
): Record<string, unknown> {
  const { instance = instanceCrn, ids: [id] = [certificateId()], userToken } = options;
  return {
    ...frame(instance),
    event_type: options.type ?? 'cert_domain_validation_required',
    certificateCRN: certificateCrn(id, instance),
    domain_validation_method: 'dns-01',
    domain: 'shop.example.test',
    challenge: { txt_record_name: '_acme-challenge', txt_record_val: 'made-up-value' },
    ...(userToken === undefined ? {} : { userToken }),
    version: 4,
    latestVersion: 4,
  };
}

/** Version 5, our own: an id and a time of the event; imports and deletions too. */
export function payloadV5(
  options: PayloadOptions & { readonly eventId?: string; readonly eventTime?: number } = {},
): Record<string, unknown> {
  return {
    ...frame(options.instance ?? instanceCrn),
    event_id: options.eventId ?? '0b8f4a52-7d3e-4c1a-9f60-2a1b3c4d5e6f',
    event_time: options.eventTime ?? 1_767_323_045_000,
    event_type: options.type ?? 'cert_imported',
    certificates: items(options, { expires_on: expiresOn }),
    version: 5,
    latestVersion: 5,
  };
}

/**
 * Bodies that say the same as `{"data":"<token>"}` to some parser, each spelled in another way.
 * Every one of them must be refused.
 */
export function respellings(token: string): { readonly name: string; readonly body: string }[] {
  const [header = '', payload = '', signature = ''] = token.split('.');
  const data = (text: string): string => `{"data":"${text}"}`;
  const lastSymbol = signature.at(-1) ?? '';
  const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_';
  const strayBits = alphabet[alphabet.indexOf(lastSymbol) + 1] ?? '';
  return [
    { name: 'padding on the signature', body: data(`${token}==`) },
    { name: 'padding on the header', body: data(`${header}=.${payload}.${signature}`) },
    { name: 'stray trailing bits', body: data(`${token.slice(0, -1)}${strayBits}`) },
    { name: 'a space before', body: data(` ${token}`) },
    { name: 'a space after', body: data(`${token} `) },
    { name: 'a space inside', body: data(`${header}. ${payload}.${signature}`) },
    { name: 'an escaped line break inside', body: data(`${header}.${payload}\\n.${signature}`) },
    { name: 'the alphabet that is not for URLs', body: data(token.replaceAll('-', '+').replaceAll('_', '/')) },
    { name: 'an escaped letter', body: data(token.replace('e', '\\u0065')) },
    { name: 'an escaped dot', body: data(token.replace('.', '\\u002e')) },
    { name: 'a wide letter with the same low byte', body: data(token.replace('e', '\u0165')) },
    { name: 'a NUL after', body: data(`${token}\\u0000`) },
    { name: 'a fourth, empty part', body: data(`${token}.`) },
    { name: 'a Bearer prefix', body: data(`Bearer ${token}`) },
    { name: 'a byte order mark', body: `\uFEFF${data(token)}` },
    { name: 'in an array', body: `{"data":["${token}"]}` },
    { name: 'two members data', body: `{"data":"${token}","data":"${token}"}` },
    { name: 'two members data, one name escaped', body: `{"d\\u0061ta":"x","data":"${token}"}` },
  ];
}
