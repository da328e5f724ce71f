import { expect, it } from 'vitest';
import { systemRuntime } from '../../src/runtime.ts';
import { countedStore } from '../../src/store/counted.ts';
import { memoryStore } from '../../src/store/memory.ts';
import { content, described, markOf } from '../support/replication.ts';

it('tells of each request once, and answers as the store does', async () => {
  let sent = 0;
  const inner = memoryStore({ id: 'a', region: 'b', runtime: systemRuntime, abilities: { findsMarks: true } });
  const store = countedStore(inner, () => {
    sent += 1;
  });
  const held = await content();
  const { id } = await store.import({ content: held, metadata: described('shop'), mark: markOf('c1') });
  await store.list({});
  await store.read(id);
  await store.readMetadata(id);
  await store.reimport(id, held);
  await store.updateMetadata(id, described('shop 2'), markOf('c1'));
  expect(await store.findByMark?.(markOf('c1'))).toMatchObject([{ id, name: 'shop 2' }]);
  store.asKept(described('x'), undefined);
  expect(store).not.toHaveProperty('notificationKey');
  await store.delete(id);
  expect(sent).toBe(8);
  expect(inner.size()).toBe(0);
});
