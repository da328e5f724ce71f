import type { PartNames } from '../../../certificate/pem.ts';
import { defined } from '../../../defined.ts';
import { CodedError } from '../../../errors.ts';
import type { Runtime } from '../../../runtime.ts';
import type { Row } from '../../../table/table.ts';
import { type CertificateRow, isIssued, type Lock } from '../../certificates/certificate-row.ts';
import { type CertificateRows, newCertificateId } from '../../certificates/certificate-rows.ts';
import { defaultGroup, type SecretGroups } from '../../certificates/secret-groups.ts';
import type { SecretNames } from '../../certificates/secret-names.ts';
import type { Announce } from '../../notifications/delivery.ts';
import { type Fields, invalid, memberOf, objectOf, optionalText, requiredText } from '../../rows/fields.ts';
import type { Instance } from '../../tenants/instance.ts';
import { acceptContent } from '../accepted-content.ts';
import { afterReimport } from '../certificates.ts';
import {
  checkName,
  descriptionIn,
  groupNameIn,
  labelsIn,
  metadataIn,
  nameIn,
  patchedMetadata,
} from './secret-fields.ts';
import { certificateIdIn, contentOfVersion, keptContents } from './secret-ids.ts';
import { listSecrets, pageAsked, pageObject, partsIn } from './secret-list.ts';
import {
  damagedObject,
  dataMembers,
  groupObject,
  lockObjects,
  locksObject,
  metadataObject,
  type SecretObject,
  stateOf,
  typeOf,
  versionObject,
} from './secret-objects.ts';

/** What the three texts of an imported certificate are called. */
const partNames: PartNames = { certificate: 'certificate', intermediate: 'intermediate', privateKey: 'private_key' };

/** Bytes of the locks of one secret: they stand in its row. */
const locksBytes = 64 * 1024;
const mostLocks = 1_000;

/** A query, and the path that it was asked of: lists name their other pages by it. */
export interface ListAsked {
  readonly path: string;
  readonly query: ReadonlyMap<string, string>;
}

/** Who asks: the name of an API key. */
export type By = string;

export type Secrets = ReturnType<typeof secrets>;

/**
 * Secrets Manager's operations on the certificates of one instance, from request bodies to answer
 * bodies. They throw `instance_not_found`, `instance_locked`, `instance_name_taken`,
 * `instance_request_invalid` and the codes of certificates; nothing is stored then.
 */
export function secrets(context: {
  readonly instance: Instance;
  readonly rows: CertificateRows;
  readonly names: SecretNames;
  readonly groups: SecretGroups;
  readonly runtime: Runtime;
  readonly announce: Announce;
  /** Whether an authority issues here that clients may trust. */
  readonly renewsForReal: boolean;
}) {
  const { instance, rows, names, groups, runtime, announce, renewsForReal } = context;
  const { now } = runtime;
  const show = (row: CertificateRow) => metadataObject(instance.crn, row, now());

  async function find(secretId: string): Promise<CertificateRow> {
    const id = certificateIdIn(secretId);
    const row = id === undefined ? undefined : await rows.get(id);
    if (row === undefined) throw noSecret(secretId);
    return row;
  }

  /** The row and the content that is meant, of a secret that has that version. */
  async function findVersion(secretId: string, version: string) {
    const row = await find(secretId);
    const content = contentOfVersion(row, version);
    if (content === undefined)
      throw new CodedError('instance_not_found', `the secret ${secretId} has no version ${version}`);
    return { row, content };
  }

  /** A secret with its data, where it has any to give. */
  async function whole(row: CertificateRow): Promise<SecretObject> {
    if (stateOf(row, now()) !== 1) return show(row);
    const read = await rows.read(row.id);
    if (read === undefined) throw noSecret(row.id);
    await rows.noteDownload(read.row);
    return { ...show(read.row), downloaded: true, ...dataMembers(read.pem) };
  }

  async function knownGroup(id: string): Promise<void> {
    if ((await groups.get(id)) === undefined) throw invalid(`there is no secret group ${id}`);
  }

  async function create(body: unknown, by: By): Promise<SecretObject> {
    const fields = objectOf(body);
    const type = requiredText(fields, 'secret_type', 64);
    if (type !== 'imported_cert') throw invalid('an instance of one’s own makes secrets of type imported_cert alone');
    refuseCsr(fields);
    const name = nameIn(fields);
    const description = descriptionIn(fields) ?? '';
    const group = optionalText(fields, 'secret_group_id', 64) ?? defaultGroup;
    const labels = labelsIn(fields) ?? [];
    const customMetadata = metadataIn(fields, 'custom_metadata');
    const versionMetadata = metadataIn(fields, 'version_custom_metadata');
    const { pem, facts } = acceptContent(fields, partNames, now());
    await knownGroup(group);
    const id = newCertificateId(runtime);
    const created = { at: now(), by };
    const made = { ...created, metadata: versionMetadata };
    await names.take(type, name, id);
    const entry = { id, name, description, ...facts, labels, customMetadata, group, created, made };
    const row = await announce('cert_imported', (writeBefore) =>
      rows.add(entry, pem, instance.limits.certificates, writeBefore),
    ).catch(async (thrown: unknown) => {
      // One that may have been made all the same keeps its name.
      const isMaybeMade = thrown instanceof CodedError && thrown.code === 'table_unavailable';
      if (!isMaybeMade) await names.free(type, name, id);
      throw thrown;
    });
    if ((await groups.get(group)) === undefined) {
      await rows.remove(id);
      await names.free(type, name, id);
      throw invalid(`the secret group ${group} was deleted meanwhile`);
    }
    await names.keep(type, name, id);
    return { ...show(row), ...dataMembers(pem) };
  }

  async function createVersion(secretId: string, body: unknown, by: By): Promise<SecretObject> {
    const fields = objectOf(body);
    const before = await find(secretId);
    if (before.imported === false && memberOf(fields, 'certificate') === undefined)
      throw invalid('what was ordered is renewed over Certificate Manager’s API, or takes a certificate');
    refuseCsr(fields);
    const { pem, facts } = acceptContent(fields, partNames, now());
    const versionMetadata = metadataIn(fields, 'version_custom_metadata');
    const customMetadata = metadataIn(fields, 'custom_metadata');
    const further = (row: CertificateRow) => ({
      ...afterReimport(row, renewsForReal),
      customMetadata,
      made: { at: now(), by, metadata: versionMetadata },
    });
    const judge = (row: CertificateRow) => refuseDestroyed(row, now());
    const row = await announce('cert_reimported', (writeBefore) =>
      rows.replaceContent(before.id, facts, pem, judge, writeBefore, further),
    );
    if (row === undefined) throw noSecret(secretId);
    return { ...versionObject(row, row.content, now()), ...dataMembers(pem) };
  }

  async function readVersion(secretId: string, version: string): Promise<SecretObject> {
    const { row, content } = await findVersion(secretId, version);
    const object = versionObject(row, content, now());
    if (object.payload_available !== true) return object;
    const read = content === row.content ? await rows.read(row.id) : await rows.readPrevious(row.id);
    return { ...object, ...(read?.pem !== undefined && dataMembers(read.pem)) };
  }

  async function patch(secretId: string, body: unknown): Promise<SecretObject> {
    const fields = objectOf(body);
    refuseCsr(fields);
    const before = await find(secretId);
    const type = typeOf(before);
    const name = optionalText(fields, 'name', 256);
    const description = descriptionIn(fields);
    const labels = labelsIn(fields);
    const isRenamed = name !== undefined && name !== before.name;
    if (isRenamed) {
      checkName(name);
      await names.take(type, name, before.id);
    }
    const after = await rows.alter(before.id, (row) => {
      const customMetadata = patchedMetadata(fields, 'custom_metadata', row.customMetadata);
      return defined({ name, description, labels, customMetadata });
    });
    if (after === undefined) throw noSecret(secretId);
    if (isRenamed) {
      await names.keep(type, name, before.id);
      await names.free(type, before.name, before.id);
    }
    return show(after);
  }

  async function remove(secretId: string): Promise<undefined> {
    const { id, name, imported } = await find(secretId);
    const removed = await announce('cert_deleted', (writeBefore) => rows.remove(id, writeBefore));
    if (removed === undefined) throw noSecret(secretId);
    await names.free(typeOf({ imported }), name, id);
    return undefined;
  }

  async function byName(groupName: string, type: string, name: string): Promise<SecretObject> {
    const group = await groups.byName(groupName);
    const isIt = (row: CertificateRow | undefined): row is CertificateRow =>
      row !== undefined && row.name === name && typeOf(row) === type && (row.group ?? defaultGroup) === group?.id;
    const holder = await names.holder(type, name);
    const held = holder === undefined ? undefined : await rows.get(holder);
    if (isIt(held)) return whole(held);
    // What came over Certificate Manager's API has no row for its name.
    for await (const row of rows.all()) if (isIt(row)) return whole(row);
    throw new CodedError('instance_not_found', `there is no secret ${name} of type ${type} in ${groupName}`);
  }

  async function list({ path, query }: ListAsked): Promise<SecretObject> {
    const { page, total } = await listSecrets(rows, query);
    const objects = page.map((one) => ('damaged' in one ? damagedObject(instance.crn, one.damaged) : show(one)));
    return pageObject('secrets', objects, { total, path, query });
  }

  async function lock(secretId: string, version: string, body: unknown, by: By): Promise<SecretObject> {
    const { row, content } = await findVersion(secretId, version);
    const given = locksIn(body);
    const after = await rows.alter(row.id, (current) => {
      if (current.content !== content && current.previous !== content) return undefined;
      const isGiven = (one: Lock) => one.content === content && given.some(({ name }) => name === one.name);
      const before = current.locks ?? [];
      const made = given.map((one): Lock => {
        const known = before.find((other) => other.content === content && other.name === one.name);
        return { ...one, content, createdAt: known?.createdAt ?? now(), updatedAt: now(), createdBy: by };
      });
      const locks = [...before.filter((one) => !isGiven(one)), ...made];
      if (locks.length > mostLocks || Buffer.byteLength(JSON.stringify(locks)) > locksBytes)
        throw invalid(`the locks of one secret are at most ${mostLocks}, and take at most ${locksBytes} bytes`);
      return { locks };
    });
    if (after === undefined) throw new CodedError('instance_not_found', `the secret ${secretId} has no such version`);
    return locksObject(after, [content]);
  }

  async function unlock(secretId: string, version: string, query: ReadonlyMap<string, string>): Promise<SecretObject> {
    const { row, content } = await findVersion(secretId, version);
    const which = partsIn(query, 'name');
    const after = await rows.alter(row.id, (current) => {
      const isLost = ({ content: of }: Lock) => of !== current.content && of !== current.previous;
      const goes = (one: Lock) =>
        (one.content === content || isLost(one)) && (which.length === 0 || which.includes(one.name));
      return { locks: (current.locks ?? []).filter((one) => !goes(one)) };
    });
    if (after === undefined) throw noSecret(secretId);
    return locksObject(after, [content]);
  }

  return {
    create,
    createVersion,
    readVersion,
    patch,
    remove,
    byName,
    list,
    lock,
    unlock,

    read: async (secretId: string) => whole(await find(secretId)),
    metadata: async (secretId: string) => show(await find(secretId)),

    async versions(secretId: string): Promise<SecretObject> {
      const row = await find(secretId);
      const kept = keptContents(row);
      return { versions: kept.map((content) => versionObject(row, content, now())), total_count: kept.length };
    },

    async versionMetadata(secretId: string, version: string): Promise<SecretObject> {
      const { row, content } = await findVersion(secretId, version);
      return versionObject(row, content, now());
    },

    async removeData(secretId: string, version: string): Promise<undefined> {
      const { row, content } = await findVersion(secretId, version);
      if (content === row.content) throw invalid('the data of the version in force goes with its secret alone');
      await rows.removePrevious(row.id, content);
      return undefined;
    },

    async locksOf(secretId: string, version: string | undefined, { path, query }: ListAsked): Promise<SecretObject> {
      const { row, content } =
        version === undefined
          ? { row: await find(secretId), content: undefined }
          : await findVersion(secretId, version);
      const { offset, limit } = pageAsked(query);
      const locks = lockObjects(row, content).filter(({ name }) => String(name).includes(query.get('search') ?? ''));
      return pageObject('locks', locks.slice(offset, offset + limit), { total: locks.length, path, query });
    },

    async allLocks({ path, query }: ListAsked): Promise<SecretObject> {
      const { offset, limit } = pageAsked(query);
      const wanted = partsIn(query, 'groups');
      const found: SecretObject[] = [];
      for await (const row of rows.all()) {
        if ((row.locks ?? []).length === 0) continue;
        if (wanted.length > 0 && !wanted.includes(row.group ?? defaultGroup)) continue;
        found.push(locksObject(row, keptContents(row)));
      }
      return pageObject('secrets_locks', found.slice(offset, offset + limit), { total: found.length, path, query });
    },

    async groups(): Promise<SecretObject> {
      const all = await groups.list();
      return { secret_groups: all.map(groupObject), total_count: all.length };
    },

    async group(id: string): Promise<SecretObject> {
      const group = await groups.get(id);
      if (group === undefined) throw noGroup(id);
      return groupObject(group);
    },

    async createGroup(body: unknown, by: By): Promise<SecretObject> {
      const fields = objectOf(body);
      const name = groupNameIn(fields);
      return groupObject(await groups.create({ name, description: descriptionIn(fields) ?? '', createdBy: by }));
    },

    async updateGroup(id: string, body: unknown): Promise<SecretObject> {
      const fields = objectOf(body);
      const description = descriptionIn(fields);
      const name = memberOf(fields, 'name') === undefined ? undefined : groupNameIn(fields);
      const group = await groups.update(id, defined({ name, description }));
      if (group === undefined) throw noGroup(id);
      return groupObject(group);
    },

    async removeGroup(id: string): Promise<undefined> {
      const isEmpty = async () => {
        let found = 0;
        const isIn = (row: Row) => row.group === id;
        for await (const _ of rows.all(isIn, () => (found += 1))) found += 1;
        return found === 0;
      };
      const removed = await groups.remove(id, isEmpty);
      if (removed === undefined) throw noGroup(id);
      if (!removed) throw invalid(`there are secrets in the group ${id}, and they cannot move to another one`);
      return undefined;
    },
  };
}

/** What a body asks to lock: a list of locks, each with a name. */
function locksIn(body: unknown): readonly Pick<Lock, 'name' | 'description' | 'attributes'>[] {
  const locks = memberOf(objectOf(body), 'locks');
  if (!Array.isArray(locks) || locks.length === 0) throw invalid('locks is no list of one lock or more');
  return locks.map((given) => {
    const fields = objectOf(given, 'a lock');
    const name = requiredText(fields, 'name', 64);
    if (name.length < 2 || name.includes(',')) throw invalid('the name of a lock has 2 to 64 characters, and no comma');
    return {
      name,
      description: descriptionIn(fields) ?? '',
      attributes: metadataIn(fields, 'attributes') ?? '{}',
    };
  });
}

function refuseCsr(fields: Fields): void {
  if (memberOf(fields, 'managed_csr') !== undefined)
    throw invalid('managed_csr: an instance of one’s own makes no certificate signing requests');
}

/** Nothing but its deletion works on what was destroyed. */
function refuseDestroyed(row: CertificateRow, now: number): void {
  if (isIssued(row) && stateOf(row, now) === 5) throw invalid('the secret is destroyed: its certificate has expired');
}

const noSecret = (id: string) => new CodedError('instance_not_found', `there is no secret ${id} in this instance`);
const noGroup = (id: string) => new CodedError('instance_not_found', `there is no secret group ${id}`);
