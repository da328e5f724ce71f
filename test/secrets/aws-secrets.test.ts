import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { awsParameterStore } from '../../src/secrets/aws-parameter-store.ts';
import { awsSecretsManager } from '../../src/secrets/aws-secrets-manager.ts';
import { type FakeAws, startFakeAws } from '../functions/fake-aws.ts';

let aws: FakeAws;
beforeAll(async () => {
  aws = await startFakeAws({
    'ssm:/certstandby/frankfurt': 'the key of frankfurt\n',
    'ssm:empty': ' ',
    'secretsmanager:plain': 'the key of london',
    'secretsmanager:json': '{"apiKey":"the key of paris","count":7,"__proto__":"x"}',
    'secretsmanager:broken': '{"apiKey":"half',
  });
});
afterAll(() => aws.close());
beforeEach(() => {
  vi.stubEnv('AWS_ENDPOINT_URL', aws.endpoint);
  vi.stubEnv('AWS_REGION', 'eu-west-1');
  vi.stubEnv('AWS_ACCESS_KEY_ID', 'test');
  vi.stubEnv('AWS_SECRET_ACCESS_KEY', 'test');
});
afterEach(() => {
  vi.unstubAllEnvs();
  aws.down = false;
});

describe('Parameter Store', () => {
  it('reads a parameter, without the line end that an editor left', async () => {
    expect((await awsParameterStore().read('/certstandby/frankfurt')).reveal()).toBe('the key of frankfurt');
  });

  it.each([
    ['/nowhere', 'AWS Systems Manager Parameter Store does not give the secret /nowhere: ParameterNotFound'],
    ['empty', 'the secret empty in AWS Systems Manager Parameter Store is empty'],
  ])('says what is wrong with %s', async (name, message) => {
    await expect(awsParameterStore().read(name)).rejects.toMatchObject({ code: 'secret_unreadable', message });
  });
});

describe('Secrets Manager', () => {
  it.each([
    ['plain', 'the key of london'],
    ['json#apiKey', 'the key of paris'],
  ])('reads %s', async (name, secret) => {
    expect((await awsSecretsManager().read(name)).reveal()).toBe(secret);
  });

  it.each([
    ['nowhere', 'AWS Secrets Manager does not give the secret nowhere: ResourceNotFoundException'],
    ['json#count', 'the secret json in AWS Secrets Manager has no text under the key count'],
    ['json#constructor', 'the secret json in AWS Secrets Manager has no text under the key constructor'],
    ['broken#apiKey', 'the secret broken in AWS Secrets Manager has no text under the key apiKey'],
  ])('says what is wrong with %s, and nothing of what is there', async (name, message) => {
    await expect(awsSecretsManager().read(name)).rejects.toMatchObject({ code: 'secret_unreadable', message });
  });

  it('says that nothing answers', async () => {
    aws.down = true;
    await expect(awsSecretsManager().read('plain')).rejects.toMatchObject({ code: 'secret_unavailable' });
  });
});

it.each([
  ['Parameter Store', awsParameterStore],
  ['Secrets Manager', awsSecretsManager],
])('%s: says that no region is named, and that there are no credentials', async (_, source) => {
  vi.stubEnv('AWS_CONFIG_FILE', '/nonexistent');
  vi.stubEnv('AWS_SHARED_CREDENTIALS_FILE', '/nonexistent');
  vi.stubEnv('AWS_EC2_METADATA_DISABLED', 'true');
  vi.stubEnv('AWS_REGION', undefined);
  await expect(source().read('plain')).rejects.toMatchObject({
    code: 'secret_unreadable',
    message: expect.stringContaining('no AWS region is named for the secret plain: set AWS_REGION'),
  });
  vi.stubEnv('AWS_REGION', 'eu-west-1');
  vi.stubEnv('AWS_ACCESS_KEY_ID', undefined);
  await expect(source().read('plain')).rejects.toMatchObject({
    code: 'secret_unreadable',
    message: expect.stringContaining('there are no AWS credentials here'),
  });
});
