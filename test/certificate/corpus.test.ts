import { afterAll, beforeAll, expect, test } from 'vitest';
import { runCorpus } from '../corpus/corpus.ts';
import { type BundledScript, bundleScript } from '../support/child.ts';

let script: BundledScript;
beforeAll(async () => {
  script = await bundleScript('test/corpus/main.ts');
});
afterAll(() => script.dispose());

// The whole corpus, every kind of key at every entry, is `npm run corpus`.
test('no P-256 key with a field that cannot be ends the process, and each is taken or refused by a code', {
  timeout: 180_000,
}, async () => {
  const entries = ['instance', 'answers of Certificate Manager'];
  const result = await runCorpus({ program: script.file, kinds: ['p-256'], entries });
  expect(result.aborts).toEqual([]);
  expect(result.uncoded).toEqual([]);
  expect(result.keys).toBeGreaterThan(150);
  // One field may be anything: the key before its point was changed is still the key of its
  // certificate.
  expect(result.outcomes.get('taken')).toBeGreaterThan(0);
  expect(result.outcomes.get('certificate_malformed')).toBeGreaterThan(100);
});
