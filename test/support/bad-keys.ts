import { createPrivateKey, randomBytes } from 'node:crypto';
import { type Canary, keyCanary, pemCanary } from './canaries.ts';
import { mismatchedKey, testCertificate } from './certificates.ts';

/** Of the keys that are encrypted. */
export const passphrase = 'correct horse battery staple';

/**
 * A certificate, and texts in place of its private key that belong to nothing, are encrypted, or
 * are none; with what must not be told of them.
 */
export async function badKeys() {
  const good = await testCertificate({ keyKind: 'rsa-2048' });
  const { privateKey: another } = await mismatchedKey({ keyKind: 'rsa-2048' });
  const anotherPem = another.reveal();
  const key = createPrivateKey(anotherPem);
  const cipher = { cipher: 'aes-256-cbc', passphrase } as const;
  const encrypted = key.export({ type: 'pkcs8', format: 'pem', ...cipher }).toString();
  const legacy = key.export({ type: 'pkcs1', format: 'pem', ...cipher }).toString();
  const label = (text: string) => `-----BEGIN PRIVATE KEY-----\n${text}\n-----END PRIVATE KEY-----\n`;
  const garbage = label(randomBytes(600).toString('base64').replace(/.{64}/g, '$&\n'));
  const canaries: readonly Canary[] = [
    keyCanary('the key of a certificate with bad keys', good.privateKey.reveal()),
    keyCanary('a key of another certificate', anotherPem),
    pemCanary('an encrypted key', encrypted),
    pemCanary('a key encrypted the old way', legacy),
    pemCanary('a key that is none', garbage),
  ];
  const keys: Readonly<Record<string, string>> = {
    another: anotherPem,
    encrypted,
    legacy,
    garbage,
    'without its end': anotherPem.slice(0, -30),
    'two keys': `${anotherPem}${good.privateKey.reveal()}`,
    'not base64': anotherPem.replaceAll('A', '%'),
    'without a label': anotherPem.replace(/-----.*-----/g, ''),
    'too large': anotherPem.repeat(70),
  };
  return { good, keys, canaries };
}
