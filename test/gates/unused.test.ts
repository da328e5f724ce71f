import { expect, test } from 'vitest';
import { runScript } from './scripts.ts';
import { treePerTest } from './tree.ts';

const tree = treePerTest();

test('the tree as it is passes', () => {
  const { status, output } = runScript(tree(), 'unused');
  expect(status, output).toBe(0);
});

test('a file, an export, a type outside the contracts and a package that nothing imports are refused', () => {
  tree().plant('src/store/planted.ts', 'export const planted = 1;\n');
  tree().append(
    'src/secret.ts',
    '\nexport const planted = 1;\nexport interface PlantedType {\n  readonly a: string;\n}\n',
  );
  tree().append('src/secret.ts', `\nimport 'picomatch';\n`);
  tree().replace('package.json', '"dependencies": {', '"dependencies": {\n    "semver": "^7.0.0",');
  const { status, output } = runScript(tree(), 'unused');
  expect(status).not.toBe(0);
  expect(output).toMatch(/Unused files[\s\S]*^src\/store\/planted\.ts/m);
  expect(output).toMatch(/Unused exports[\s\S]*^planted .*src\/secret\.ts/m);
  expect(output).toMatch(/Unused exported types[\s\S]*^PlantedType .*src\/secret\.ts/m);
  expect(output).toMatch(/Unused dependencies[\s\S]*^semver /m);
  expect(output).toMatch(/Unlisted dependencies[\s\S]*^picomatch /m);
});

test('one finding is enough to end with an error', () => {
  tree().append('src/secret.ts', '\nexport const planted = 1;\n');
  const { status, output } = runScript(tree(), 'unused');
  expect(status).not.toBe(0);
  expect(output).toMatch(/^planted .*src\/secret\.ts/m);
});
