import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { asCodedError, type ErrorCode } from '../../src/errors.ts';
import { type AwsKmsOptions, awsKmsRootKey } from '../../src/keys/aws-kms.ts';
import { Secret } from '../../src/secret.ts';
import { type ScriptedServer, type Step, startScriptedServer } from '../store/scripted-server.ts';

const keyArn = 'arn:aws:kms:eu-central-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab';
const context = { tenant: 'crn:v1:one', dataKey: '1-9f3c02ab' };
const wrapped = Buffer.from('a ciphertext').toString('base64');
const dataKey = Buffer.alloc(32, 7);

let server: ScriptedServer;
beforeEach(async () => {
  server = await startScriptedServer();
});
afterEach(() => server.close());

const rootKey = (given: Partial<AwsKmsOptions> = {}) =>
  awsKmsRootKey({
    keyArn,
    endpoint: server.url,
    credentials: {
      accessKeyId: 'AKID',
      secretAccessKey: new Secret('the-secret'),
      sessionToken: new Secret('the-session'),
    },
    ...given,
  });
const errorOf = async (work: Promise<unknown>) => asCodedError(await work.catch((thrown: unknown) => thrown));
const saying = (status: number, type: string): Step => ({
  status,
  headers: { 'content-type': 'application/x-amz-json-1.1' },
  body: { __type: type, message: 'words of the service' },
});
const answering = (body: object): Step => ({ headers: { 'content-type': 'application/x-amz-json-1.1' }, body });

describe('AWS KMS', () => {
  it('is asked with the key and the context pinned, for both directions', async () => {
    const CiphertextBlob = wrapped;
    server.answers(answering({ KeyId: keyArn, CiphertextBlob }));
    expect(await rootKey().wrap(dataKey, context)).toBe(wrapped);
    server.answers(answering({ KeyId: keyArn, Plaintext: dataKey.toString('base64') }));
    const opened = await rootKey().unwrap(wrapped, context);
    expect(opened).toEqual({ dataKey: new Uint8Array(32).fill(7) });
    expect(opened.dataKey.buffer.byteLength).toBe(32);
    expect(server.requests.map(({ headers, body }) => [headers['x-amz-target'], JSON.parse(body)])).toEqual([
      ['TrentService.Encrypt', { KeyId: keyArn, Plaintext: dataKey.toString('base64'), EncryptionContext: context }],
      ['TrentService.Decrypt', { KeyId: keyArn, CiphertextBlob, EncryptionContext: context }],
    ]);
    expect(server.requests[0]?.headers.authorization).toMatch(/\/eu-central-1\/kms\/aws4_request/);
  });

  it('has the id of the key as its id', () => {
    expect(rootKey().id).toBe(`aws-kms:${keyArn}`);
  });

  it.each([
    'alias/certstandby',
    'arn:aws:kms:eu-central-1:123456789012:alias/certstandby',
    '1234abcd-12ab-34cd-56ef-1234567890ab',
    'arn:aws:s3:::bucket',
    `${keyArn} `,
  ])('takes no key by another name: %s', (name) => {
    expect(() => rootKey({ keyArn: name })).toThrow(expect.objectContaining({ code: 'configuration_invalid' }));
  });

  it.each([
    'arn:aws:kms:us-east-1:123456789012:key/mrk-1234abcd12ab34cd56ef1234567890ab',
    'arn:aws-us-gov:kms:us-gov-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab',
    'arn:aws-cn:kms:cn-north-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab',
  ])('takes %s', (name) => {
    expect(rootKey({ keyArn: name }).id).toBe(`aws-kms:${name}`);
  });

  it('is not asked over plain http on another machine', () => {
    expect(() => rootKey({ endpoint: 'http://kms.example.com' })).toThrow(
      expect.objectContaining({ code: 'configuration_invalid' }),
    );
  });
});

describe('an answer of AWS KMS', () => {
  it.each<readonly [number, string, ErrorCode]>([
    [400, 'AccessDeniedException', 'keys_refused'],
    [400, 'DisabledException', 'keys_refused'],
    [400, 'NotFoundException', 'keys_refused'],
    [400, 'KMSInvalidStateException', 'keys_refused'],
    [400, 'InvalidKeyUsageException', 'keys_refused'],
    [400, 'UnrecognizedClientException', 'keys_refused'],
    [400, 'ExpiredTokenException', 'keys_refused'],
    [400, 'ValidationException', 'keys_refused'],
    [400, 'SomethingNewException', 'keys_refused'],
    [400, 'InvalidCiphertextException', 'keys_unreadable'],
    [400, 'IncorrectKeyException', 'keys_unreadable'],
  ])('%i %s is final', async (status, type, code) => {
    server.answers(saying(status, type));
    const error = await errorOf(rootKey().unwrap(wrapped, context));
    expect(error).toMatchObject({ code, fields: { serviceCode: type, status, rootKey: keyArn } });
    expect(server.requests).toHaveLength(1);
    // What the SDK hangs on its errors is not passed on.
    const shown = JSON.stringify([error.message, error.fields, error.cause, Object.keys(error.cause as object)]);
    for (const secret of ['the-secret', 'the-session', wrapped]) expect(shown).not.toContain(secret);
    expect('$response' in (error.cause as object)).toBe(false);
    expect(inspect(error.cause, { showHidden: true, depth: 9 })).not.toContain('the-session');
  });

  it.each<readonly [string, Step]>([
    ['500 KMSInternalException', saying(500, 'KMSInternalException')],
    ['400 ThrottlingException', saying(400, 'ThrottlingException')],
    ['503 of a proxy', { status: 503, body: '<html>' }],
    ['a connection that breaks', (_, response) => response.destroy()],
  ])('%s is tried three times', async (_, step) => {
    server.answers(step, step, step);
    expect((await errorOf(rootKey().unwrap(wrapped, context))).code).toBe('keys_unavailable');
    expect(server.requests).toHaveLength(3);
  });

  it.each(['DependencyTimeoutException', 'KeyUnavailableException', 'LimitExceededException'])(
    '%s may pass',
    async (type) => {
      server.answers(saying(500, type), saying(500, type), saying(500, type));
      expect((await errorOf(rootKey().wrap(dataKey, context))).code).toBe('keys_unavailable');
    },
  );

  it('that does not come in time is unavailable', async () => {
    const silence: Step = () => undefined;
    server.answers(silence, silence, silence);
    const given = { connectTimeoutMs: 50, answerTimeoutMs: 50 };
    expect((await errorOf(rootKey(given).unwrap(wrapped, context))).code).toBe('keys_unavailable');
  });

  it('nobody there is unavailable', async () => {
    const given = { endpoint: 'http://127.0.0.1:1' };
    expect((await errorOf(rootKey(given).unwrap(wrapped, context))).code).toBe('keys_unavailable');
  });

  it.each<readonly [string, object]>([
    [
      'of another key',
      { KeyId: keyArn.replace('1234abcd', 'ffffffff'), Plaintext: dataKey.toString('base64'), CiphertextBlob: wrapped },
    ],
    ['without a key', { Plaintext: dataKey.toString('base64'), CiphertextBlob: wrapped }],
    ['without content', { KeyId: keyArn }],
  ])('%s is not believed', async (_, body) => {
    server.answers(answering(body), answering(body));
    expect((await errorOf(rootKey().unwrap(wrapped, context))).code).toBe('keys_unavailable');
    expect((await errorOf(rootKey().wrap(dataKey, context))).code).toBe('keys_unavailable');
  });

  it.each(['', 'not base64', `${wrapped}\n`, 'A'.repeat(8196)])(
    'is not asked for what it never wrapped: %j',
    async (text) => {
      expect((await errorOf(rootKey().unwrap(text, context))).code).toBe('keys_unreadable');
      expect(server.requests).toEqual([]);
    },
  );
});
