import { expect, test } from 'vitest';
import { root } from '../support/root.ts';
import { namesIn, namesOfServices } from './names-of-services.ts';

test('what is done for every store names no service and no cloud: see remedies.ts of the services', () => {
  expect(namesOfServices(root)).toEqual([]);
});

test.each([
  ['a remedy in the terms of a cloud', `const remedy = 'Give the owner of the API key the service role Manager.';`],
  ['a text with something in it', ['const text = `the namespace ', '{name} is not there`;'].join('$')],
  ['a name', 'const key = store.apiKey;'],
  ['a kind', `const isOne = store.kind === 'vault';`],
  ['a command', `const remedy = 'kubectl get secrets says more.';`],
])('%s is found', (_, line) => {
  expect(namesIn('src/replication/planted.ts', line)).toHaveLength(1);
});

test('comments may name whose rule it is, and words that only look alike are none', () => {
  expect(namesIn('src/store/planted.ts', `// KMS takes no more.\nconst scrn = 'the default writer';`)).toEqual([]);
});
