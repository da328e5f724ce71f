import { expect, it } from 'vitest';
import { deploymentOf, readDeployment } from '../src/deployment.ts';

const config = {
  table: { kind: 'lmdb', path: '/var/lib/here' },
  receiver: { host: '127.0.0.1', port: 8480 },
  worker: { concurrency: 16, sweepEveryMs: 60_000, reconcileEveryMs: 3_600_000 },
  serve: undefined,
  stores: [],
  links: [],
} as never;

it('is read back, without what is of one machine alone', () => {
  const text = JSON.stringify(deploymentOf(config, 'aws'));
  expect(text).not.toContain('/var/lib/here');
  expect(readDeployment(text, 'aws')).toEqual({
    worker: { concurrency: 16, sweepEveryMs: 60_000, reconcileEveryMs: 3_600_000 },
    secrets: [],
    stores: [],
    links: [],
  });
  expect(readDeployment(JSON.parse(text), 'aws')).toEqual(readDeployment(text, 'aws'));
});

it('names every secret that a store refers to, with the setting that does, and knows no service by name', () => {
  const stores = [
    { name: 'shelf', kind: 'shelf', region: 'here', pin: { from: 'ssm', name: '/shelf/pin' }, depth: 3 },
    { name: 'bare', kind: 'bare', region: 'here' },
  ];
  const given = { ...(config as object), stores } as never;
  expect(readDeployment(deploymentOf(given, 'aws'), 'aws').secrets).toEqual([
    { setting: 'stores.shelf.pin', from: 'ssm', name: '/shelf/pin' },
  ]);
});

it.each([
  [undefined, 'there is none'],
  ['', 'it is not JSON'],
  ['7', 'there is none'],
  [{}, 'it is of format undefined for undefined, and this function takes format 1 for aws'],
  [
    { ...deploymentOf(config, 'openwhisk') },
    'it is of format 1 for openwhisk, and this function takes format 1 for aws',
  ],
  [
    { ...deploymentOf(config, 'aws'), format: 2 },
    'it is of format 2 for aws, and this function takes format 1 for aws',
  ],
])('refuses %j', (given, why) => {
  expect(() => readDeployment(given, 'aws')).toThrow(
    expect.objectContaining({ code: 'configuration_invalid', message: expect.stringContaining(why) }),
  );
});
