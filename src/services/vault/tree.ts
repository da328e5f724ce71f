import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import { parseJson } from '../../http/service-failure.ts';
import type { UnreadableElement } from '../../store/store.ts';
import { orOfThisPath } from './failure.ts';
import type { Asked, KeyValue, Names, Place } from './key-value.ts';
import { companionsAmong, isCompanion } from './layouts.ts';
import { isId, joined, nameOfId } from './paths.ts';

/** Something in a folder that may be a certificate. */
export interface Found {
  readonly id: string;
  /** Absent: it has to be asked for. */
  readonly place?: Place;
}

export interface TreePage {
  readonly found: readonly Found[];
  readonly unreadable: readonly UnreadableElement[];
  /** Absent: that was all. */
  readonly cursor?: string;
}

/** A folder, and the last name in it that has been visited. */
const cursorSchema = z.object({ folder: z.string(), after: z.optional(z.string()) });

interface Frame {
  readonly folder: string;
  after: string | undefined;
  names: readonly string[] | undefined;
  places: ReadonlyMap<string, Place>;
  goesOn: boolean;
  /** Some of its names were one certificate together: the others are visited in the same page. */
  isGroup: boolean;
}

const mostDeep = 64;
/** Requests for one page: a page may be short, but never endless. */
const requestsAPage = 100;

/**
 * One page of what stands below `root` and in its folders, in byte order, each folder where its
 * name is. The cursor is where it stopped, so that what comes and goes between two pages neither
 * hides nor doubles another.
 */
export async function walk(options: {
  readonly kv: KeyValue;
  /** A folder with a slash at its end, or empty for all of the mount. */
  readonly root: string;
  readonly pageSize: number;
  readonly store: string;
  /** Where something below `root` is, for people. */
  readonly placeOf: (id: string) => string;
  readonly of: Asked;
  readonly cursor?: string;
}): Promise<TreePage> {
  const { kv, root, pageSize, store, placeOf, of } = options;
  const found: Found[] = [];
  const unreadable: UnreadableElement[] = [];
  const frames = framesOf(options.cursor, store);
  let requests = 0;
  for (let top = frames.at(-1); top !== undefined; top = frames.at(-1)) {
    const isFull = found.length >= pageSize || requests >= requestsAPage;
    if (isFull && !top.isGroup)
      return { found, unreadable, cursor: JSON.stringify(defined({ folder: top.folder, after: top.after })) };
    if (top.names === undefined || (top.names.length === 0 && top.goesOn)) {
      of.signal?.throwIfAborted();
      const isWhole = top.names === undefined && top.after === undefined;
      const asked = kv.list(`${root}${top.folder}`, top.after, of);
      // A folder that the policy keeps from us hides no other one.
      const listed = await (top.folder === '' ? asked : orOfThisPath(asked));
      requests += 1;
      if (listed instanceof CodedError) {
        unreadable.push({ place: placeOf(top.folder), name: nameOfId(top.folder), error: listed });
        frames.pop();
        continue;
      }
      const members = top.isGroup || (isWhole && top.folder !== '') ? companionsAmong(listed.names) : [];
      if (members.length > 0 && !top.isGroup) found.push(together(top.folder, members, listed));
      const isGroup = top.isGroup || members.length > 0;
      const names = isGroup ? listed.names.filter((name) => !isCompanion(name)) : listed.names;
      // What comes next is asked for after the last name that was listed, shown or not.
      Object.assign(top, listed, { names, isGroup, after: names.length > 0 ? top.after : listed.names.at(-1) });
      continue;
    }
    const [name, ...rest] = top.names;
    if (name === undefined) {
      frames.pop();
      continue;
    }
    top.names = rest;
    top.after = name;
    const id = `${top.folder}${name}`;
    if (!isId(id)) unreadable.push(unusable(store, id, placeOf));
    else if (!name.endsWith('/')) found.push({ id, ...defined({ place: top.places.get(name) }) });
    else if (frames.length >= mostDeep) unreadable.push(unusable(store, id, placeOf));
    else frames.push(frame(id, undefined));
  }
  return { found, unreadable };
}

function together(folder: string, members: readonly string[], { places, goesOn }: Names): Found {
  // Some of them may be on the next page.
  if (goesOn) return { id: folder };
  const known = members.map((name) => [name, places.get(name)] as const);
  const all = known.filter((member): member is [string, Place] => member[1] !== undefined);
  const place = all.length === members.length ? joined(new Map(all)) : undefined;
  return { id: folder, ...defined({ place }) };
}

function frame(folder: string, after: string | undefined): Frame {
  return { folder, after, names: undefined, places: new Map(), goesOn: false, isGroup: false };
}

/** The folders on the way to where a cursor stopped, each after the one in it. */
function framesOf(cursor: string | undefined, store: string): Frame[] {
  const at = cursor === undefined ? { folder: '' } : z.safeParse(cursorSchema, parseJson(cursor)).data;
  if (at === undefined) throw new CodedError('store_refused', `list at ${store}: not a cursor of this store`);
  const segments = at.folder.split('/').slice(0, -1);
  const folders = segments.map((_, index) =>
    segments
      .slice(0, index + 1)
      .map((segment) => `${segment}/`)
      .join(''),
  );
  const frames = ['', ...folders].map((folder, index) =>
    frame(folder, index < segments.length ? `${segments[index]}/` : at.after),
  );
  return frames;
}

function unusable(store: string, id: string, placeOf: (id: string) => string): UnreadableElement {
  const message = `${id} in ${store} has a name that no URL can hold, or lies too deep`;
  return {
    place: placeOf(id),
    name: nameOfId(id),
    error: new CodedError('store_name_unreadable', message, { fields: { store } }),
  };
}
