import type { CertificateContent } from '../../../src/certificate/certificate.ts';
import { type HttpSend, sendOverNetwork } from '../../../src/http/client.ts';
import type { VaultStoreOptions } from '../../../src/services/vault/store.ts';
import type { Store } from '../../../src/store/store.ts';

/** A server whose refusals are asked for: a real one, or one that is played. */
export interface RefusingServer {
  /** A store of the folder `standby` of the mount `secret`, unless the options say otherwise. */
  storeAt(options?: Partial<VaultStoreOptions>): Store;
  /** Writes a secret as somebody else does, by its path below the mount. */
  write(path: string, data: Readonly<Record<string, unknown>>): Promise<void>;
  /** As `vault kv delete`. */
  deleteSoftly(path: string): Promise<void>;
  /** Mounts an engine of this type, which is no key/value engine, and says where. */
  mountOther(type: string): Promise<string>;
  /** A store whose token may do everything but write content. */
  storeWithoutRight(): Promise<Store>;
  /** As `vault operator seal`. */
  seal(): Promise<void>;
}

export interface RefusalContent {
  readonly content: CertificateContent;
  readonly renewed: CertificateContent;
  /** PEM of two certificates. */
  readonly pems: readonly [string, string];
}

export interface Refusal {
  /** As the page of the service says it. */
  readonly what: string;
  /** Code of the error of the store. */
  readonly code: string;
  /** What the program makes of it, where that is another code. */
  readonly told?: string;
  refuse(server: RefusingServer, given: RefusalContent): Promise<unknown>;
}

const mark = { store: 'primary', certificate: 'shop' };
const named = (name: string) => ({ metadata: { name, description: '', tags: [] }, mark, exactName: true });

/** What a read cannot understand, thrown. */
async function readAt(store: Store, id: string): Promise<unknown> {
  const reading = await store.read(id);
  if (reading.state === 'unreadable') throw reading.error;
  return reading;
}

/** All that a key/value engine, or this service on it, refuses, in the order of the page. */
export const refusals: readonly Refusal[] = [
  {
    what: 'to write over a secret of somebody else, with `naming: exact`',
    code: 'store_conflict',
    told: 'store_name_taken',
    async refuse(server, { content }) {
      await server.write('standby/theirs', { user: 'me' });
      await server.storeAt().import({ content, ...named('theirs') });
    },
  },
  {
    what: 'the same where somebody else has deleted it, and could bring it back',
    code: 'store_conflict',
    told: 'store_name_taken',
    async refuse(server, { content }) {
      await server.write('standby/deleted', { user: 'me' });
      await server.deleteSoftly('standby/deleted');
      await server.storeAt().import({ content, ...named('deleted') });
    },
  },
  {
    what: 'a name that no path can have (`a//b`, `../a`, a slash at its end), with `naming: exact`',
    code: 'store_name_unfit',
    refuse: (server, { content }) => server.storeAt().import({ content, ...named('a//b') }),
  },
  {
    what: 'to change or remove a certificate of several secrets, as acme.sh writes it',
    code: 'store_refused',
    async refuse(server, { renewed, pems: [pem] }) {
      await server.write('standby/shop.example.test/cert.pem', { value: pem });
      await server.write('standby/shop.example.test/cert.key', { value: 'x' });
      await server.storeAt().reimport('shop.example.test/', renewed);
    },
  },
  {
    what: 'to write over what somebody has changed since it was read',
    code: 'store_unavailable',
    async refuse(server, { content, renewed }) {
      const { id } = await server.storeAt().import({ content, ...named('changed') });
      const send: HttpSend = async (request, more) => {
        // Between our read and our write, somebody writes.
        if (request.method === 'POST' && String(request.url).includes('/data/'))
          await server.write(`standby/${id}`, { a: 'b' });
        return sendOverNetwork(request, more);
      };
      await server.storeAt({ send }).reimport(id, renewed);
    },
  },
  {
    what: 'a secret two of whose fields disagree about the certificate',
    code: 'store_content_unreadable',
    async refuse(server, { pems: [one, other] }) {
      await server.write('standby/ambiguous', { certificate: one, crt: other });
      await readAt(server.storeAt(), 'ambiguous');
    },
  },
  {
    what: 'a secret without a certificate, under the id of one',
    code: 'store_layout_unknown',
    async refuse(server) {
      await server.write('standby/password', { user: 'me' });
      await readAt(server.storeAt(), 'password');
    },
  },
  {
    what: 'a mount that is a PKI engine, or any that is no key/value engine',
    code: 'store_refused',
    async refuse(server) {
      const mount = await server.mountOther('pki');
      await server.storeAt({ mount }).list({});
    },
  },
  {
    what: 'a mount of another version than `version` says',
    code: 'store_refused',
    refuse: (server) => server.storeAt({ version: 1 }).list({}),
  },
  {
    what: 'a mount that is not there',
    code: 'store_unauthorized',
    refuse: (server) => server.storeAt({ mount: 'nowhere' }).list({}),
  },
  {
    what: 'a namespace that is not there, or that the server passes over (Vault Community)',
    code: 'store_refused',
    refuse: (server) => server.storeAt({ namespace: 'nobody' }).list({}),
  },
  {
    what: 'what the policy of the token does not allow',
    code: 'store_unauthorized',
    async refuse(server, { content, renewed }) {
      const { id } = await server.storeAt().import({ content, ...named('right') });
      await (await server.storeWithoutRight()).reimport(id, renewed);
    },
  },
  {
    what: 'everything, while it is sealed',
    code: 'store_unavailable',
    async refuse(server) {
      const store = server.storeAt();
      await store.list({});
      await server.seal();
      await store.list({});
    },
  },
];
