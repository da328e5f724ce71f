import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { beforeAll, expect, test } from 'vitest';
import { commandChecker } from './support/commands-of-ours.ts';
import { root } from './support/root.ts';

// Lines of the pages that people type.

const pages = execFileSync('git', ['ls-files', '-z', '*.md'], { cwd: root, encoding: 'utf8' })
  .split('\0')
  .filter((page) => page !== '' && page !== 'CHANGELOG.md' && !page.startsWith('docs/decisions/'));
const scripts = (JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> })
  .scripts;

/**
 * Pages with blocks that no test types, by how such a block begins, and why. What is ours in them
 * is looked at all the same.
 */
const typedByNobody: Readonly<Record<string, Readonly<Record<string, string>>>> = {
  'CONTRIBUTING.md': {
    'npx vitest run --project main test/replication': 'opens a debugger',
  },
  'docs/aws.md': { 'aws ssm put-parameter': 'asks AWS; test/peers/aws-deploy.test.ts makes the same by its SDK' },
  'docs/hooks.md': { 'acme.sh --install-cert': 'acme.sh is in no registry of packages' },
  'docs/instance.md': {
    '#!/bin/sh': 'needs a name server that takes updates',
    "node -e 'const [file, wrapped": 'its parts are typed by test/peers/jose.test.ts',
    'base64 -d wrapped.txt': 'its parts are typed by test/peers/jose.test.ts',
    'npm rebuild pkcs11js': 'compiles a package; test/peers/pkcs11.test.ts does the rest with other names',
  },
  'docs/openwhisk.md': { 'export OW_APIHOST': 'test/peers/openwhisk-deploy.test.ts sets the same' },
  'infra/kubernetes/README.md': {
    'npm run build':
      'pushes to a registry; test/peers/image.test.ts checks the image, and kubernetes-manifests.test.ts applies the files',
  },
  'src/services/eventbridge/README.md': {
    'KEY=$(openssl rand': 'asks AWS',
    'aws events put-permission': 'needs two accounts of AWS',
    'aws events put-rule': 'needs two accounts of AWS',
  },
  'src/services/shared-secret/README.md': {
    'SECRET=$(openssl rand': 'makes a secret',
    'curl --fail': 'posts to an address of the reader',
  },
};

interface Block {
  readonly isTested: boolean;
  readonly lines: readonly string[];
}

/** The blocks of a page that hold commands, with lines that go on joined. */
function blocksOf(text: string): readonly Block[] {
  return [...text.matchAll(/(<!-- [\w-]*test: [\w-]+ -->\n)?[ ]*```(?:sh|bash)\n(.*?)```/gs)].map(
    ([, marker, content = '']) => ({
      isTested: marker !== undefined,
      lines: content
        .replaceAll(/\\\n/g, ' ')
        .split('\n')
        .map((line) => line.trim())
        .filter((line) => line !== '' && !/^#(?!!)/.test(line)),
    }),
  );
}

let mistakesIn: (said: string) => readonly string[];
beforeAll(async () => {
  mistakesIn = await commandChecker();
});

/** What is wrong with the lines of ours in a page: in its blocks, and between backticks. */
function mistakesOf(text: string): readonly string[] {
  const inBlocks = blocksOf(text).flatMap(({ lines }) => lines);
  const inline = [...text.replaceAll(/```.*?```/gs, '').matchAll(/`([^`\n]+)`/g)].map(([, line = '']) => line);
  return [...inBlocks, ...inline].flatMap((line) => {
    const [, said] = /^(?:\$ )?certstandby ((?:(?!\s#|&&|[|>;]).)*)/.exec(line.replaceAll(/<[^>]*>/g, 'x')) ?? [];
    const [, script] = /^npm run (?:--silent )?([\w:-]+)/.exec(line) ?? [];
    return [
      ...(said === undefined ? [] : mistakesIn(said)),
      ...(script === undefined || script in scripts ? [] : [`no script: ${line}`]),
    ];
  });
}

/** How the blocks of a page begin that no test types, and that hold more than commands of ours. */
function untyped(text: string): readonly string[] {
  const ours = /^(?:certstandby|npm|npx certstandby)\b/;
  return blocksOf(text)
    .filter(({ isTested, lines }) => !isTested && lines.some((line) => !ours.test(line)))
    .map(({ lines: [first = ''] }) => first);
}

test('each command of ours on a page is one, and takes the options that stand there', () => {
  const wrong = pages.flatMap((page) =>
    mistakesOf(readFileSync(join(root, page), 'utf8')).map((mistake) => `${page}: ${mistake}`),
  );
  expect(wrong).toEqual([]);
});

test('each block of commands of others is typed by a test, or says why it is not', () => {
  const without: string[] = [];
  const excusedForNothing: string[] = [];
  for (const page of pages) {
    const reasons = Object.keys(typedByNobody[page] ?? {});
    const found = untyped(readFileSync(join(root, page), 'utf8'));
    for (const first of found)
      if (!reasons.some((reason) => first.startsWith(reason))) without.push(`${page}: ${first}`);
    for (const reason of reasons)
      if (!found.some((first) => first.startsWith(reason))) excusedForNothing.push(`${page}: ${reason}`);
  }
  expect(without).toEqual([]);
  expect(excusedForNothing).toEqual([]);
});

test('a command that is gone, an option that is none, and a block that nobody types are found', () => {
  const page = [
    'Run `certstandby reconcil --plan` and `certstandby status --link shop`.',
    '```sh',
    'certstandby reconcile --plan --dry-run   # changes nothing',
    'npm run no-such-script',
    '```',
    '```sh',
    'kubectl delete everything',
    '```',
    '<!-- recipe-test: first -->',
    '```sh',
    'kubectl get nothing',
    '```',
  ].join('\n');
  expect(mistakesOf(page).toSorted()).toEqual([
    '--dry-run is none of certstandby reconcile --plan --dry-run  ',
    'no command: certstandby reconcil --plan',
    'no script: npm run no-such-script',
  ]);
  expect(untyped(page)).toEqual(['kubectl delete everything']);
});
