/**
 * Texts by a text, in few bytes: what a listing of a hundred thousand certificates says is held in
 * blocks outside of the heap, for as long as a reconcile or a verify runs. Nothing is removed; a
 * value that is set again takes the place of the one before.
 */
export interface CompactMap {
  readonly size: number;
  get(key: string): string | undefined;
  set(key: string, value: string): void;
  /** Whether `keys` is to pass this key over. Answers whether the key is there. */
  tick(key: string): boolean;
  isTicked(key: string): boolean;
  /** The keys that were not ticked, in the order in which they came. */
  unticked(): Generator<string>;
  keys(): Generator<string>;
}

const blockBytes = 256 * 1024;

export function compactMap(): CompactMap {
  const blocks: Buffer[] = [];
  let used = blockBytes;
  // Of each entry: the block that holds it, where it begins there, how long key and value are.
  let places = new Uint32Array(4 * 256);
  let ticked = new Uint8Array(256);
  let size = 0;
  // Open addressing: the number of the entry plus one, 0 for a free place. Never more than half
  // full.
  let slots = new Uint32Array(1024);

  function append(text: string): readonly [block: number, offset: number, length: number] {
    const bytes = Buffer.byteLength(text);
    if (used + bytes > blockBytes || blocks.length === 0) {
      blocks.push(Buffer.allocUnsafeSlow(Math.max(blockBytes, bytes)));
      used = 0;
    }
    const offset = used;
    blocks.at(-1)?.write(text, offset);
    used += bytes;
    return [blocks.length - 1, offset, bytes];
  }

  const place = (entry: number, part: number): number => places[4 * entry + part] ?? 0;
  function text(entry: number, part: 'key' | 'value'): string {
    const offset = place(entry, 1);
    const keyEnd = offset + place(entry, 2);
    const [from, to] = part === 'key' ? [offset, keyEnd] : [keyEnd, keyEnd + place(entry, 3)];
    return blocks[place(entry, 0)]?.toString('utf8', from, to) ?? '';
  }

  /** The slot of a key: its own, or the free one where it belongs. */
  function slotOf(key: string): number {
    let slot = hashOf(key) & (slots.length - 1);
    for (let entry = slots[slot] ?? 0; entry !== 0; entry = slots[slot] ?? 0) {
      if (text(entry - 1, 'key') === key) return slot;
      slot = (slot + 1) & (slots.length - 1);
    }
    return slot;
  }

  function find(key: string): number {
    return (slots[slotOf(key)] ?? 0) - 1;
  }

  function grow(): void {
    if (4 * size === places.length) {
      const [wider, longer] = [new Uint32Array(2 * places.length), new Uint8Array(2 * ticked.length)];
      wider.set(places);
      longer.set(ticked);
      [places, ticked] = [wider, longer];
    }
    if (2 * size < slots.length) return;
    slots = new Uint32Array(2 * slots.length);
    for (let entry = 0; entry < size; entry += 1) slots[slotOf(text(entry, 'key'))] = entry + 1;
  }

  function* where(wanted: (entry: number) => boolean): Generator<string> {
    for (let entry = 0; entry < size; entry += 1) if (wanted(entry)) yield text(entry, 'key');
  }

  return {
    get size() {
      return size;
    },
    get(key) {
      const entry = find(key);
      return entry < 0 ? undefined : text(entry, 'value');
    },
    set(key, value) {
      let entry = find(key);
      if (entry < 0) {
        grow();
        entry = size;
        slots[slotOf(key)] = entry + 1;
        size += 1;
      }
      const [block, offset, length] = append(key + value);
      const keyBytes = Buffer.byteLength(key);
      places.set([block, offset, keyBytes, length - keyBytes], 4 * entry);
    },
    tick(key) {
      const entry = find(key);
      if (entry >= 0) ticked[entry] = 1;
      return entry >= 0;
    },
    isTicked(key) {
      const entry = find(key);
      return entry >= 0 && ticked[entry] === 1;
    },
    unticked: () => where((entry) => ticked[entry] !== 1),
    keys: () => where(() => true),
  };
}

/**
 * FNV-1a over UTF-16 units, its high bits folded in. A crafted collision costs time, never a wrong
 * answer: keys are compared whole.
 */
function hashOf(key: string): number {
  let hash = 0x811c9dc5;
  for (let index = 0; index < key.length; index += 1) hash = Math.imul(hash ^ key.charCodeAt(index), 0x01000193);
  return (hash ^ (hash >>> 15)) >>> 0;
}
