import { readFileSync } from 'node:fs';
import { beforeAll, expect, test } from 'vitest';
import { parseContent } from '../../../src/certificate/pem.ts';
import { asCodedError } from '../../../src/errors.ts';
import { systemRuntime as runtime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { type VaultStoreOptions, vaultStore } from '../../../src/services/vault/store.ts';
import { testCertificate } from '../../support/certificates.ts';
import { type FakeVault, startFakeVault } from './fake.ts';
import { vaultLacks, vaultLacksInVersion1 } from './lacks.ts';
import { type RefusalContent, type RefusingServer, refusals } from './refusals.ts';

const page = '../../../src/services/vault/README.md';
const text = readFileSync(new URL(page, import.meta.url), 'utf8');

let given: RefusalContent;
beforeAll(async () => {
  const [one, other] = [await testCertificate(), await testCertificate()];
  given = { content: parseContent(one), renewed: parseContent(other), pems: [one.certificate, other.certificate] };
});

test('the page says of all that is refused as what it is told', () => {
  const [, table = ''] = /## What it refuses, and why\n\n([\s\S]*?)\n\n/.exec(text) ?? [];
  const rows = table.split('\n').slice(2);
  expect(rows.map((row) => row.split(' | ').slice(0, 2).join(' | '))).toEqual(
    refusals.map(({ what, code, told = code }) => `| ${what} | \`${told}\``),
  );
});

test.each(refusals)('a Vault Community as it was seen refuses $what', async ({ code, refuse }) => {
  const server = await startFakeVault();
  try {
    const error = await refuse(refusingServer(server), given).then(
      () => undefined,
      (thrown: unknown) => asCodedError(thrown),
    );
    expect(error).toMatchObject({ code });
    expect(error?.remedy).not.toBe('');
  } finally {
    await server.close();
  }
});

function refusingServer(server: FakeVault): RefusingServer {
  const storeAt = (options: Partial<VaultStoreOptions> = {}) =>
    vaultStore({
      id: 'test',
      address: server.url,
      region: 'here',
      prefix: 'standby',
      runtime,
      login: { login: 'token', token: new Secret('hvs.root') },
      listingLagMs: 0,
      readSettlesMs: 0,
      ...options,
    });
  return {
    storeAt,
    async write(path, data) {
      const { versions = [], custom = null } = server.secrets.get(path) ?? {};
      const version = {
        data: { ...data },
        created_time: new Date().toISOString(),
        deletion_time: '',
        destroyed: false,
      };
      server.secrets.set(path, { versions: [...versions, version], custom });
    },
    async deleteSoftly(path) {
      Object.assign(server.secrets.get(path)?.versions.at(-1) ?? {}, { deletion_time: '2026-01-01T00:00:00Z' });
    },
    async mountOther(type) {
      server.before = ({ path }) =>
        path.startsWith('sys/internal/ui/mounts/')
          ? { status: 200, body: { data: { type, uuid: 'u', options: null } } }
          : undefined;
      return type;
    },
    async storeWithoutRight() {
      server.before = ({ method, path }) =>
        method === 'POST' && path.startsWith('secret/data/')
          ? { status: 403, body: { errors: ['permission denied'] } }
          : undefined;
      return storeAt();
    },
    async seal() {
      server.before = () => ({ status: 503, body: { errors: ['Vault is sealed'] } });
    },
  };
}

/** What the contract of stores has, in words for people; `undefined`: it is of the tests alone. */
const words: Readonly<Record<keyof typeof vaultLacks | keyof typeof vaultLacksInVersion1, string | undefined>> = {
  uniqueNames: 'names that no two certificates have',
  findsMarks: 'a search for the copies of one certificate',
  refuses: 'content that is known beforehand to be refused',
  store_content_refused: 'content that it refuses (`store_content_refused`)',
  store_quota_used_up: 'a number of certificates that is used up (`store_quota_used_up`)',
  store_held: 'a copy that is locked (`store_held`)',
  store_in_use: 'a copy that may not go, since something uses it (`store_in_use`)',
  deleted: 'a copy that was deleted, and can be brought back',
  'half-made': 'a copy that is only half made',
  empty: 'a copy whose content was destroyed',
  lag: undefined,
  longWrites: undefined,
  same: undefined,
  silentListings: undefined,
  givesKeys: undefined,
  identity: undefined,
  idsAreReferredTo: undefined,
  importIsIdempotent: undefined,
  reimportsInPlace: undefined,
};

/** Made anew by `npx vitest run --project main test/services/vault/page.test.ts -u`. */
test('the page says what it does not have, and why', async () => {
  const rows = Object.entries(words).flatMap(([key, what]) => {
    const [two, one] = [vaultLacks, vaultLacksInVersion1].map((lacks) => lacks[key as keyof typeof lacks]);
    if (what === undefined || one === undefined) return [];
    return [`| ${what} | ${two === undefined ? 'has it' : `no: ${two}`} | no: ${one} |`];
  });
  const table = ['| what | version 2 | version 1 |', '|---|---|---|', ...rows].join('\n');
  const made = text.replace(/<!-- lacks -->[\s\S]*<!-- \/lacks -->/, `<!-- lacks -->\n\n${table}\n\n<!-- /lacks -->`);
  await expect(made).toMatchFileSnapshot(page);
});
