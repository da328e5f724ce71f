import type { RootKey } from '../keys/root-key.ts';
import type { Runtime } from '../runtime.ts';
import type { Secret } from '../secret.ts';

/** Where a root key is. Either of two opens. */
export type RootKeyConfig =
  | { readonly kind: 'file'; readonly path: string }
  | { readonly kind: 'aws-kms'; readonly keyArn: string }
  | {
      readonly kind: 'key-protect';
      readonly region: string;
      readonly instance: string;
      readonly key: string;
      readonly apiKey: Secret;
    }
  | {
      readonly kind: 'pkcs11';
      /** `pkcs11:…`, by RFC 7512. */
      readonly uri: string;
      /** What a relative path of a PIN counts from. */
      readonly folder: string;
      readonly env: Readonly<Record<string, string | undefined>>;
    };

/** Opens a root key; each kind is loaded only when it is wanted. */
export async function openRootKey(
  config: RootKeyConfig,
  { create, runtime }: { readonly create: boolean; readonly runtime: Runtime },
): Promise<{ readonly rootKey: RootKey; readonly recoveryText?: Secret }> {
  if (config.kind === 'file') {
    const { fileRootKey } = await import('../keys/file.ts');
    return fileRootKey({ path: config.path, create });
  }
  if (config.kind === 'aws-kms') {
    const { awsKmsRootKey } = await import('../keys/aws-kms.ts');
    return { rootKey: awsKmsRootKey({ keyArn: config.keyArn }) };
  }
  if (config.kind === 'pkcs11') {
    const { pkcs11RootKey } = await import('../keys/pkcs11.ts');
    return { rootKey: pkcs11RootKey(config) };
  }
  const { keyProtectRootKey } = await import('../keys/key-protect.ts');
  const { kind: _kind, ...options } = config;
  return { rootKey: keyProtectRootKey({ ...options, runtime }) };
}

/**
 * Makes a root key file again from its recovery text; the id of the root key. Throws
 * `keys_recovery_text_wrong` and `keys_file_unusable`.
 */
export async function recoverRootKey(path: string, text: Secret): Promise<string> {
  return (await import('../keys/file.ts')).recoverFileRootKey(path, text);
}

/**
 * The id of the root key that this recovery text makes again. Throws `keys_recovery_text_wrong`.
 */
export async function rootKeyOfRecoveryText(text: Secret): Promise<string> {
  return (await import('../keys/file.ts')).rootKeyOfRecoveryText(text);
}
