import { expect, test } from 'vitest';
import { orderingOf } from '../../../src/cli/instance/ordering.ts';
import { testHost } from '../../support/command.ts';

const host = {
  ...testHost(),
  env: {
    PATH: '/bin',
    HOME: '/root',
    TZ: 'UTC',
    KEY_PROTECT_API_KEY: 'opens a root key',
    AWS_SECRET_ACCESS_KEY: 'opens another',
    AWS_PROFILE: 'dns',
    DNS_TOKEN: 't',
  },
};
const options = { acmeDirectory: 'https://acme.example.com/directory', dnsHook: '/bin/true' };
const given = { folder: '/', settings: undefined, host };

test('the DNS hook gets nothing of the environment that opens a root key, and what is named for it', () => {
  const environmentOf = (names?: readonly string[]) =>
    orderingOf({ ...options, ...(names && { dnsHookEnv: names }) }, given).dnsHook?.env;
  expect(environmentOf()).toEqual({ PATH: '/bin', HOME: '/root', TZ: 'UTC' });
  const named = { PATH: '/bin', HOME: '/root', TZ: 'UTC', DNS_TOKEN: 't', AWS_PROFILE: 'dns' };
  expect(environmentOf(['DNS_TOKEN', 'AWS_PROFILE'])).toEqual(named);
  const settings = { version: 1, table: { kind: 'lmdb', path: 'data' }, rootKeys: ['file:k'] } as const;
  const ordering = { ...options, dnsHookEnv: ['DNS_TOKEN', 'AWS_PROFILE'] };
  const kept = { ...settings, rootKeys: ['file:k'], ordering };
  expect(orderingOf({}, { ...given, settings: kept }).dnsHook?.env).toEqual(named);
});

test('a variable for the hook that is not set, or without a hook, is refused', () => {
  expect(() => orderingOf({ ...options, dnsHookEnv: ['NOT_SET'] }, given)).toThrow('the variable NOT_SET');
  expect(() => orderingOf({ acmeDirectory: options.acmeDirectory, dnsHookEnv: ['PATH'] }, given)).toThrow(
    'there is no --dns-hook',
  );
});
