import { readFileSync } from 'node:fs';
import { afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { callerCredentials } from '../../../src/aws/caller.ts';
import { markTags, tagList } from '../../../src/aws/tags.ts';
import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { parseContent } from '../../../src/certificate/pem.ts';
import { parseConfig } from '../../../src/config.ts';
import { asCodedError } from '../../../src/errors.ts';
import { systemRuntime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { secretsManagerDiagnosis } from '../../../src/services/aws-secrets-manager/diagnosis.ts';
import { secretsManagerSettings } from '../../../src/services/aws-secrets-manager/settings.ts';
import { type SecretsManagerOptions, secretsManagerStore } from '../../../src/services/aws-secrets-manager/store.ts';
import { formatMark, markDigest, storeDigest } from '../../../src/store/mark.ts';
import type { Store } from '../../../src/store/store.ts';
import { type ScriptedServer, type Step, startScriptedServer } from '../../store/scripted-server.ts';
import { testCertificate } from '../../support/certificates.ts';

const account = '123456789012';
const arn = `arn:aws:secretsmanager:eu-west-1:${account}:secret:certs/shop-AbCdEf`;
const mark = { store: 'primary', certificate: 'one' };
const metadata = { name: 'shop', description: '', tags: [] };

let server: ScriptedServer;
let content: CertificateContent;
let keyText: string;
beforeAll(async () => {
  content = parseContent(await testCertificate());
  keyText = content.privateKey?.pem.reveal() ?? '';
});
beforeEach(async () => {
  server = await startScriptedServer();
});
afterEach(() => server.close());

const options = (given: Partial<SecretsManagerOptions> = {}): SecretsManagerOptions => ({
  region: 'eu-west-1',
  account,
  endpoint: server.url,
  key: { accessKeyId: 'AKIDEXAMPLE', secretAccessKey: new Secret('the secret key') },
  runtime: { ...systemRuntime, wait: async () => {} },
  ...given,
});

/** A store whose account has been looked at. */
async function storeAt(given: Partial<SecretsManagerOptions> = {}): Promise<Store> {
  const store = secretsManagerStore(options(given));
  server.answers(identity(), { body: { SecretList: [] } });
  await store.list({});
  return store;
}

const identity = (of = account): Step => ({
  body: `<R><GetCallerIdentityResult><Account>${of}</Account></GetCallerIdentityResult></R>`,
});
const refusal = (name: string, message = 'in its own words', status = 400): Step => ({
  status,
  body: { __type: `com.amazonaws.secretsmanager#${name}`, message },
});
const described = (more: object = {}): Step => ({
  body: { ARN: arn, Name: 'certs/shop', VersionIdsToStages: { v1: ['AWSCURRENT'] }, ...more },
});
const targets = () => server.requests.slice(2).map(({ headers }) => String(headers['x-amz-target']).split('.')[1]);

test('the account of the credentials is looked at first: in another one everything would seem to be gone', async () => {
  const store = secretsManagerStore(options());
  server.answers(identity('999999999999'));
  expect(await store.read(arn)).toMatchObject({
    state: 'unreadable',
    error: { code: 'store_unauthorized', fields: { found: '999999999999', account } },
  });
  expect(server.requests).toHaveLength(1);
});

test('a request is signed for the service, in the protocol that it speaks', async () => {
  const store = await storeAt();
  server.answers(described());
  await store.readMetadata(arn);
  const { headers, body } = server.requests[2] as (typeof server.requests)[number];
  expect(headers['content-type']).toBe('application/x-amz-json-1.1');
  expect(headers['x-amz-target']).toBe('secretsmanager.DescribeSecret');
  expect(headers.authorization).toMatch(/^AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE\/\d{8}\/eu-west-1\/secretsmanager\//);
  expect(JSON.parse(body)).toEqual({ SecretId: arn });
});

test.each([
  ['ThrottlingException', 'store_limited'],
  ['AccessDeniedException', 'store_unauthorized'],
  ['ExpiredTokenException', 'store_unauthorized'],
  ['InvalidSignatureException', 'store_unauthorized'],
  ['DecryptionFailure', 'store_unauthorized'],
  ['InvalidParameterException', 'store_refused'],
  ['InternalServiceError', 'store_unavailable'],
])('%s is told as %s, and never as absent', async (name, code) => {
  const store = await storeAt();
  server.answers(refusal(name), refusal(name));
  expect(await store.read(arn)).toMatchObject({ state: 'unreadable', error: { code, fields: { reason: name } } });
});

test('a right that is missing is named, and so is what prints all that it takes', async () => {
  const store = await storeAt();
  server.answers(described(), refusal('AccessDeniedException'));
  const reading = await store.read(arn);
  const error = reading.state === 'unreadable' ? reading.error : undefined;
  expect(error?.fields.right).toBe('secretsmanager:GetSecretValue');
  expect(error?.fields.remedy).toContain('secretsmanager:GetSecretValue');
  expect(error?.fields.remedy).toContain('doctor --rights');
});

test('a write that the service failed to do may have been done, and is not sent twice', async () => {
  const store = await storeAt();
  server.answers(described(), refusal('InternalServiceError', '', 500));
  await expect(store.reimport(arn, content)).rejects.toMatchObject({ code: 'store_unanswered' });
  server.answers(described(), (_request, response) => void response.destroy());
  await expect(store.reimport(arn, content)).rejects.toMatchObject({ code: 'store_unanswered' });
  expect(targets()).toEqual(['DescribeSecret', 'PutSecretValue', 'DescribeSecret', 'PutSecretValue']);
});

test('where the answer to a put shows that readers do not get it, the label is moved', async () => {
  const store = await storeAt();
  server.answers(described(), { body: { ARN: arn, VersionId: 'old', VersionStages: ['AWSPREVIOUS'] } }, described(), {
    body: { ARN: arn },
  });
  expect(await store.reimport(arn, content)).toMatchObject({ id: arn });
  expect(targets().at(-1)).toBe('UpdateSecretVersionStage');
  expect(JSON.parse(server.requests.at(-1)?.body ?? '')).toEqual({
    SecretId: arn,
    VersionStage: 'AWSCURRENT',
    MoveToVersionId: 'old',
    RemoveFromVersionId: 'v1',
  });
});

test('pitfall 10: the token of a put is made of the content and of the version that it replaces', async () => {
  const store = await storeAt();
  const tokens: string[] = [];
  for (const version of ['v1', 'v1', 'v2']) {
    server.answers(described({ VersionIdsToStages: { [version]: ['AWSCURRENT'] } }), (request, response) => {
      const { ClientRequestToken } = JSON.parse(request.body);
      tokens.push(ClientRequestToken);
      response.setHeader('content-type', 'application/json');
      response.end(JSON.stringify({ ARN: arn, VersionId: ClientRequestToken, VersionStages: ['AWSCURRENT'] }));
    });
    await store.reimport(arn, content);
  }
  expect(tokens[0]).toMatch(/^[0-9a-f]{64}$/);
  expect(tokens[1]).toBe(tokens[0]);
  expect(tokens[2]).not.toBe(tokens[0]);
});

test('a restore that succeeds and a put that fails leave half a copy, and that is told', async () => {
  const store = await storeAt();
  const tags = [{ Key: 'certstandby:mark', Value: `${markDigest(mark)} ${storeDigest(mark.store)}` }];
  const scheduled = described({ Tags: tags, DeletedDate: 1_700_000_000 });
  server.answers(scheduled, { body: { ARN: arn } }, scheduled, refusal('InvalidRequestException'));
  await expect(store.import({ content, metadata, mark, into: arn })).rejects.toMatchObject({
    code: 'store_unanswered',
  });
  expect(targets()).toEqual(['DescribeSecret', 'RestoreSecret', 'DescribeSecret', 'PutSecretValue']);
});

test('pitfall 7: a listing asks for no value, leaves out an empty cursor, and goes on after an empty page', async () => {
  const store = await storeAt({ namePrefix: 'certs/' });
  server.answers({ body: { SecretList: [], NextToken: 'more' } }, { body: { SecretList: [], NextToken: '' } });
  const first = await store.list({});
  expect(first).toEqual({ certificates: [], cursor: 'more' });
  expect(await store.list({ cursor: 'more' })).toEqual({ certificates: [] });
  expect(targets()).toEqual(['ListSecrets', 'ListSecrets']);
  const [asked] = server.requests.slice(2).map(({ body }) => JSON.parse(body));
  expect(asked).toEqual({ MaxResults: 100, Filters: [{ Key: 'name', Values: ['certs/'] }] });
});

test('what the service names by an ARN of elsewhere is unreadable, never absent, and hides no other', async () => {
  const store = await storeAt({ namePrefix: 'certs/' });
  const foreign = arn.replace('arn:aws:', 'arn:aws-iso:');
  const named = (ARN: string, Name = 'certs/shop') => ({
    ...{ ARN, Name, SecretVersionsToStages: { v1: ['AWSCURRENT'] } },
  });
  const others = named(arn.replace('certs/', 'others/').replace('arn:aws:', 'arn:aws-iso:'), 'others/shop');
  server.answers({ body: { SecretList: [named(foreign), others, named(arn)] } }, { body: named(foreign) });
  const page = await store.list({});
  expect(page).toMatchObject({
    certificates: [{ id: arn }],
    unreadable: [{ place: foreign, error: { code: 'store_nonsense' } }],
  });
  expect(page.unreadable?.map(({ id }) => id)).toEqual([undefined]);
  expect(await store.read(arn)).toMatchObject({ state: 'unreadable', error: { code: 'store_nonsense' } });
});

test('secrets that belong to a service are passed over, and never written to', async () => {
  const store = await storeAt();
  const owned = {
    ARN: arn,
    Name: 'certs/shop',
    OwningService: 'events',
    SecretVersionsToStages: { v1: ['AWSCURRENT'] },
  };
  server.answers({ body: { SecretList: [owned] } }, described({ OwningService: 'events' }));
  expect(await store.list({})).toMatchObject({ certificates: [], passedOver: [{ id: arn }] });
  await expect(store.reimport(arn, content)).rejects.toMatchObject({ code: 'store_held' });
});

test('a copy whose rotation is switched on is somebody else’s to write, and that is told', async () => {
  const store = await storeAt();
  server.answers(described({ RotationEnabled: true }));
  const error = asCodedError(await store.reimport(arn, content).catch((thrown: unknown) => thrown));
  expect(error.code).toBe('store_held');
  expect(error.fields.remedy).toContain('cancel-rotate-secret');
});

test('what goes wrong holds nothing of the key, the content or the credentials', async () => {
  const store = await storeAt();
  const quoted = `Value '${keyText}' and ${Buffer.from(keyText).toString('base64')} failed`;
  server.answers(described(), refusal('InvalidParameterException', quoted));
  const error = asCodedError(await store.reimport(arn, content).catch((thrown: unknown) => thrown));
  const told = JSON.stringify([error.message, error.fields]);
  const [, line = ''] = keyText.split('\n');
  for (const secret of [line, Buffer.from(keyText).toString('base64').slice(0, 40), 'the secret key'])
    expect(told).not.toContain(secret);
});

test('a mark comes back whole from tags, by its digests where parts of it are gone, and not at all without these', async () => {
  const store = await storeAt();
  let tags: { Key: string; Value: string }[] = [];
  const answer = (request: { readonly body: string }) => {
    const { ClientRequestToken, Tags } = JSON.parse(request.body);
    tags = Tags;
    return { ARN: arn, VersionId: ClientRequestToken };
  };
  server.answers((request, response) => {
    response.setHeader('content-type', 'application/json');
    response.end(JSON.stringify(answer(request)));
  }, refusal('ResourceNotFoundException'));
  await store.import({ content, metadata, mark, token: 't' });
  const read = async (given: typeof tags) => {
    server.answers(described({ Tags: given }));
    const reading = await store.readMetadata(arn);
    return reading.state === 'present' ? reading.value.mark : reading;
  };
  expect(formatMark((await read(tags)) as typeof mark)).toBe(formatMark(mark));
  expect(await read(tags.filter(({ Key }) => Key !== 'certstandby:store'))).toEqual({
    digest: markDigest(mark),
    storeDigest: storeDigest(mark.store),
  });
  expect(await read(tags.filter(({ Key }) => Key !== 'certstandby:mark'))).toBeUndefined();
});

test('a role is taken on, with what its owner asks for, and again when it ends', async () => {
  let now = Date.now();
  const role = 'arn:aws:iam::123456789012:role/copies';
  const { runtime, key, region, endpoint } = options();
  const caller = callerCredentials({
    ...{ region, key, endpoint, role, externalId: 'agreed' },
    runtime: { ...runtime, now: () => now },
  });
  const assumed = (id: string): Step => ({
    body: `<C><AccessKeyId>${id}</AccessKeyId><SecretAccessKey>s</SecretAccessKey><SessionToken>t</SessionToken><Expiration>${new Date(now + 3_600_000).toISOString()}</Expiration></C>`,
  });
  server.answers(assumed('ASIAONE'), assumed('ASIATWO'));
  expect((await caller.credentials()).accessKeyId).toBe('ASIAONE');
  expect((await caller.credentials()).accessKeyId).toBe('ASIAONE');
  now += 3_400_000;
  expect((await caller.credentials()).accessKeyId).toBe('ASIATWO');
  expect(Object.fromEntries(new URLSearchParams(server.requests[0]?.body))).toEqual({
    Action: 'AssumeRole',
    Version: '2011-06-15',
    RoleArn: role,
    RoleSessionName: 'certstandby',
    ExternalId: 'agreed',
  });
});

test('doctor asks for the right to import by a name that no secret can have', async () => {
  const { mayImport, clock } = secretsManagerDiagnosis(options());
  server.answers(identity(), refusal('ValidationException'), refusal('AccessDeniedException'));
  expect(await mayImport()).toBe(true);
  expect(await mayImport()).toBe(false);
  server.answers({ status: 403, headers: { date: new Date(1_700_000_000_000).toUTCString() } });
  expect(await clock()).toBe(1_700_000_000_000);
});

test('a KMS key of another region is a mistake: a copy under it is lost with that region', () => {
  const kmsKey = 'arn:aws:kms:eu-central-1:123456789012:key/1234';
  expect(secretsManagerSettings.mistakes?.({ region: 'eu-west-1', kmsKey })).toMatchObject([{ setting: 'kmsKey' }]);
  expect(secretsManagerSettings.mistakes?.({ region: 'eu-central-1', kmsKey })).toEqual([]);
});

describe('KMS keys under which secrets lie, as doctor looks at them', () => {
  const key = `arn:aws:kms:eu-west-1:${account}:key/1234abcd-0000-4000-8000-000000000001`;
  type Listed = string | undefined | { readonly key: string; readonly mark: typeof mark };
  const listed = (...secrets: readonly Listed[]): Step => ({
    body: {
      SecretList: secrets.map((one, index) => {
        const { key: KmsKeyId, mark: ofOriginal } = typeof one === 'object' ? one : { key: one, mark: undefined };
        return {
          ...{ ARN: `${arn}${index}`, Name: `certs/shop${index}` },
          ...(KmsKeyId !== undefined && { KmsKeyId }),
          ...(ofOriginal && { Tags: tagList(markTags(ofOriginal)) }),
        };
      }),
    },
  });
  const isIn = (KeyState: string, more: object = {}): Step => ({ body: { KeyMetadata: { KeyState, ...more } } });
  /** What doctor is told, with the answers of listing and keys. */
  const remarks = async (given: Partial<SecretsManagerOptions>, list: Step, ...steps: readonly Step[]) => {
    server.answers(identity(), list, ...steps);
    return (await secretsManagerDiagnosis(options(given)).remarks?.()) ?? [];
  };

  test('are not asked for where secrets lie under the key of AWS', async () => {
    expect(await remarks({}, listed(undefined, 'alias/aws/secretsmanager'))).toEqual([]);
    expect(server.requests).toHaveLength(2);
  });

  test('are good while they are enabled, the one of new copies too', async () => {
    expect(await remarks({ kmsKey: key }, listed(), isIn('Enabled'))).toEqual([
      { message: `new copies lie under the KMS key ${key}, which is enabled` },
    ]);
    expect(await remarks({}, listed(key, key), isIn('Enabled'))).toEqual([
      { message: `2 secrets lie under the KMS key ${key}, which is enabled` },
    ]);
    const [{ headers, body } = {}] = server.requests.slice(-1);
    expect([headers?.['x-amz-target'], body]).toEqual(['TrentService.DescribeKey', JSON.stringify({ KeyId: key })]);
    expect(headers?.authorization).toContain('/eu-west-1/kms/aws4_request');
  });

  test.each([
    ['Disabled', /is disabled$/, `aws kms enable-key --region eu-west-1 --key-id ${key}`],
    ['PendingDeletion', /is to be deleted/, /^aws kms cancel-key-deletion .* && aws kms enable-key /],
    ['PendingImport', /no key material/, /Import the material/],
    ['Unavailable', /cannot be reached/, /custom key store/],
  ])('are told with what mends them where one is %s', async (state, message, remedy) => {
    expect(await remarks({}, listed(key), isIn(state))).toEqual([
      {
        message: expect.stringMatching(message),
        remedy: typeof remedy === 'string' ? remedy : expect.stringMatching(remedy),
      },
    ]);
  });

  test('that are gone leave originals where they are: only copies of ours are ever removed', async () => {
    const [ofOriginals] = await remarks({}, listed(key, key), refusal('NotFoundException'));
    expect(ofOriginals?.message).toMatch(/^2 secrets lie .* not there any more: nobody can read them$/);
    expect(ofOriginals?.remedy).toBe(
      'New copies: give the store another kmsKey of eu-west-1. Originals: bring them back from a backup, and never remove them first.',
    );
    const [ofBoth] = await remarks({}, listed(key, { key, mark }), refusal('NotFoundException'));
    expect(ofBoth?.message).toMatch(/a copy that nobody can read is no backup$/);
    expect(ofBoth?.remedy).toMatch(/Copies of ours under this key: certs\/shop1\. .* Originals: bring them back/);
    const [ofNew] = await remarks({ kmsKey: key }, listed(), refusal('NotFoundException'));
    expect(ofNew?.remedy).toBe('New copies: give the store another kmsKey of eu-west-1.');
  });

  test('may be called by an alias, of which the commands know nothing, and which may be missing alone', async () => {
    const alias = 'alias/certificates';
    const [disabled] = await remarks({ kmsKey: alias }, listed(), isIn('Disabled', { Arn: key }));
    expect(disabled?.remedy).toBe(`aws kms enable-key --region eu-west-1 --key-id ${key}`);
    const [nameless] = await remarks({ kmsKey: alias }, listed(), isIn('Disabled'));
    expect(nameless?.remedy).toBe('aws kms enable-key --region eu-west-1 --key-id <ARN of the key>');
    for (const each of [alias, `arn:aws:kms:eu-west-1:${account}:${alias}`]) {
      const [missing] = await remarks({}, listed(each), refusal('NotFoundException'));
      expect(missing?.message).toMatch(/no key has this alias now$/);
      expect(missing?.remedy).toMatch(/remove nothing\.$/);
    }
  });

  test('are asked for as one caller, each question with its own limit', async () => {
    const another = key.replace(/1$/, '2');
    server.answers(identity(), listed(key, another), isIn('Enabled'), isIn('Enabled'));
    let limits = 0;
    const limit = () => {
      limits += 1;
      return limits === 2 ? AbortSignal.abort() : new AbortController().signal;
    };
    const found = (await secretsManagerDiagnosis(options()).remarks?.({ limit })) ?? [];
    expect(found.map(({ message }) => message)).toEqual([
      expect.stringMatching(/was not seen: .*the call was ended/),
      expect.stringMatching(/which is enabled$/),
    ]);
    expect(limits).toBe(3);
  });

  test('of secrets that were not looked through are told to be missing', async () => {
    const [{ body } = {}] = [listed(key)] as { body?: object }[];
    const first = { body: { ...body, NextToken: 'more' } };
    const found = await remarks({}, first, refusal('AccessDeniedException'), isIn('Enabled'));
    expect(found.map(({ message }) => message)).toEqual([
      expect.stringMatching(/which is enabled$/),
      expect.stringMatching(/^not all secrets were looked through for their KMS keys, but 1 of them: .*AccessDenied/),
    ]);
    expect(found[1]?.remedy).toMatch(/secretsmanager:ListSecrets/);
    const pages = Array.from({ length: 100 }, () => first);
    const [, cut] = await remarks({}, first, ...pages.slice(1), isIn('Enabled'));
    expect(cut).toMatchObject({ message: expect.stringMatching(/but 100 of them$/), remedy: expect.any(String) });
  });

  test('are no help where one is of another region, which is not even asked', async () => {
    const foreign = key.replace('eu-west-1', 'us-east-1');
    expect(await remarks({}, listed(foreign))).toMatchObject([
      { message: expect.stringMatching(/in us-east-1: where that region fails/), remedy: expect.any(String) },
    ]);
  });

  test('that lie in a key store of their own are named, and one that may not be looked at is told', async () => {
    expect(await remarks({}, listed(key), isIn('Enabled', { CustomKeyStoreId: 'cks-1' }))).toEqual([
      { message: expect.stringMatching(/key store of its own/) },
    ]);
    expect(await remarks({}, listed(key), refusal('AccessDeniedException'))).toMatchObject([
      { message: expect.stringMatching(/was not seen/), remedy: expect.stringMatching(/kms:DescribeKey/) },
    ]);
  });

  test('are left to the check of the listing where there is none', async () => {
    expect(await remarks({}, refusal('AccessDeniedException'))).toEqual([]);
  });
});

test('the configuration of its page is a good one', () => {
  const page = readFileSync(new URL('../../../src/services/aws-secrets-manager/README.md', import.meta.url), 'utf8');
  const [, stores = ''] = /```yaml\n([\s\S]*?)```/.exec(page) ?? [];
  const more =
    '  folder: { kind: directory, path: /srv, id: a }\nlinks: { aws: { primary: ireland, backups: [folder] } }\n';
  const config = parseConfig(`version: 1\n${stores}${more}`, { path: '/etc/c.yaml', env: {}, readFile: () => '' });
  expect(config.stores[0]).toMatchObject({ kind: 'aws-secrets-manager', region: 'eu-west-1', account });
});
