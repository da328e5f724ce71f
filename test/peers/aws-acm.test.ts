import { execFile } from 'node:child_process';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseContent, toPem } from '../../src/certificate/pem.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { acmStore } from '../../src/services/aws-acm/store.ts';
import { testCertificate } from '../support/certificates.ts';
import { type FakeAcm, startFakeAcm } from '../support/fake-acm.ts';
import { type Moto, motoAccount, requireMoto, startMoto } from './moto.ts';
import type { WithLibrary } from './pypi.ts';

const withMoto = requireMoto();
const mark = { store: 'primary', certificate: 'one' };
const metadata = { name: 'shop', description: 'the shop', tags: [] };

/** Drives ACM with boto3, and prints what it saw as JSON. */
const script = `
import json, sys, boto3, botocore
given = json.load(sys.stdin)
acm = boto3.client('acm', region_name='eu-west-1', endpoint_url=given['url'], aws_access_key_id='testing', aws_secret_access_key='testing', config=botocore.config.Config(retries={'max_attempts': 0}))
def code(call):
    try:
        call()
        return 'succeeded'
    except botocore.exceptions.ClientError as error:
        return error.response['Error']['Code']
    except botocore.exceptions.ParamValidationError:
        return 'not sent'
one, two = given['one'], given['two']
files = lambda of: dict(Certificate=of['certificate'].encode(), PrivateKey=of['key'].encode(), CertificateChain=of['chain'].encode())
seen = {}
arn = acm.import_certificate(**files(one), Tags=[{'Key': 'team', 'Value': 'web'}])['CertificateArn']
described = acm.describe_certificate(CertificateArn=arn)['Certificate']
seen['described'] = {name: str(described[name]) for name in ['Type', 'Status', 'KeyAlgorithm', 'Serial', 'DomainName']}
seen['dated'] = type(described['NotAfter']).__name__
seen['hidden'] = acm.list_certificates()['CertificateSummaryList']
shown = acm.list_certificates(Includes={'keyTypes': ['EC_prime256v1']})['CertificateSummaryList']
seen['shown'] = [one['KeyAlgorithm'] for one in shown]
seen['chain'] = acm.get_certificate(CertificateArn=arn)['CertificateChain'] == one['chain']
seen['reimport with tags'] = code(lambda: acm.import_certificate(CertificateArn=arn, **files(two), Tags=[{'Key': 'a', 'Value': 'b'}]))
seen['reimport'] = code(lambda: acm.import_certificate(CertificateArn=arn, **files(two)))
seen['tags'] = acm.list_tags_for_certificate(CertificateArn=arn)['Tags']
seen['wrong key'] = code(lambda: acm.import_certificate(**{**files(one), 'PrivateKey': two['key'].encode()}))
seen['two in one field'] = code(lambda: acm.import_certificate(**{**files(one), 'Certificate': (one['certificate'] + one['chain']).encode()}))
seen['bad tag'] = code(lambda: acm.add_tags_to_certificate(CertificateArn=arn, Tags=[{'Key': 'a', 'Value': 'one\\ntwo'}]))
seen['export'] = code(lambda: acm.export_certificate(CertificateArn=arn, Passphrase=b'0123456789'))
for _ in range(2): acm.import_certificate(**files(one))
pages = acm.get_paginator('list_certificates').paginate(Includes={'keyTypes': ['EC_prime256v1']}, PaginationConfig={'PageSize': 1})
seen['pages'] = [len(page['CertificateSummaryList']) for page in pages]
seen['delete'] = code(lambda: acm.delete_certificate(CertificateArn=arn))
seen['delete again'] = code(lambda: acm.delete_certificate(CertificateArn=arn))
seen['versions'] = [boto3.__version__, botocore.__version__]
print(json.dumps(seen))
`;

describe.skipIf(withMoto === undefined)('AWS Certificate Manager', () => {
  const pemOf = async () => {
    const given = await testCertificate();
    const { certificate, intermediate = '', privateKey } = toPem(parseContent(given));
    return { certificate, chain: intermediate, key: privateKey?.reveal() ?? '' };
  };
  const storeAt = (endpoint: string, account = motoAccount) =>
    acmStore({
      ...{ region: 'eu-west-1', account, endpoint, exports: true },
      key: { accessKeyId: 'testing', secretAccessKey: new Secret('testing') },
      runtime: { ...systemRuntime, wait: async () => {} },
    });

  describe('the strict fake of the tests, driven by boto3', () => {
    let fake: FakeAcm;
    beforeAll(async () => {
      fake = await startFakeAcm();
    });
    afterAll(() => fake.close());

    it('is understood by a client that others made, which refuses and finds what is described', async () => {
      const [one, two] = [await pemOf(), await pemOf()];
      const [program, ...args] = (withMoto as WithLibrary)('python3', '-c', script);
      const run = promisify(execFile)(program, args, { encoding: 'utf8' });
      run.child.stdin?.end(JSON.stringify({ url: fake.url, one, two }));
      const { versions, ...seen } = JSON.parse((await run).stdout);
      expect(versions).toHaveLength(2);
      expect(seen).toEqual({
        described: {
          ...{ Type: 'IMPORTED', Status: 'ISSUED', KeyAlgorithm: 'EC-prime256v1', DomainName: 'shop.example.test' },
          Serial: expect.stringMatching(/^([0-9a-f]{2}:)+[0-9a-f]{2}$/),
        },
        dated: 'datetime',
        hidden: [],
        shown: ['EC_prime256v1'],
        chain: true,
        'reimport with tags': 'ValidationException',
        reimport: 'succeeded',
        tags: [{ Key: 'team', Value: 'web' }],
        'wrong key': 'ValidationException',
        'two in one field': 'ValidationException',
        'bad tag': 'InvalidTagException',
        export: 'ValidationException',
        pages: [1, 1, 1],
        delete: 'succeeded',
        'delete again': 'ResourceNotFoundException',
      });
    });
  });

  describe('played by moto', () => {
    let moto: Moto;
    beforeAll(async () => {
      moto = await startMoto(withMoto as WithLibrary);
    });
    afterAll(() => moto.close());

    it('pitfall 3: where a reimport loses the tags, they are read back and written again, the mark among them', async () => {
      const store = storeAt(moto.url);
      const { id } = await store.import({ content: parseContent(await testCertificate()), metadata, mark });
      await store.reimport(id, parseContent(await testCertificate()));
      expect(await store.readMetadata(id)).toMatchObject({ value: { mark, name: 'shop', description: 'the shop' } });
      expect((await store.findByMark?.(mark))?.map((found) => found.id)).toEqual([id]);
    });

    it('an export of a certificate that it issued gives the key, opened with a passphrase of one call', async () => {
      const request = `
import json, sys, boto3
acm = boto3.client('acm', region_name='eu-west-1', endpoint_url=sys.argv[1], aws_access_key_id='testing', aws_secret_access_key='testing')
arn = acm.request_certificate(DomainName='shop.example.test', Options={'Export': 'ENABLED'})['CertificateArn']
print(arn)
`;
      const [program, ...args] = (withMoto as WithLibrary)('python3', '-c', request, moto.url);
      const id = (await promisify(execFile)(program, args, { encoding: 'utf8' })).stdout.trim();
      const reading = await storeAt(moto.url).read(id);
      expect(reading).toMatchObject({ state: 'present' });
      if (reading.state === 'present') expect(reading.value.content.privateKey).toBeDefined();
    });
  });
});
