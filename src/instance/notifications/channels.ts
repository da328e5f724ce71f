import * as z from 'zod/mini';
import { CodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Runtime } from '../../runtime.ts';
import type { Key, Row, Table } from '../../table/table.ts';
import { type Fields, invalid, memberOf, objectOf, optionalBoolean, requiredText } from '../rows/fields.ts';
import { partitionOf } from '../rows/partitions.ts';
import { decodeRow, formatted } from '../rows/row-format.ts';
import type { ChannelVersion, Instance } from '../tenants/instance.ts';
import { checkEndpoint } from './endpoint.ts';
import { type ChannelType, newestSlackVersion } from './events.ts';

/** Where notifications go, as the REST API shows it. */
export interface Channel {
  readonly id: string;
  readonly type: ChannelType;
  readonly endpoint: string;
  readonly is_active: boolean;
  /** Payload version, for ever the one it was made with. */
  readonly version: ChannelVersion;
}

const channelSchema = z.object({
  type: z.enum(['url', 'slack']),
  endpoint: z.string(),
  is_active: z.boolean(),
  version: z.literal([1, 2, 3, 4, 5] as const satisfies readonly ChannelVersion[]),
});

export interface Channels {
  readonly list: () => Promise<readonly Channel[]>;
  readonly get: (id: string) => Promise<Channel>;
  /**
   * Body: `{type, endpoint, is_active?, version?}`; `version` is our own, and by default the newest
   * of the type that the instance offers.
   */
  create(body: unknown): Promise<Channel>;
  /** Body: `{endpoint}`. */
  updateEndpoint(id: string, body: unknown): Promise<Channel>;
  /** Body: `{enabled}`. */
  toggle(id: string, body: unknown): Promise<Channel>;
  delete(id: string): Promise<{
    readonly message: string;
  }>;
}

/**
 * The channels of one instance, kept on the table. The operations take request bodies and throw
 * coded errors.
 */
export function channels(context: { instance: Instance; table: Table; runtime: Runtime }): Channels {
  const { instance, table, runtime } = context;
  const partition = partitionOf(instance.crn, 'channel');
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
    await instance.rates.channelUpdate(id);
    const outcome = await table.update(keyOf(id), { set }, { exists: 'endpoint' });
    if (!outcome.applied) throw notFound(id);
    return decodeChannel(outcome.row);
  }

  return {
    list,
    get,

    async create(body: unknown): Promise<Channel> {
      const fields = objectOf(body);
      const type = requiredText(fields, 'type', 20);
      if (type !== 'slack' && type !== 'url') throw invalid('type is neither url nor slack');
      const endpoint = endpointOf(fields, instance);
      const is_active = optionalBoolean(fields, 'is_active') ?? true;
      const version = versionOf(fields, type, instance);
      await instance.rates.channelCreate('');
      if ((await list()).length >= limits.channels) {
        throw new CodedError('instance_full', `the instance has ${limits.channels} channels, and takes no more`, {
          fields: { what: 'channels' },
        });
      }
      const id = runtime.newId();
      await table.putIfAbsent(keyOf(id), formatted({ type, endpoint, is_active, version }));
      return { id, type, endpoint, is_active, version };
    },

    async updateEndpoint(id: string, body: unknown): Promise<Channel> {
      return change(id, { endpoint: endpointOf(objectOf(body), instance) });
    },

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

function decodeChannel(row: Row): Channel {
  return { id: row.sort, ...decodeRow(channelSchema, row) };
}

function notFound(id: string): CodedError {
  return new CodedError('instance_not_found', `there is no channel ${id} in this instance`);
}

/**
 * The payload version of a new channel: the newest of its type that the instance offers, unless the
 * request names an older one.
 */
function versionOf(fields: Fields, type: ChannelType, instance: Instance): ChannelVersion {
  const { channelVersion } = instance;
  const newest = type === 'slack' && channelVersion > newestSlackVersion ? newestSlackVersion : channelVersion;
  const asked = memberOf(fields, 'version') ?? newest;
  const version = ([1, 2, 3, 4, 5] as const).find((known) => known === asked && known <= newest);
  if (version === undefined) throw invalid(`version is not a payload version from 1 to ${newest}`);
  return version;
}

function endpointOf(fields: Fields, instance: Instance): string {
  const endpoint = requiredText(fields, 'endpoint', limits.channelEndpointCharacters);
  return checkEndpoint(endpoint, { loopback: instance.allowLoopbackChannels, private: instance.allowPrivateChannels });
}
