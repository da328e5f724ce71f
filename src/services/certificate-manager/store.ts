import type { CertificateContent } from '../../certificate/certificate.ts';
import { factsOf } from '../../certificate/facts.ts';
import { apiPartNames, toPem } from '../../certificate/pem.ts';
import { formatBlock } from '../../certificate/pem-blocks.ts';
import { readPublicKeyPem } from '../../certificate/public-key-pem.ts';
import { defined } from '../../defined.ts';
import { asCodedError, CodedError } from '../../errors.ts';
import { type HttpAnswer, type HttpSend, serviceBase } from '../../http/client.ts';
import { looksForeign, looksLikePage, nonsenseError, type ServiceCall } from '../../http/service-failure.ts';
import { certificateCrn, type InstanceCrn, instanceCrn } from '../../ibm-cloud/crn.ts';
import { type ApiKey, isIbms } from '../../ibm-cloud/iam.ts';
import { iamService } from '../../ibm-cloud/iam-service.ts';
import { contentIn, storeCalls } from '../../ibm-cloud/store-calls.ts';
import { limits } from '../../limits.ts';
import type { Runtime } from '../../runtime.ts';
import { cutText, type Mark, readMarkedDescription, writeMarkedDescription } from '../../store/mark.ts';
import type { CertificateMetadata, DescriptiveMetadata, Reading, Store, WriteAnswer } from '../../store/store.ts';
import type { StoreContext } from '../service.ts';
import { readCertificate, readContent, readCursor, readPage, readPublicKey } from './answers.ts';
import { certificateManagerDefaults as defaults } from './defaults.ts';
import { remedies } from './remedies.ts';
import type { CertificateManagerConfig } from './settings.ts';

export interface CertificateManagerOptions {
  /** CRN of the instance: `crn:v1:bluemix:public:cloudcerts:<region>:a/<account>:<guid>::` */
  readonly instance: string;
  readonly apiKey: ApiKey;
  /**
   * Where the API is, without `/api`. Default `https://<region>.certificate-manager.cloud.ibm.com`.
   */
  readonly endpoint?: string;
  /** Where API keys are exchanged for tokens. Default `https://iam.cloud.ibm.com`. */
  readonly iamUrl?: string;
  readonly runtime: Runtime;
  readonly send?: HttpSend;
  /** How long one request may take. Default 30 s. */
  readonly requestTimeoutMs?: number;
  /** The bounds that `abilities` states. Defaults: `certificateManagerDefaults`. */
  readonly settlesMs?: number;
  readonly listingLagMs?: number;
  readonly readSettlesMs?: number;
}

/** How the API of an instance is reached. Throws `configuration_invalid` if an option is wrong. */
export function reached(options: CertificateManagerOptions) {
  const instance = instanceCrn(options.instance);
  const host = options.endpoint ?? `https://${instance.region}.certificate-manager.cloud.ibm.com`;
  const base = `${serviceBase(host, 'endpoint')}/api`;
  return { instance, host, send: iamService({ ...options, base, apiKeySetting: 'stores.<name>.apiKey' }) };
}

/**
 * The service's limits of names and descriptions (its documentation, "Known limits"). Counted in
 * UTF-16 units, which is never too few.
 */
const nameCharacters = 256;
const descriptionCharacters = 1024;
/** A certificate without a name cannot be imported. */
const nameless = 'unnamed';
const pageSize = 200;

/** The store of the configuration. */
export function openStore(config: CertificateManagerConfig, context: StoreContext): Store {
  return certificateManagerStore(optionsOf(config, context));
}

/** What the configuration says of an instance, as options. */
export function optionsOf(
  config: CertificateManagerConfig,
  { runtime, secret }: StoreContext,
): CertificateManagerOptions {
  const { apiKey, iam, instance, endpoint, settlesMs, listingLagMs, readSettlesMs } = config;
  const given = defined({ endpoint, iamUrl: iam, settlesMs, listingLagMs, readSettlesMs });
  return { ...given, instance, apiKey: secret(apiKey), runtime };
}

/**
 * An instance of IBM Cloud Certificate Manager, or of a server that speaks its REST API. A
 * certificate's id is the last segment of its CRN, the mark is the last line of its description.
 * Paths and bodies: IBM-Cloud/bluemix-go, `api/certificatemanager`. Throws `configuration_invalid`
 * if an option is wrong.
 */
export function certificateManagerStore(options: CertificateManagerOptions): Store {
  const { settlesMs, listingLagMs, readSettlesMs } = { ...defaults, ...defined(options) };
  const { instance, host, send } = reached(options);
  const instancePath = encodeURIComponent(instance.crn);
  const pathOf = (id: string) => encodeURIComponent(certificateCrn(instance, id));
  const { reads, writes } = storeCalls({ store: instance.crn, remedies });

  return {
    id: instance.crn,
    kind: 'certificate-manager',
    region: instance.region,
    abilities: {
      givesKeys: true,
      reimportsInPlace: true,
      importIsIdempotent: false,
      uniqueNames: false,
      idsAreReferredTo: false,
      findsMarks: false,
      settlesMs,
      listingLagMs,
      readSettlesMs,
      writesPerCertificatePerMinute: defaults.writesPerCertificatePerMinute,
    },

    async list({ cursor, signal }) {
      const call = reads('list');
      const from = readCursor(cursor);
      if (from === undefined)
        throw new CodedError('store_refused', `list at ${instance.crn}: not a cursor of this store`);
      const query = new URLSearchParams({
        order: 'expires_on',
        page_size: String(pageSize),
        page_number: String(from.page),
      });
      if (from.document !== '') {
        query.set('start_from_document_id', from.document);
        query.set('start_from_orderby_value', from.value);
      }
      const answer = await send(call, { method: 'GET', path: `/v3/${instancePath}/certificates?${query}`, signal });
      const page = readPage(instance, answer.text, from);
      if (page === undefined)
        throw nonsenseError(call, answer, 'something that is no page of certificates of this instance');
      return page;
    },

    readMetadata(id, { signal } = {}) {
      const call = reads('read metadata', id);
      return reading(async () => {
        const answer = await send(call, { method: 'GET', path: `/v1/certificate/${pathOf(id)}/metadata`, signal });
        return ownCertificate(instance, call, answer);
      });
    },

    read(id, { signal } = {}) {
      const call = reads('read', id);
      return reading(async () => {
        const answer = await send(call, { method: 'GET', path: `/v2/certificate/${pathOf(id)}`, signal });
        return {
          metadata: ownCertificate(instance, call, answer),
          content: contentIn(call, readContent(answer.text), apiPartNames),
        };
      });
    },

    async import({ content, metadata, mark }, { signal } = {}) {
      const call = { ...writes('import'), givesContent: true };
      const { certificate, intermediate, privateKey } = toPem(content);
      const body = () => ({
        ...described(metadata, mark),
        data: {
          content: certificate,
          ...(intermediate && { intermediate }),
          ...(privateKey && { priv_key: privateKey.reveal() }),
        },
      });
      const answer = await send(call, {
        method: 'POST',
        path: `/v3/${instancePath}/certificates/import`,
        body,
        signal,
      });
      const imported = readCertificate(instance, answer.text);
      if (imported === undefined)
        throw nonsenseError(call, answer, 'something that is no certificate of this instance');
      return { id: imported.id, metadata: imported };
    },

    async reimport(id, content, { signal } = {}) {
      const call = { ...writes('reimport', id), givesContent: true };
      const { certificate, intermediate, privateKey } = toPem(content);
      const body = () => ({
        content: certificate,
        ...(intermediate && { intermediate }),
        ...(privateKey && { priv_key: privateKey.reveal() }),
      });
      const answer = await send(call, { method: 'PUT', path: `/v1/certificate/${pathOf(id)}`, body, signal });
      if (looksForeign(answer)) throw nonsenseError(call, answer, 'something that is no certificate');
      return writeAnswer(instance, call, id, answer);
    },

    async updateMetadata(id, metadata, mark, { signal } = {}) {
      const call = writes('update metadata', id);
      const body = () => described(metadata, mark);
      const answer = await send(call, { method: 'POST', path: `/v3/certificate/${pathOf(id)}`, body, signal });
      // What the service answers here is not documented, and IBM's clients pass over it.
      if (looksLikePage(answer)) throw nonsenseError(call, answer, 'a page');
      return writeAnswer(instance, call, id, answer);
    },

    async delete(id, { signal } = {}) {
      const call = writes('delete', id);
      try {
        const answer = await send(call, { method: 'DELETE', path: `/v2/certificate/${pathOf(id)}`, signal });
        if (looksLikePage(answer)) throw nonsenseError(call, answer, 'a page');
      } catch (thrown) {
        if (asCodedError(thrown).code !== 'store_gone') throw thrown;
      }
    },

    asKept(metadata, mark) {
      const { name, description } = described(metadata, mark);
      return { name, description: readMarkedDescription(description).description, tags: [] };
    },

    ...(isIbms(host) && { refuses: (content: CertificateContent) => ibmRefusal(instance, content) }),

    async notificationKey({ signal } = {}) {
      const call = reads('notification key');
      const path = `/v1/instances/${instancePath}/notifications/publicKey?keyFormat=pem`;
      const answer = await send(call, { method: 'GET', path, signal, anonymous: true });
      const pem = canonicalPublicKey(readPublicKey(answer.text));
      if (pem === undefined) throw nonsenseError(call, answer, 'something that is no public key');
      return pem;
    },
  };
}

/**
 * What IBM's own service does not take, whatever its answer would be: keys other than RSA, DSA,
 * ECDSA and ECDH (its documentation of imports, "Known limits"). What else it refuses, and how
 * large content may be, is not documented. A server of somebody else that speaks this API takes
 * what it takes.
 */
function ibmRefusal(instance: InstanceCrn, content: CertificateContent): CodedError | undefined {
  const { keyAlgorithm } = factsOf(content);
  if (!/^ED(?:25519|448)\b/.test(keyAlgorithm)) return undefined;
  const fields = { store: instance.crn, keyAlgorithm };
  const message = `Certificate Manager takes keys of RSA, DSA and elliptic curves, and not ${keyAlgorithm}`;
  return new CodedError('store_content_refused', message, { fields });
}

/** Name and description as they are sent: within the service's limits, the mark inside. */
function described(metadata: DescriptiveMetadata, mark: Mark | undefined): { name: string; description: string } {
  // Half a surrogate pair has no UTF-8: it would come back as another character than it went.
  const name = cutText(metadata.name.toWellFormed(), nameCharacters);
  return {
    name: name === '' ? nameless : name,
    description: writeMarkedDescription(metadata.description.toWellFormed(), mark, descriptionCharacters),
  };
}

/**
 * The three answers of a read. What is not an answer of the service, but a fault of ours, is
 * thrown.
 */
async function reading<T>(read: () => Promise<T>): Promise<Reading<T>> {
  try {
    return { state: 'present', value: await read() };
  } catch (thrown) {
    if (!(thrown instanceof CodedError)) throw thrown;
    return thrown.code === 'store_gone' ? { state: 'absent' } : { state: 'unreadable', error: thrown };
  }
}

/** The certificate in an answer, which must be the one that was asked for. */
function ownCertificate(instance: InstanceCrn, call: ServiceCall, answer: HttpAnswer): CertificateMetadata {
  const metadata = readCertificate(instance, answer.text);
  if (metadata === undefined || metadata.id !== call.certificate)
    throw nonsenseError(call, answer, 'something that is not this certificate');
  return metadata;
}

/**
 * What a write answered, if it was the certificate; an answer about another certificate cannot be
 * understood.
 */
function writeAnswer(instance: InstanceCrn, call: ServiceCall, id: string, answer: HttpAnswer): WriteAnswer {
  const metadata = readCertificate(instance, answer.text);
  if (metadata === undefined) return { id };
  if (metadata.id !== id) throw nonsenseError(call, answer, 'another certificate');
  return { id, metadata };
}

/**
 * A PEM public key as Node writes it; `undefined` for anything that no notification could be
 * verified with: a private key, a certificate, a key that is not RSA or too short. It would take
 * the place of a good one.
 */
function canonicalPublicKey(pem: string | undefined): string | undefined {
  if (pem === undefined || !/^\s*-----BEGIN PUBLIC KEY-----/.test(pem)) return undefined;
  try {
    const { kind, bits = 0, der } = readPublicKeyPem(pem);
    return kind === 'rsa' && bits >= limits.verificationKeyBits ? formatBlock('PUBLIC KEY', der) : undefined;
  } catch {
    return undefined;
  }
}
