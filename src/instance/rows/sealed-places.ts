import type { Keyring, Place } from '../../keys/keyring.ts';

/** What the floors of an instance need of its keyring. */
export type Sealer = Pick<Keyring, 'seal' | 'open' | 'sealedWith' | 'currentDataKey'>;

/** Where the private key lies that signs the notifications of an instance. */
export const signingKeyPlace: Place = { certificate: '', field: 'signing-key', version: '1' };

/**
 * Where a content lies: nothing opens in the place of another certificate, or of another version.
 */
export function contentPlace(certificate: string, version: string): Place {
  return { certificate, field: 'content', version };
}

/**
 * Whether a value is sealed with the data key that seals now. Throws `sealed_unreadable` when it is
 * none.
 */
export async function isCurrent(sealer: Sealer, sealed: string): Promise<boolean> {
  return sealer.sealedWith(sealed) === (await sealer.currentDataKey());
}
