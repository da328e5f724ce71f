import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import type { CertificateManagerConfig } from '../../src/services/certificate-manager/settings.ts';
import type { Store } from '../../src/store/store.ts';
import type { CabinetConfig } from '../services/cabinet/settings.ts';
import { openStore } from '../services/cabinet/store.ts';

/** Backups that are not like the primary. */
export interface Unlike<Laggard> {
  /** An instance whose reads and listings lag. */
  readonly laggard: Laggard;
  /** Its imports take two requests. */
  readonly cabinet: CabinetSide;
}

/** The word that opens the cabinet. */
export const cabinetPin = 'test-word-of-the-cabinet';

export interface CabinetSide {
  readonly url: string;
  readonly uniqueNames: boolean;
}

/** What the laggard states of itself. */
export const laggardBounds = {
  settlesMs: 1_000,
  listingLagMs: 800,
  readSettlesMs: 500,
} satisfies Partial<CertificateManagerConfig>;

export const cabinetConfig = ({ url, uniqueNames }: CabinetSide): CabinetConfig => ({
  name: 'cabinet',
  kind: 'cabinet',
  region: 'here',
  label: 'hall',
  endpoint: url,
  pin: new Secret(cabinetPin),
  uniqueNames,
  settlesMs: 600,
});

/** A client that goes around the workers' networks. */
export function cabinetClient(side: CabinetSide): Store {
  return openStore(cabinetConfig(side), { runtime, secret: (given) => given as Secret });
}
