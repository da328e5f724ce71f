import {
  cutText,
  type FoundMark,
  formatMarkWithin,
  type Mark,
  markDigest,
  parseMark,
  readMarkedDescription,
  writeMarkedDescription,
} from '../../store/mark.ts';
import type { DescriptiveMetadata } from '../../store/store.ts';

/** Limits of the service (its API description), in UTF-16 units, which is never too few. */
const nameCharacters = 256;
const descriptionCharacters = 1024;
const mostLabels = 30;
/** Of `custom_metadata`, which may have 10 KB in all. */
const markCharacters = 2_000;

/**
 * The service may not take an empty description, and leaves alone what an update does not name:
 * this stands for none.
 */
const noDescription = '--';
/** What is made of a name in which nothing can stay. */
const nameless = 'unnamed';
/** The member of `custom_metadata` that is ours; all others are somebody else's. */
export const ownMember = 'certstandby';
const labelStart = 'certstandby-';

/** The label by which copies with this mark are found. */
export const labelOf = (mark: FoundMark): string => labelStart + markDigest(mark);

export const isOwnLabel = (label: string): boolean => /^certstandby-[0-9a-f]{32}$/.test(label);

/** What a tag begins with that says in which secret group an original is. */
const groupStart = 'secret-group:';

/** As a group is called there: 2 to 64 characters. A name of others is no group. */
const isGroupName = (name: string): boolean => name.length >= 2 && name.length <= 64 && name.trim() === name;

const isGroupTag = (tag: string): boolean => tag.startsWith(groupStart) && isGroupName(tag.slice(groupStart.length));

/** The tag that stands for a group. */
const groupTag = (name: string): string => groupStart + name;

/** The group that these tags name. Absent: the one that every instance has. */
export const groupIn = (tags: readonly string[]): string | undefined => tags.find(isGroupTag)?.slice(groupStart.length);

/** Letters, digits, hyphens and full stops, as every document of the service takes them. */
export function secretName(name: string): string {
  const kept = cutText(
    name
      .replace(/^\*/, 'star')
      .replace(/[^A-Za-z0-9.-]+/g, '-')
      .replace(/^[.-]+/, ''),
    nameCharacters,
  ).replace(/[.-]+$/, '');
  return kept.length < 2 ? `${nameless}${kept === '' ? '' : `-${kept}`}` : kept;
}

/** Whether the service takes a name as it is. */
export const isSecretName = (name: string): boolean =>
  name.length >= 2 && name.length <= nameCharacters && /^\w[\w.-]*$/.test(name) && /[A-Za-z0-9]$/.test(name);

/** What is sent of a name, a description, tags and a mark. `name` is what the secret is called. */
export interface Described {
  readonly name: string;
  readonly description: string;
  readonly labels: readonly string[];
  /** Both always there: a service that merges would keep what is left out. */
  readonly own: { readonly mark: string | null; readonly name: string; readonly group?: string | null };
}

/** How something is to be described. */
export interface Describing {
  /** The name is taken as it is. */
  readonly exactName?: boolean;
  /** A tag may say a group. */
  readonly carryGroups?: boolean;
}

export function described(
  metadata: DescriptiveMetadata,
  mark: Mark | undefined,
  { exactName = false, carryGroups = false }: Describing = {},
): Described {
  const kept = keptOf(metadata, carryGroups);
  const labels = carryGroups ? kept.tags.filter((tag) => !isGroupTag(tag)) : kept.tags;
  return {
    name: exactName ? kept.name : secretName(kept.name),
    description: kept.description === '' ? noDescription : kept.description,
    labels: [...labels, ...(mark === undefined ? [] : [labelOf(mark)])],
    own: {
      mark: mark === undefined ? null : formatMarkWithin(mark, markCharacters),
      name: kept.name,
      ...(carryGroups && { group: groupIn(kept.tags) ?? null }),
    },
  };
}

/** What a store of this kind keeps; `carryGroups`: the tag that says a group, too. */
export function keptOf({ name, description, tags }: DescriptiveMetadata, carryGroups = false): DescriptiveMetadata {
  // Half a surrogate pair has no UTF-8: it would come back as another character than it went. The
  // last line of a description is a mark only where Certificate Manager's API wrote it.
  const text = writeMarkedDescription(description.toWellFormed(), undefined, descriptionCharacters);
  const given = tags.map((tag) => tag.toWellFormed());
  const group = carryGroups ? groupIn(given) : undefined;
  const labels = given.filter(
    (tag) => tag.length >= 2 && tag.length <= 64 && !isOwnLabel(tag) && !(carryGroups && isGroupTag(tag)),
  );
  return {
    name: cutText(name.toWellFormed(), nameCharacters) || nameless,
    description: text.length < 2 || text === noDescription ? '' : text,
    tags: [...[...new Set(labels)].slice(0, mostLabels - 1), ...(group === undefined ? [] : [groupTag(group)])],
  };
}

/** What the service says of a secret, as far as it is for people. */
interface Said {
  readonly name: string;
  readonly description: string;
  readonly labels: readonly string[];
  readonly own: unknown;
  /** What its group is called, where that is told: a copy says that of its original. */
  readonly group?: string | undefined;
}

/** Name, description, tags and mark of a secret; `carryGroups`: and its group, as a tag. */
export function readDescribed(
  { name, description, labels, own, group }: Said,
  carryGroups = false,
): DescriptiveMetadata & { readonly mark?: FoundMark } {
  const { mark: text, name: given, group: original } = ownOf(own);
  const inDescription = readMarkedDescription(description);
  const mark = text === undefined ? inDescription.mark : parseMark(text);
  // A secret that somebody has renamed is called what it is called now.
  const isGiven = given !== undefined && (given === name || secretName(given) === name);
  const kept = text === undefined ? inDescription.description : description;
  const told = mark === undefined ? group : original;
  return {
    name: isGiven ? given : name,
    description: kept === noDescription ? '' : kept,
    tags: [
      ...labels.filter((label) => !isOwnLabel(label) && !(carryGroups && isGroupTag(label))),
      ...(carryGroups && told !== undefined && isGroupName(told) ? [groupTag(told)] : []),
    ],
    ...(mark !== undefined && { mark }),
  };
}

/** What is ours in `custom_metadata`: an object, or the same as text. */
function ownOf(own: unknown): { readonly mark?: string; readonly name?: string; readonly group?: string } {
  const value = typeof own === 'string' ? parsed(own) : own;
  if (typeof value !== 'object' || value === null) return typeof own === 'string' ? { mark: own } : {};
  const { mark, name, group } = value as Readonly<Record<string, unknown>>;
  return {
    ...(typeof mark === 'string' && { mark }),
    ...(typeof name === 'string' && { name }),
    ...(typeof group === 'string' && { group }),
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
