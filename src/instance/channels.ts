import * as z from 'zod/mini';
import { CodedError } from '../errors.ts';
import { limits } from '../limits.ts';
import type { Runtime } from '../runtime.ts';
import type { Key, Row, Table } from '../table/table.ts';
import { type Fields, invalid, memberOf, objectOf, optionalBoolean, requiredText } from './fields.ts';
import type { ChannelVersion, Instance } from './instance.ts';

/** Where notifications go, as the REST API shows it. */
export interface Channel {
  readonly id: string;
  readonly type: 'url';
  readonly endpoint: string;
  readonly is_active: boolean;
  /** Payload version, for ever the one it was made with. */
  readonly version: ChannelVersion;
}

const channelSchema = z.object({
  endpoint: z.string(),
  is_active: z.boolean(),
  version: z.union([z.literal(4), z.literal(5)]),
});

/** The channels of one instance, kept on the table. The operations take request bodies and throw coded errors. */
export function channels(context: { instance: Instance; table: Table; runtime: Runtime }) {
  const { instance, table, runtime } = context;
  const partition = `instance.1/${instance.crn}/channel`;
  const keyOf = (id: string): Key => ({ partition, sort: id });

  async function list(): Promise<readonly Channel[]> {
    const page = await table.query({ partition, limit: limits.channels });
    return page.rows.map(decodeChannel);
  }

  async function get(id: string): Promise<Channel> {
    const row = await table.get(keyOf(id));
    if (row === undefined) throw notFound(id);
    return decodeChannel(row);
  }

  /** Changes one field of a channel that is there. */
  async function change(id: string, set: { readonly endpoint: string } | { readonly is_active: boolean }) {
    await get(id);
    instance.rates.channelUpdate(id);
    const outcome = await table.update(keyOf(id), { set }, { exists: 'endpoint' });
    if (!outcome.applied) throw notFound(id);
    return decodeChannel(outcome.row);
  }

  return {
    list,
    get,

    /** Body: `{type, endpoint, is_active?, version?}`; `version` is our own, and by default the newest that the instance offers. */
    async create(body: unknown): Promise<Channel> {
      const fields = objectOf(body);
      const type = requiredText(fields, 'type', 20);
      if (type === 'slack') throw new CodedError('instance_not_offered', 'channels of type slack are not offered');
      if (type !== 'url') throw invalid('type is not url');
      const endpoint = endpointOf(fields, instance);
      const is_active = optionalBoolean(fields, 'is_active') ?? true;
      const version = versionOf(fields, instance);
      instance.rates.channelCreate('');
      if ((await list()).length >= limits.channels) {
        throw new CodedError('instance_full', `the instance has ${limits.channels} channels, and takes no more`);
      }
      const id = runtime.newId();
      await table.putIfAbsent(keyOf(id), { endpoint, is_active, version });
      return { id, type, endpoint, is_active, version };
    },

    /** Body: `{endpoint}`. */
    async updateEndpoint(id: string, body: unknown): Promise<Channel> {
      return change(id, { endpoint: endpointOf(objectOf(body), instance) });
    },

    /** Body: `{enabled}`. */
    async toggle(id: string, body: unknown): Promise<Channel> {
      const enabled = optionalBoolean(objectOf(body), 'enabled');
      if (enabled === undefined) throw invalid('enabled is missing');
      return change(id, { is_active: enabled });
    },

    async delete(id: string): Promise<{ readonly message: string }> {
      const outcome = await table.delete(keyOf(id), { exists: 'endpoint' });
      if (!outcome.applied) throw notFound(id);
      return { message: 'The channel was deleted.' };
    },
  };
}

export type Channels = ReturnType<typeof channels>;

function decodeChannel(row: Row): Channel {
  const parsed = channelSchema.safeParse(row);
  if (!parsed.success) throw new CodedError('table_row_unreadable', `channel ${row.sort} cannot be understood`);
  return { id: row.sort, type: 'url', ...parsed.data };
}

function notFound(id: string): CodedError {
  return new CodedError('instance_not_found', `there is no channel ${id} in this instance`);
}

function versionOf(fields: Fields, instance: Instance): ChannelVersion {
  const version = memberOf(fields, 'version') ?? instance.channelVersion;
  if ((version !== 4 && version !== 5) || version > instance.channelVersion) {
    throw invalid(`version is not a payload version from 4 to ${instance.channelVersion}`);
  }
  return version;
}

/** Certificate Manager wants a public address with TLS. On this machine, where that is allowed, plain HTTP will do. */
function endpointOf(fields: Fields, instance: Instance): string {
  const endpoint = requiredText(fields, 'endpoint', limits.channelEndpointCharacters);
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined) throw invalid('endpoint is not a URL');
  if (url.username !== '' || url.password !== '') throw invalid('endpoint carries a user name or password');
  if (isLoopback(url.hostname)) {
    if (!instance.allowLoopbackChannels)
      throw invalid('endpoint is on this machine, which this instance does not allow');
    if (url.protocol === 'http:') return endpoint;
  }
  if (url.protocol !== 'https:') throw invalid('endpoint does not begin with https:');
  return endpoint;
}

function isLoopback(hostname: string): boolean {
  // The URL parser has brought other spellings of addresses (decimal, octal, short) to this one.
  return /^(localhost\.?|.+\.localhost\.?|127\.\d+\.\d+\.\d+|0\.0\.0\.0|\[::1?\]|\[::ffff:7f[0-9a-f]{2}:[0-9a-f]{1,4}\])$/.test(
    hostname,
  );
}
