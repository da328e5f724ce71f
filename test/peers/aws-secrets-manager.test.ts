import { CreateKeyCommand, DisableKeyCommand, KMSClient, ScheduleKeyDeletionCommand } from '@aws-sdk/client-kms';
import {
  CreateSecretCommand,
  type CreateSecretCommandInput,
  DescribeSecretCommand,
  GetResourcePolicyCommand,
  GetSecretValueCommand,
  PutResourcePolicyCommand,
  PutSecretValueCommand,
  ReplicateSecretToRegionsCommand,
  SecretsManagerClient,
} from '@aws-sdk/client-secrets-manager';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { CertificateContent } from '../../src/certificate/certificate.ts';
import { fingerprintOf } from '../../src/certificate/fingerprint.ts';
import { parseContent, toPem } from '../../src/certificate/pem.ts';
import { factsRecords } from '../../src/records/facts-records.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { secretsManagerDiagnosis } from '../../src/services/aws-secrets-manager/diagnosis.ts';
import { rightsOf } from '../../src/services/aws-secrets-manager/rights.ts';
import { type SecretsManagerOptions, secretsManagerStore } from '../../src/services/aws-secrets-manager/store.ts';
import { markDigest } from '../../src/store/mark.ts';
import type { Store } from '../../src/store/store.ts';
import { memoryTable } from '../../src/table/memory.ts';
import { startCountingProxy } from '../functions/counting-proxy.ts';
import { type StoreUnderTest, storeContract } from '../store/contract.ts';
import { testCertificate } from '../support/certificates.ts';
import { type Moto, motoAccount, requireMoto, startMoto } from './moto.ts';
import type { WithLibrary } from './pypi.ts';

const withMoto = requireMoto();

describe.skipIf(withMoto === undefined)('AWS Secrets Manager, played by moto', () => {
  let moto: Moto;
  beforeAll(async () => {
    moto = await startMoto(withMoto as WithLibrary);
  });
  afterAll(() => moto.close());

  const optionsFor = (given: Partial<SecretsManagerOptions> = {}): SecretsManagerOptions => ({
    region: 'eu-west-1',
    account: motoAccount,
    endpoint: moto.url,
    key: { accessKeyId: 'testing', secretAccessKey: new Secret('testing') },
    runtime: systemRuntime,
    // Moto shows every write at once.
    readSettlesMs: 0,
    listingLagMs: 0,
    ...given,
  });
  const storeAt = (given: Partial<SecretsManagerOptions> = {}): Store => secretsManagerStore(optionsFor(given));

  storeContract(
    'aws-secrets-manager',
    async (): Promise<StoreUnderTest> => {
      const store = storeAt({ namePrefix: 'contract/', pageSize: 3 });
      const large = ['shop.example.test', ...Array.from({ length: 2_000 }, (_, n) => `host-number-${n}.example.test`)];
      return {
        store,
        unknownId: `arn:aws:secretsmanager:eu-west-1:${motoAccount}:secret:contract/nothing-AbCdEf`,
        vacate: {
          deleted: async (id) => void (await store.delete(id)),
        },
        refusedContent: async () => parseContent(await testCertificate({ domains: large })),
      };
    },
    {
      deletesSoftly: true,
      lacks: {
        uniqueNames: 'what people call it is a tag',
        idsAreReferredTo: 'readers look for names, and a copy keeps its own',
        same: 'values are bytes',
        identity: 'its account is in its id, and is looked at',
        silentListings: 'a listing shows the version',
        lag: 'moto shows every write at once',
        longWrites: 'what is answered is done',
        'half-made': 'value, tags and description come with the creation',
        empty: 'a version can be replaced, and not taken out',
        store_quota_used_up: 'moto has none',
        store_held: 'moto has no service that owns secrets',
        store_in_use: 'nothing refers to a secret',
      },
    },
  );

  describe('what an independent client sees and does', () => {
    const client = () =>
      new SecretsManagerClient({ region: 'eu-west-1', endpoint: moto.url, credentials: moto.key, maxAttempts: 1 });
    let sdk: SecretsManagerClient;
    let [a, b]: CertificateContent[] = [];
    beforeAll(async () => {
      sdk = client();
      [a, b] = await Promise.all([content(), content()]);
    });
    afterAll(() => sdk.destroy());

    const content = async (domain = 'shop.example.test') => parseContent(await testCertificate({ domains: [domain] }));
    const pemOf = async (of: CertificateContent) => {
      const { certificate, intermediate = '', privateKey } = toPem(of);
      return { leaf: certificate, chain: intermediate, key: privateKey?.reveal() ?? '' };
    };
    const currentOf = async (SecretId: string) => sdk.send(new GetSecretValueCommand({ SecretId }));
    const made = async (input: Partial<CreateSecretCommandInput> & { readonly Name: string }) =>
      (await sdk.send(new CreateSecretCommand(input))).ARN ?? '';
    const mark = { store: 'primary', certificate: 'one' };
    const entryOf = (of: CertificateContent, prefix: string, name = 'shop') => ({
      content: of,
      metadata: { name, description: 'the shop', tags: [] },
      mark: { ...mark, certificate: prefix },
      token: `token of ${prefix}`,
    });
    const leafOf = async (id: string) => {
      const text = (await currentOf(id)).SecretString ?? '';
      return parseContent({ certificate: JSON.parse(text)['tls.crt'] }).leaf.fingerprint256;
    };

    it('A, then B, then A again ends at A, though a token made of A alone would not move it', async () => {
      const store = storeAt({ namePrefix: 'aba/' });
      const { id } = await store.import(entryOf(a as CertificateContent, 'aba'));
      const first = await currentOf(id);
      await store.reimport(id, b as CertificateContent);
      expect(await leafOf(id)).toBe(b?.leaf.fingerprint256);
      await store.reimport(id, a as CertificateContent);
      expect(await leafOf(id)).toBe(a?.leaf.fingerprint256);
      expect((await currentOf(id)).VersionId).not.toBe(first.VersionId);
      await store.reimport(id, b as CertificateContent);
      // The trap: the token of the first version, with its value, is answered and changes nothing.
      const { VersionId: ClientRequestToken, SecretString } = first;
      const trap = await sdk.send(new PutSecretValueCommand({ SecretId: id, ClientRequestToken, SecretString }));
      expect(trap.VersionStages).not.toContain('AWSCURRENT');
      expect(await leafOf(id)).toBe(b?.leaf.fingerprint256);
    });

    it('a lost answer of an import that is sent again after newer content came does not bring the old content back as an answer', async () => {
      const store = storeAt({ namePrefix: 'replay/' });
      const entry = entryOf(a as CertificateContent, 'replay');
      const { id } = await store.import(entry);
      await store.reimport(id, b as CertificateContent);
      expect((await store.import(entry)).id).toBe(id);
      expect(await leafOf(id)).toBe(a?.leaf.fingerprint256);
    });

    it('doctor sees that the key of copies is disabled, and then to be deleted, and says what mends it', async () => {
      const keys = new KMSClient({ region: 'eu-west-1', endpoint: moto.url, credentials: moto.key, maxAttempts: 1 });
      try {
        const { KeyMetadata } = await keys.send(new CreateKeyCommand({}));
        const { Arn: kmsKey = '', KeyId } = KeyMetadata ?? {};
        const given = { namePrefix: 'keyed/', kmsKey };
        await storeAt(given).import(entryOf(a as CertificateContent, 'keyed'));
        const remarks = async () => secretsManagerDiagnosis(optionsFor({ namePrefix: 'keyed/' })).remarks?.();
        expect(await remarks()).toEqual([{ message: `1 secret lies under the KMS key ${kmsKey}, which is enabled` }]);
        await keys.send(new DisableKeyCommand({ KeyId }));
        const where = `--region eu-west-1 --key-id ${kmsKey}`;
        expect(await remarks()).toMatchObject([{ remedy: `aws kms enable-key ${where}` }]);
        await keys.send(new ScheduleKeyDeletionCommand({ KeyId }));
        expect(await remarks()).toMatchObject([
          { remedy: `aws kms cancel-key-deletion ${where} && aws kms enable-key ${where}` },
        ]);
      } finally {
        keys.destroy();
      }
    });

    it('pitfall 11: a name that is scheduled for deletion is restored and written over where it carries our mark', async () => {
      const store = storeAt({ namePrefix: 'again/' });
      const entry = entryOf(a as CertificateContent, 'again');
      const { id } = await store.import(entry);
      await store.delete(id);
      expect(await store.read(id)).toMatchObject({ state: 'vacant', why: 'deleted', mark: entry.mark });
      const back = await store.import({ ...entry, content: b as CertificateContent, token: 'another' });
      expect(back.id).toBe(id);
      expect(await leafOf(id)).toBe(b?.leaf.fingerprint256);
      const described = await sdk.send(new DescribeSecretCommand({ SecretId: id }));
      expect(described.DeletedDate).toBeUndefined();
    });

    it('pitfall 12: the policy of a secret stays as it is, whatever is written', async () => {
      const store = storeAt({ namePrefix: 'policy/' });
      const { id } = await store.import(entryOf(a as CertificateContent, 'policy'));
      const ResourcePolicy = '{"Version":"2012-10-17","Statement":[]}';
      await sdk.send(new PutResourcePolicyCommand({ SecretId: id, ResourcePolicy }));
      await store.reimport(id, b as CertificateContent);
      await store.updateMetadata(id, { name: 'renamed', description: 'another', tags: ['team=web'] }, mark);
      expect(await sdk.send(new GetResourcePolicyCommand({ SecretId: id }))).toMatchObject({ ResourcePolicy });
    });

    it('pitfall 13: a secret without a version is neither absent nor a certificate, and keeps its name', async () => {
      const store = storeAt({ namePrefix: 'empty/' });
      const id = await made({ Name: 'empty/shop' });
      expect(await store.read(id)).toMatchObject({ state: 'vacant', why: 'empty' });
      expect(await store.list({})).toMatchObject({ certificates: [], vacant: [{ id, why: 'empty' }] });
      const exact = { ...entryOf(a as CertificateContent, 'empty'), exactName: true };
      await expect(store.import(exact)).rejects.toMatchObject({ code: 'store_conflict', fields: { certificate: id } });
    });

    it('pitfall 14: a secret that is not ours is never written to, though a link wants its name', async () => {
      const store = storeAt({ namePrefix: 'foreign/' });
      const id = await made({ Name: 'foreign/shop', SecretString: 'a password' });
      const exact = { ...entryOf(a as CertificateContent, 'foreign'), exactName: true };
      await expect(store.import(exact)).rejects.toMatchObject({ code: 'store_conflict', fields: { certificate: id } });
      expect((await currentOf(id)).SecretString).toBe('a password');
      const unfit = { ...exact, metadata: { ...exact.metadata, name: 'shop-abcdef' } };
      await expect(store.import(unfit)).rejects.toMatchObject({ code: 'store_name_unfit' });
    });

    it('pitfall 15: a copy that somebody replicates is not removed, and neither are the replicas', async () => {
      const store = storeAt({ namePrefix: 'replicated/' });
      const { id } = await store.import(entryOf(a as CertificateContent, 'replicated'));
      const AddReplicaRegions = [{ Region: 'eu-central-1' }];
      await sdk.send(new ReplicateSecretToRegionsCommand({ SecretId: id, AddReplicaRegions }));
      await expect(store.delete(id)).rejects.toMatchObject({ code: 'store_held' });
      const replicas = storeAt({ namePrefix: 'replicated/', region: 'eu-central-1' });
      const replica = (await replicas.list({})).certificates[0]?.id ?? '';
      await expect(replicas.reimport(replica, b as CertificateContent)).rejects.toMatchObject({
        code: 'store_held',
        fields: { reason: 'PrimaryRegion' },
      });
      expect((await store.read(id)).state).toBe('present');
    });

    it('pitfall 16: a search by mark takes no tag of another key for it, and no beginning of another value', async () => {
      const store = storeAt({ namePrefix: 'filters/' });
      const entry = entryOf(a as CertificateContent, 'filters');
      const digest = markDigest(entry.mark);
      await made({
        Name: 'filters/mixed',
        SecretString: 'x',
        Tags: [
          { Key: 'certstandby:mark', Value: 'nothing' },
          { Key: 'team', Value: digest },
        ],
      });
      const Value = `${digest}0 ${'0'.repeat(16)}`;
      await made({ Name: 'filters/longer', SecretString: 'x', Tags: [{ Key: 'certstandby:mark', Value }] });
      expect(await store.findByMark?.(entry.mark)).toEqual([]);
      const { id } = await store.import(entry);
      expect((await store.findByMark?.(entry.mark))?.map((found) => found.id)).toEqual([id]);
    });

    it('reads each layout as it is found in the wild', async () => {
      const store = storeAt({ namePrefix: 'layouts/' });
      const { leaf, chain, key } = await pemOf(a as CertificateContent);
      const base64 = (text: string) => Buffer.from(text).toString('base64');
      const layouts: Readonly<Record<string, string>> = {
        kubernetes: JSON.stringify({ 'tls.crt': leaf + chain, 'tls.key': key, 'ca.crt': chain }),
        manifest: JSON.stringify({ kind: 'Secret', data: { 'tls.crt': base64(leaf + chain), 'tls.key': base64(key) } }),
        template: JSON.stringify({ fullchain: leaf + chain, key }),
        sample: JSON.stringify({ CERTIFICATE_PEM: leaf, CERTIFICATE_CHAIN_PEM: chain, PRIVATE_KEY_PEM: key }),
        snake: JSON.stringify({ certificate: leaf, certificate_chain: chain, private_key: key }),
        kafka: JSON.stringify({ certificate: leaf + chain, privateKey: key }),
        plain: key + leaf + chain,
      };
      for (const [name, SecretString] of Object.entries(layouts)) {
        const reading = await store.read(await made({ Name: `layouts/${name}`, SecretString }));
        const found = reading.state === 'present' ? fingerprintOf(reading.value.content) : reading;
        expect([name, found]).toEqual([name, fingerprintOf(a as CertificateContent)]);
      }
      const SecretBinary = Buffer.from(key + leaf + chain);
      expect((await store.read(await made({ Name: 'layouts/binary', SecretBinary }))).state).toBe('present');
    });

    it.each(['tls', 'snake-case', 'pem'] as const)('writes the layout %s, and reads it back', async (layout) => {
      const store = storeAt({ namePrefix: `written-${layout}/`, layout });
      const { id } = await store.import(entryOf(a as CertificateContent, layout));
      const text = (await currentOf(id)).SecretString ?? '';
      const members = {
        tls: ['tls.crt', 'tls.key'],
        'snake-case': ['certificate', 'certificate_chain', 'private_key'],
      };
      if (layout !== 'pem') expect(Object.keys(JSON.parse(text))).toEqual(members[layout]);
      const reading = await store.read(id);
      expect(reading.state === 'present' && fingerprintOf(reading.value.content)).toBe(
        fingerprintOf(a as CertificateContent),
      );
    });

    it('what only content tells is not known of what nobody has read, and then lies on the table for every process', async () => {
      const table = memoryTable();
      const facts = () => factsRecords(table, Date.now);
      const at = () => storeAt({ namePrefix: 'facts/', facts: facts() });
      const { leaf, chain, key } = await pemOf(a as CertificateContent);
      const id = await made({ Name: 'facts/shop', SecretString: key + leaf + chain });
      const password = await made({ Name: 'facts/password', SecretString: 'a password' });
      const before = await at().list({});
      expect(before.certificates.map(({ domainsUnknown, domains }) => [domainsUnknown, domains])).toEqual([
        [true, []],
        [true, []],
      ]);
      const reader = at();
      expect((await reader.read(id)).state).toBe('present');
      expect(await reader.read(password)).toEqual({ state: 'absent' });
      const after = await at().list({});
      expect(after.certificates).toMatchObject([{ id, domains: ['shop.example.test'] }]);
      expect(after.certificates[0]?.domainsUnknown).toBeUndefined();
      expect(after.passedOver).toMatchObject([{ id: password, reason: 'holds no certificate' }]);
      // Another version is not known again; what held a certificate does not become nothing.
      await sdk.send(new PutSecretValueCommand({ SecretId: id, SecretString: 'a password' }));
      expect((await at().list({})).certificates).toMatchObject([{ id, domainsUnknown: true }]);
      expect(await at().read(id)).toMatchObject({ state: 'unreadable', error: { code: 'store_content_unreadable' } });
    });

    it('a backup calls what its policy allows, and nothing else', async () => {
      const proxy = await startCountingProxy(moto.url);
      const store = storeAt({ namePrefix: 'rights/', endpoint: proxy.endpoint });
      const entry = entryOf(a as CertificateContent, 'rights');
      const { id } = await store.import(entry);
      await store.reimport(id, b as CertificateContent);
      await store.updateMetadata(id, { name: 'renamed', description: 'another', tags: ['team=web'] }, entry.mark);
      await store.updateMetadata(id, { name: 'renamed', description: 'another', tags: [] }, entry.mark);
      await store.read(id);
      await store.list({});
      await store.findByMark?.(entry.mark);
      await store.delete(id);
      await store.import({ ...entry, token: 'again', into: id });
      const called = Object.keys(proxy.take()).filter(
        (operation) => operation !== 'undefined' && operation !== 'other',
      );
      await proxy.close();
      const config = { kind: 'aws-secrets-manager', name: 'a', region: 'eu-west-1', account: motoAccount } as const;
      const allowed = rightsOf(config, 'backup').flatMap(({ Action }) => Action.map((action) => action.split(':')[1]));
      // Where an answer shows that readers do not get a version, its label is moved: moto has none.
      expect([...called, 'UpdateSecretVersionStage'].sort()).toEqual(allowed.sort());
    });
  });
});
