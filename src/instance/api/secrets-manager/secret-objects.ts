import { defined } from '../../../defined.ts';
import {
  type CertificateRow,
  type ContentPem,
  isIssued,
  type VersionBefore,
} from '../../certificates/certificate-row.ts';
import { defaultGroup, type SecretGroup } from '../../certificates/secret-groups.ts';
import { aliasOf, secretCrnOf, secretIdOf, versionIdOf } from './secret-ids.ts';

/** What an answer of the API holds. */
export type SecretObject = Readonly<Record<string, unknown>>;

const states = { 0: 'pre_activation', 1: 'active', 2: 'suspended', 3: 'deactivated', 5: 'destroyed' } as const;
export type SecretState = keyof typeof states;

/** Who nobody noted. */
const nobody = 'unknown';

const timeText = (at: number): string => new Date(at).toISOString();

export const typeOf = ({ imported }: Pick<CertificateRow, 'imported'>): 'imported_cert' | 'public_cert' =>
  imported === false ? 'public_cert' : 'imported_cert';

/** A certificate that has expired is destroyed there, and nothing but its metadata is given out. */
export function stateOf(row: CertificateRow, now: number): SecretState {
  if (!isIssued(row)) return row.issuance?.status === 'failed' ? 3 : 0;
  return row.expiresOn < now ? 5 : 1;
}

/** A secret as the API shows it, without its data. */
export function metadataObject(instanceCrn: string, row: CertificateRow, now: number): SecretObject {
  const id = secretIdOf(row.id);
  const { created, labels = [], customMetadata, locks = [] } = row;
  const state = stateOf(row, now);
  return {
    id,
    crn: secretCrnOf(instanceCrn, id),
    secret_type: typeOf(row),
    secret_group_id: row.group ?? defaultGroup,
    name: row.name,
    ...(row.description !== '' && { description: row.description }),
    labels,
    custom_metadata: parsed(customMetadata),
    state,
    state_description: states[state],
    created_by: created?.by || nobody,
    created_at: timeText(created?.at ?? row.lastModified),
    updated_at: timeText(row.lastModified),
    versions_total: row.previous === undefined ? 1 : 2,
    locks_total: locks.length,
    downloaded: row.downloaded ?? false,
    ...(isIssued(row) && certificateMembers(row)),
    ...(row.imported === false ? orderMembers(row) : includedMembers(row)),
  };
}

/** A secret that is there, and of which nobody can tell more: its row cannot be read. */
export function damagedObject(instanceCrn: string, certificate: string): SecretObject {
  const id = secretIdOf(certificate);
  const never = timeText(0);
  return {
    ...{ id, crn: secretCrnOf(instanceCrn, id), secret_type: 'imported_cert', secret_group_id: defaultGroup },
    ...{ name: id, labels: [], custom_metadata: {}, state: 2, state_description: states[2] },
    ...{ created_by: nobody, created_at: never, updated_at: never, versions_total: 0, locks_total: 0 },
  };
}

function certificateMembers({ domains, issuer, serialNumber, beginsOn, expiresOn, ...row }: CertificateRow) {
  return {
    common_name: domains[0],
    alt_names: domains,
    issuer,
    serial_number: colons(serialNumber),
    signing_algorithm: row.algorithm,
    key_algorithm: row.keyAlgorithm,
    validity: { not_before: timeText(beginsOn), not_after: timeText(expiresOn) },
    expiration_date: timeText(expiresOn),
  };
}

/** Absent of what an older program wrote, and nobody can tell without opening it. */
function includedMembers({ included }: CertificateRow) {
  if (included === undefined) return {};
  return { private_key_included: included.includes('key'), intermediate_included: included.includes('chain') };
}

/** What the API says of ordered certificates alone. */
function orderMembers({ issuance, autoRenew = false, rotateKeys = false }: CertificateRow) {
  return {
    rotation: { auto_rotate: autoRenew, rotate_keys: rotateKeys },
    bundle_certs: false,
    ...(issuance !== undefined && {
      issuance_info: {
        auto_rotated: issuance.auto,
        ordered_on: timeText(issuance.orderedOn),
        state: issuance.status === 'pending' ? 0 : issuance.status === 'valid' ? 1 : 3,
        ...(issuance.code !== '' && { error_code: issuance.code, error_message: issuance.info }),
      },
    }),
  };
}

/** PEM as the API gives it out; what was not given is absent. */
export function dataMembers({ content, intermediate, priv_key }: ContentPem): SecretObject {
  return { certificate: content, ...defined({ intermediate, private_key: priv_key }) };
}

/** A version that is kept, as the API shows it, without its data. */
export function versionObject(row: CertificateRow, content: string, now: number): SecretObject {
  const isCurrent = content === row.content;
  const facts: Partial<VersionBefore> = isCurrent ? row : (row.before ?? {});
  const { serialNumber, beginsOn, expiresOn, made } = facts;
  const hasFacts = !isCurrent || isIssued(row);
  return {
    id: versionIdOf(content),
    secret_id: secretIdOf(row.id),
    secret_name: row.name,
    secret_type: typeOf(row),
    secret_group_id: row.group ?? defaultGroup,
    alias: aliasOf(row, content),
    created_by: made?.by || nobody,
    created_at: timeText(made?.at ?? row.lastModified),
    payload_available: stateOf(row, now) === 1,
    auto_rotated: false,
    downloaded: row.downloaded ?? false,
    version_custom_metadata: parsed(made?.metadata),
    ...(hasFacts &&
      beginsOn !== undefined &&
      expiresOn !== undefined && {
        serial_number: colons(serialNumber ?? ''),
        validity: { not_before: timeText(beginsOn), not_after: timeText(expiresOn) },
        expiration_date: timeText(expiresOn),
      }),
  };
}

/** The locks of a secret, or of one version of it. */
export function locksObject(row: CertificateRow, contents: readonly string[]): SecretObject {
  return {
    secret_id: secretIdOf(row.id),
    secret_group_id: row.group ?? defaultGroup,
    secret_type: typeOf(row),
    secret_name: row.name,
    versions: contents.map((content) => ({
      version_id: versionIdOf(content),
      version_alias: aliasOf(row, content),
      payload_available: true,
      locks: (row.locks ?? []).filter((lock) => lock.content === content).map(({ name }) => name),
    })),
  };
}

/** Each lock of a secret, or of the version with this content, as lists show it. */
export function lockObjects(row: CertificateRow, of?: string): readonly SecretObject[] {
  return (row.locks ?? [])
    .filter(({ content }) => of === undefined || content === of)
    .map((lock) => ({
      name: lock.name,
      description: lock.description,
      attributes: parsed(lock.attributes),
      created_at: timeText(lock.createdAt),
      updated_at: timeText(lock.updatedAt),
      created_by: lock.createdBy || nobody,
      secret_group_id: row.group ?? defaultGroup,
      secret_id: secretIdOf(row.id),
      secret_version_id: versionIdOf(lock.content),
      secret_version_alias: aliasOf(row, lock.content),
    }));
}

export function groupObject({ id, name, description, ...group }: SecretGroup): SecretObject {
  return {
    id,
    name,
    description,
    created_at: timeText(group.createdAt),
    created_by: group.createdBy,
    updated_at: timeText(group.updatedAt),
  };
}

const parsed = (text: string | undefined): unknown => (text === undefined ? {} : JSON.parse(text));

/** Hex as the API writes serial numbers: two digits, a colon, two digits. */
const colons = (hex: string): string => hex.padStart(hex.length + (hex.length % 2), '0').replace(/(..)(?=.)/g, '$1:');
