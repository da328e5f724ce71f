import { readdirSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';

/**
 * Questions that end the process of some Node where the key or certificate is one that cannot
 * exist. Our own reader answers them: `public-key.ts`, `private-key-structure.ts`, `facts.ts`.
 */
const questions = /asymmetricKeyDetails|toLegacyObject|getPeerCertificate|export\(\{ format: 'jwk'/;

/** Where one is asked all the same, of what. */
const asked: readonly string[] = [
  // A key whose number our reader found to be one of its curve, so that its point is no infinity.
  'src/certificate/private-key.ts',
  // The instance's own signing key.
  'src/instance/tenants/instance.ts',
];

const root = fileURLToPath(new URL('../..', import.meta.url));
const files = ['src', 'functions'].flatMap((folder) =>
  readdirSync(`${root}${folder}`, { recursive: true, encoding: 'utf8' })
    .filter((file) => file.endsWith('.ts'))
    .map((file) => `${folder}/${file}`),
);

test('nothing foreign is asked what may end the process', () => {
  expect(questions.test('key.asymmetricKeyDetails?.namedCurve')).toBe(true);
  const asking = files.filter((file) => questions.test(readFileSync(`${root}${file}`, 'utf8')));
  expect(asking.sort()).toEqual(asked);
});

test('a private key is read by the platform at one place, which asks again where it fails', () => {
  const reading = files.filter((file) => /\bcreatePrivateKey\(/.test(readFileSync(`${root}${file}`, 'utf8')));
  expect(reading).toEqual(['src/private-key-object.ts']);
});
