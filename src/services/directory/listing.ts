import { type Dirent, readdirSync } from 'node:fs';
import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { companionsOf, flatIdOf, layoutsOfFlat } from '../../certificate/file-layout.ts';
import { CodedError } from '../../errors.ts';
import { fileError, kindOfFile } from '../../regular-file.ts';
import type { PassedOver, UnreadableElement } from '../../store/store.ts';
import { leftover } from './files.ts';
import { identityFile } from './identity.ts';
import { isLikely, lookAtFile, otherForm, unknownLayout } from './read.ts';

/** What stands in the folder of all, by names alone. */
export interface Elements {
  /** Ids of everything that may be a certificate, in order. */
  readonly ids: readonly string[];
  /** What looks like a certificate, and can be asked for by no id. */
  readonly unreadable: readonly UnreadableElement[];
  readonly passedOver: readonly PassedOver[];
}

/** Whether a text is a name one step down that is not hidden: an id. */
export function isId(text: string): boolean {
  return text !== '' && !text.startsWith('.') && !/[/\0]/.test(text);
}

/**
 * The name of a certificate that nobody gave another one: its folder's, or its file's without the
 * ending.
 */
export function nameOfId(id: string): string {
  return companionsOf(id) === undefined ? id : id.replace(/(?:-(?:crt|chain)\.pem|\.[a-z]+)$/, '');
}

const strictly = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true });

/**
 * Looks at the names in the folder of all, and at what plain files there are. Throws what the
 * system says of the folder.
 */
export async function listElements(root: string): Promise<Elements> {
  const ids: string[] = [];
  const files: string[] = [];
  const unreadable: UnreadableElement[] = [];
  const passedOver: PassedOver[] = [];
  for (const entry of await readdir(root, { withFileTypes: true, encoding: 'buffer' })) {
    const name = decoded(entry.name);
    const place = join(root, name ?? escaped(entry.name));
    if (name === undefined) {
      const error = new CodedError('store_name_unreadable', `${place}: the name is not UTF-8`, {
        fields: { path: place },
      });
      unreadable.push({ place, error });
    } else if (leftover.test(name) || name === identityFile) continue;
    else if (name.startsWith('.')) passedOver.push({ place, reason: 'hidden: its name begins with a dot' });
    else if (name === 'lost+found') passedOver.push({ place, reason: "the file system's own" });
    else await sort(name, entry);
  }

  async function sort(name: string, entry: Dirent<Buffer>): Promise<void> {
    const place = join(root, name);
    if (entry.isDirectory()) return void ids.push(name);
    try {
      const found = await stat(place);
      if (found.isDirectory()) return void ids.push(name);
      if (found.isFile()) return void files.push(name);
      const kind = kindOfFile(found);
      if (companionsOf(name) === undefined) passedOver.push({ id: name, place, reason: kind });
      else ids.push(name);
    } catch {
      // A link that leads to nothing, or nobody may follow: reading it says so.
      ids.push(name);
    }
  }

  const flat = layoutsOfFlat(files);
  const taken = new Set(flat.certificates.flatMap((layout) => Object.values(layout) as string[]));
  for (const { certificate } of flat.certificates) ids.push(certificate);
  if (flat.nameless !== undefined) {
    const place = join(root, flat.nameless);
    const found = `the files of one certificate lie in the folder of all: is the folder above it meant?`;
    unreadable.push({ place, error: unknownLayout(place, found) });
    taken.add(flat.nameless);
  }
  for (const { name, lacks } of flat.incomplete) {
    taken.add(name);
    const reason =
      lacks === 'key' ? 'a certificate without a private key beside it' : 'part of a certificate that is not there';
    passedOver.push({ id: name, place: join(root, name), reason });
  }
  for (const name of files.filter((file) => !taken.has(file) && flatIdOf(file, files) === undefined)) {
    const place = join(root, name);
    const found = isLikely(name) ? await lookAtFile(place).catch((thrown) => fileError(place, thrown)) : undefined;
    if (found instanceof CodedError) unreadable.push({ place, error: found });
    else if (found === undefined || found.endsWith('in PEM') || found === 'a certificate request')
      passedOver.push({ id: name, place, reason: found ?? 'a file that is no certificate' });
    else unreadable.push({ place, error: otherForm(place, found) });
  }
  return { ids: ids.sort(), unreadable, passedOver };
}

/**
 * The ids in the folder of all by their names alone, for who watches it; none where it cannot be
 * read.
 */
export function namesNow(root: string): readonly string[] {
  try {
    return readdirSync(root).filter(isId);
  } catch {
    return [];
  }
}

function decoded(name: Buffer): string | undefined {
  try {
    return strictly.decode(name);
  } catch {
    return undefined;
  }
}

/** A name that is no text, with every byte that is not plain as `\xff`. */
function escaped(name: Buffer): string {
  return [...name]
    .map((byte) =>
      byte > 0x1f && byte < 0x7f ? String.fromCharCode(byte) : `\\x${byte.toString(16).padStart(2, '0')}`,
    )
    .join('');
}
