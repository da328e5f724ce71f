import { expect, test } from 'vitest';
import { parseOrder } from '../../../src/instance/orders/order-request.ts';
import { renewalFrom } from '../../../src/instance/orders/renewal-due.ts';

const good = { name: 'shop', domains: ['shop.example.test'], domain_validation_method: 'dns-01' };
const parse = (given: object, hasHook = false) => parseOrder({ ...good, ...given }, { hasHook });

test('what clients of Certificate Manager send', () => {
  expect(
    parse({
      description: 'the shop',
      domains: ['Shop.Example.test', '*.apps.example.test', 'xn--bcher-kva.example.test'],
      issuer: "Let's Encrypt",
      algorithm: 'sha256WithRSAEncryption',
      key_algorithm: 'rsaEncryption 4096 bit',
      auto_renew_enabled: true,
    }),
  ).toEqual({
    name: 'shop',
    description: 'the shop',
    domains: ['shop.example.test', '*.apps.example.test', 'xn--bcher-kva.example.test'],
    keyAlgorithm: 'rsaEncryption 4096 bit',
    autoRenew: true,
  });
  expect(parse({ key_algorithm: null })).toMatchObject({
    description: '',
    keyAlgorithm: 'rsaEncryption 2048 bit',
    autoRenew: false,
  });
});

const label = 'a'.repeat(63);
const hundred = Array.from({ length: 100 }, (_, index) => `n${index}.example.test`);

test.each([
  ['no name', { name: '' }, 'name is missing'],
  ['another way to prove', { domain_validation_method: 'http-01' }, 'can only be dns-01'],
  ['none', { domain_validation_method: undefined }, 'domain_validation_method is missing'],
  ['no domains', { domains: [] }, 'not a list of one domain'],
  ['a domain alone', { domains: 'shop.example.test' }, 'not a list of one domain'],
  ['101 domains', { domains: [...hundred, 'more.example.test'] }, 'more than 100'],
  ['a domain that is no text', { domains: [7] }, '7 is not the name of a domain'],
  ['one label', { domains: ['localhost'] }, 'is not the name of a domain'],
  ['an address', { domains: ['192.0.2.1'] }, 'is not the name of a domain'],
  ['a wildcard inside', { domains: ['a.*.example.test'] }, 'is not the name of a domain'],
  ['another alphabet', { domains: ['bücher.example.test'] }, 'is not the name of a domain'],
  ['something for a shell', { domains: ['$(id).example.test'] }, 'is not the name of a domain'],
  ['a label of 64', { domains: [`a${label}.test`] }, 'is not the name of a domain'],
  ['a hyphen at the end', { domains: ['a-.example.test'] }, 'is not the name of a domain'],
  [
    'a name of 254',
    { domains: ['a.test', `${`${label}.`.repeat(3)}${'b'.repeat(57)}.test`] },
    'is not the name of a domain',
  ],
  ['a common name of 65', { domains: [`${'a'.repeat(60)}.test`] }, 'more than 64 characters'],
  ['one twice', { domains: ['a.test', 'A.test'] }, 'names one twice'],
  ['a wildcard and what it covers', { domains: ['*.a.test', 'b.a.test'] }, 'b.a.test is covered'],
  ['a key of another kind', { key_algorithm: 'ED25519 256 bit' }, 'key_algorithm is none of'],
  ['a provider that is not here', { dns_provider_instance_crn: 'crn:v1:x' }, 'names a DNS provider'],
  ['no truth', { auto_renew_enabled: 'yes' }, 'auto_renew_enabled is not true or false'],
])('%s is refused', (_, given, says) => {
  expect(() => parse(given)).toThrow(says);
});

test('as much as is taken, and no more than that is refused', () => {
  expect(parse({ domains: hundred }).domains).toHaveLength(100);
  expect(parse({ domains: [`${'a'.repeat(59)}.test`] }).domains).toHaveLength(1);
  expect(parse({ domains: [`${label}.test`, 'b.test'].reverse() }).domains).toHaveLength(2);
  expect(parse({ domains: ['*.a.test', 'a.test', 'c.b.a.test'] }).domains).toHaveLength(3);
  expect(parse({ dns_provider_instance_crn: 'crn:v1:x' }, true).name).toBe('shop');
});

const day = 86_400_000;

test.each([
  [397, 366],
  [93, 62],
  [90, 60],
  [47, 47 - 47 / 3],
  [6, 4],
  [1, 2 / 3],
])(
  'of %d days of validity, it is renewed after %d: 31 days before its end, or a third of its lifetime',
  (lifetime, after) => {
    const beginsOn = Date.UTC(2030, 0, 1);
    expect(renewalFrom({ beginsOn, expiresOn: beginsOn + lifetime * day })).toBe(Math.ceil(beginsOn + after * day));
  },
);
