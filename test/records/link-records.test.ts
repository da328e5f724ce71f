import { describe, expect, it } from 'vitest';
import { linkRecords } from '../../src/records/link-records.ts';
import { memoryTable } from '../../src/table/memory.ts';

describe('binding', () => {
  it('binds the records of a link to one primary', async () => {
    const links = linkRecords(memoryTable());
    await links.bind('shop', 'crn:a');
    await links.bind('shop', 'crn:a');
    await links.bind('other', 'crn:b');
    await expect(links.bind('shop', 'crn:b')).rejects.toMatchObject({
      code: 'configuration_link_moved',
      fields: { link: 'shop', configured: 'crn:b', recorded: 'crn:a' },
    });
  });

  it('binds one of two at a time', async () => {
    const links = linkRecords(memoryTable());
    const results = await Promise.allSettled([links.bind('shop', 'crn:a'), links.bind('shop', 'crn:b')]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected']);
  });

  it('leaves what is known of a link', async () => {
    const links = linkRecords(memoryTable());
    await links.noteReconciled('shop', ['b'], 5);
    await links.bind('shop', 'crn:a');
    expect([...(await links.reconciled('shop'))]).toEqual([['b', 5]]);
  });
});

describe('reconciles', () => {
  it('remembers when each backup was last reconciled', async () => {
    const links = linkRecords(memoryTable());
    expect((await links.reconciled('shop')).size).toBe(0);
    await links.noteReconciled('shop', ['crn:b', 'crn:c'], 5);
    await links.noteReconciled('shop', ['crn:b'], 9);
    expect(Object.fromEntries(await links.reconciled('shop'))).toEqual({ 'crn:b': 9, 'crn:c': 5 });
    expect((await links.reconciled('other')).size).toBe(0);
  });
});
