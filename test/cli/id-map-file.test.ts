import { mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { idMapLines, writeIdMap } from '../../src/cli/id-map-file.ts';

const crn = (guid: string) => `crn:v1:bluemix:public:cloudcerts:eu-de:a/0001:${guid}::`;
const [frankfurt, paris] = [crn('1111'), crn('2222')];
const row = (name: string, number: number, stores: readonly [string, string] = [frankfurt, paris]) => ({
  name,
  before: { store: stores[0], certificate: `f${number}` },
  now: { store: stores[1], certificate: `p${number}` },
});
const header = 'name,old store,old id,new store,new id';
const lineOf = (name: string, number: number) =>
  `"${name}","${frankfurt}","${frankfurt.slice(0, -1)}certificate:f${number}","${paris}","${paris.slice(0, -1)}certificate:p${number}"`;

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'certstandby-map-'));
  path = join(folder, 'ids.csv');
});
afterEach(() => rmSync(folder, { recursive: true, force: true }));
const lines = () => readFileSync(path, 'utf8').split('\n');

it('ids are CRNs in Certificate Manager, and the names of folders in a folder', () => {
  expect(idMapLines([row('shop', 1)])).toEqual([`${header}\n`, `${lineOf('shop', 1)}\n`]);
  expect(idMapLines([row('shop', 1, ['web-1', 'web-2'])])[1]).toBe('"shop","web-1","f1","web-2","p1"\n');
});

it('a spreadsheet computes nothing in it, and every row is one line', () => {
  expect(idMapLines([row('=HYPERLINK("http://x")', 1, ['+a', '@b'])])[1]).toBe(
    `"'=HYPERLINK(""http://x"")","'+a","f1","'@b","p1"\n`,
  );
  expect(idMapLines([row('a\nb', 1)])[1]?.split('\n')).toHaveLength(2);
});

describe('a map that stands there', () => {
  it('only grows: rows that the new one lacks stay, and no row is there twice', async () => {
    await writeIdMap(path, [row('shop', 1), row('api', 2)]);
    await writeIdMap(path, []);
    expect(lines()).toEqual([header, lineOf('shop', 1), lineOf('api', 2), '']);
    await writeIdMap(path, [row('renamed', 1), row('=new', 3)]);
    await writeIdMap(path, [row('=new', 3)]);
    expect(lines()).toEqual([header, lineOf("'=new", 3), lineOf('renamed', 1), lineOf('api', 2), '']);
  });

  it('of the version before, or saved by a spreadsheet, is carried on', async () => {
    writeFileSync(
      path,
      `${header}\r\n"shop","${frankfurt}","f1","${paris}","p1"\r\napi,${frankfurt},f2,${paris},p2\r\n`,
    );
    await writeIdMap(path, [row('shop', 1)]);
    expect(lines()).toEqual([header, lineOf('shop', 1), lineOf('api', 2), '']);
  });

  it.each(['my notes\n', `${header}\nonly,four,cells,here\n`, `${header}\n"torn`])(
    'and is none is left as it is: %j',
    async (text) => {
      writeFileSync(path, text);
      await expect(writeIdMap(path, [row('shop', 1)])).rejects.toMatchObject({ code: 'map_file_unusable' });
      expect(readFileSync(path, 'utf8')).toBe(text);
      expect(readdirSync(folder)).toEqual(['ids.csv']);
    },
  );

  it('behind a link is replaced where it is', async () => {
    const link = join(folder, 'link.csv');
    writeFileSync(path, '');
    symlinkSync(path, link);
    await writeIdMap(link, [row('shop', 1)]);
    expect(lines()).toEqual([header, lineOf('shop', 1), '']);
  });
});

it('where nothing can be written is said, with nothing left behind', async () => {
  await expect(writeIdMap(join(folder, 'nowhere', 'ids.csv'), [])).rejects.toMatchObject({
    code: 'map_file_unusable',
    fields: { path: join(folder, 'nowhere', 'ids.csv') },
  });
  await expect(writeIdMap(folder, [])).rejects.toMatchObject({ code: 'map_file_unusable' });
  expect(readdirSync(folder)).toEqual([]);
});
