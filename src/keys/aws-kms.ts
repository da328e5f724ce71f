import {
  DecryptCommand,
  EncryptCommand,
  KMSClient,
  type KMSClientConfig,
  KMSServiceException,
} from '@aws-sdk/client-kms';
import { type AwsCredentials, revealed } from '../aws/credentials.ts';
import { awsRemedies } from '../aws/remedies.ts';
import { CodedError, type ErrorCode } from '../errors.ts';
import { serviceBase } from '../http/client.ts';
import type { RemediesByReason } from '../remedies-by-cause.ts';
import type { KeyContext, RootKey } from './root-key.ts';

const gone =
  'The root key is not there any more, or is about to be deleted. Restore it before its data is lost for good.';
const remedies: RemediesByReason = {
  ...awsRemedies,
  NotFoundException: gone,
  KMSInvalidStateException: gone,
  DisabledException: 'The root key is switched off, expired or not active. Enable it at its service.',
  InvalidKeyUsageException: 'That key is not for encryption. Name a symmetric key for encryption and decryption.',
  AccessDeniedException: 'These credentials may not use the root key: they need kms:Encrypt and kms:Decrypt on it.',
};

export interface AwsKmsOptions {
  /** `arn:aws:kms:<region>:<account>:key/<id>`. No alias: that may lead to another key tomorrow. */
  readonly keyArn: string;
  /** Where the service answers, if it is not the region's own. https, or http on this machine. */
  readonly endpoint?: string;
  /** Absent: whatever the platform gives (environment, role, profile), by the SDK's own chain. */
  readonly credentials?: AwsCredentials;
  /** Milliseconds for a connection, default 1,000. */
  readonly connectTimeoutMs?: number;
  /**
   * Milliseconds for one attempt until its answer, default 3,000. There are three attempts, with
   * pauses of at most 1 s between.
   */
  readonly answerTimeoutMs?: number;
}

const arns = /^arn:aws[a-z-]*:kms:([a-z0-9-]+):\d{12}:key\/[\w-]+$/;
/** KMS takes no longer ciphertext (API reference, Decrypt). */
const ciphertextBytes = 6144;
const attempts = 3;

/**
 * What each answer of KMS means (API reference, common errors, and those of Encrypt and Decrypt).
 * Any other goes by its status.
 */
const answers: Readonly<Record<string, ErrorCode>> = {
  AccessDeniedException: 'keys_refused',
  DisabledException: 'keys_refused',
  NotFoundException: 'keys_refused',
  KMSInvalidStateException: 'keys_refused',
  InvalidKeyUsageException: 'keys_refused',
  // Wrong context, damaged, or of another key.
  InvalidCiphertextException: 'keys_unreadable',
  IncorrectKeyException: 'keys_unreadable',
  ThrottlingException: 'keys_unavailable',
  LimitExceededException: 'keys_unavailable',
  RequestLimitExceeded: 'keys_unavailable',
  TooManyRequestsException: 'keys_unavailable',
  DependencyTimeoutException: 'keys_unavailable',
  KeyUnavailableException: 'keys_unavailable',
  KMSInternalException: 'keys_unavailable',
};

/**
 * A symmetric key of AWS KMS. The context is the encryption context, so it stands in CloudTrail
 * too; `Decrypt` names the key, so that a ciphertext made under another one is refused. It takes
 * the rights `kms:Encrypt` and `kms:Decrypt`, nothing else. A rotated key opens what its older
 * versions wrapped, so nothing is ever renewed. Throws `configuration_invalid` if an option is
 * wrong.
 */
export function awsKmsRootKey(options: AwsKmsOptions): RootKey {
  const { keyArn } = options;
  const [, region] = arns.exec(keyArn) ?? [];
  if (region === undefined)
    throw new CodedError('configuration_invalid', `root key: "${keyArn}" is not the ARN of a KMS key, with its id`, {
      fields: { keyArn },
    });
  const client = new KMSClient(clientConfig(options, region));

  async function ask<Answer extends { KeyId?: string | undefined }>(
    operation: string,
    call: () => Promise<Answer>,
  ): Promise<Answer> {
    const answer = await call().catch((thrown: unknown) => {
      throw kmsError(operation, keyArn, thrown);
    });
    if (answer.KeyId === keyArn) return answer;
    throw nonsense(operation, keyArn, 'an answer about another key');
  }

  return {
    id: `aws-kms:${keyArn}`,

    async wrap(dataKey, context) {
      const command = new EncryptCommand({ KeyId: keyArn, Plaintext: dataKey, EncryptionContext: { ...context } });
      const { CiphertextBlob } = await ask('encrypt', () => client.send(command));
      if (!CiphertextBlob?.length) throw nonsense('encrypt', keyArn, 'no ciphertext');
      return Buffer.from(CiphertextBlob).toString('base64');
    },

    async unwrap(wrapped, context: KeyContext) {
      const CiphertextBlob = ciphertextOf(wrapped, keyArn);
      const command = new DecryptCommand({ KeyId: keyArn, CiphertextBlob, EncryptionContext: { ...context } });
      const { Plaintext } = await ask('decrypt', () => client.send(command));
      if (!Plaintext?.length) throw nonsense('decrypt', keyArn, 'no plaintext');
      const dataKey = Uint8Array.from(Plaintext);
      Plaintext.fill(0);
      return { dataKey };
    },

    async close() {
      client.destroy();
    },
  };
}

function clientConfig(options: AwsKmsOptions, region: string): KMSClientConfig {
  const { endpoint, credentials, connectTimeoutMs = 1000, answerTimeoutMs = 3000 } = options;
  return {
    region,
    maxAttempts: attempts,
    retryMode: 'standard',
    requestHandler: {
      connectionTimeout: connectTimeoutMs,
      requestTimeout: answerTimeoutMs,
      throwOnRequestTimeout: true,
      socketTimeout: answerTimeoutMs,
    },
    ...(endpoint !== undefined && { endpoint: serviceBase(endpoint, 'endpoint of the root key') }),
    ...(credentials && { credentials: async () => revealed(credentials) }),
  };
}

function ciphertextOf(wrapped: string, keyArn: string): Uint8Array {
  const bytes = Buffer.from(wrapped, 'base64');
  if (bytes.length > 0 && bytes.length <= ciphertextBytes && bytes.toString('base64') === wrapped) return bytes;
  throw new CodedError('keys_unreadable', `asking KMS to decrypt with ${keyArn}: this is no text that KMS wrapped`, {
    fields: { rootKey: keyArn },
  });
}

function kmsError(operation: string, keyArn: string, thrown: unknown): CodedError {
  const name = thrown instanceof Error ? thrown.name : undefined;
  const status = thrown instanceof KMSServiceException ? thrown.$metadata.httpStatusCode : undefined;
  const code = answers[name ?? ''] ?? byStatus(status);
  const found = status === undefined ? `it was not reached (${name})` : `it answered ${status} ${name}`;
  return new CodedError(code, `asking KMS to ${operation} with ${keyArn}: ${found}`, {
    cause: bare(thrown),
    fields: { rootKey: keyArn, serviceCode: name, status },
    remedies,
  });
}

/** A request that KMS finds fault with was refused; all else is no word about the key. */
function byStatus(status: number | undefined): ErrorCode {
  return status !== undefined && status >= 400 && status < 500 && status !== 408 && status !== 429
    ? 'keys_refused'
    : 'keys_unavailable';
}

function nonsense(operation: string, keyArn: string, found: string): CodedError {
  return new CodedError('keys_unavailable', `asking KMS to ${operation} with ${keyArn}: ${found} came back`, {
    fields: { rootKey: keyArn },
  });
}

/**
 * The SDK hangs the whole request on its errors, data key and session token included: that must not
 * reach a log.
 */
function bare(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return undefined;
  const { name, message, stack } = thrown;
  const code: unknown = 'code' in thrown ? thrown.code : undefined;
  return Object.assign(new Error(message), { name, stack }, typeof code === 'string' ? { code } : {});
}
