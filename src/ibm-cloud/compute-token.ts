import { CodedError } from '../errors.ts';
import { readRegularFile } from '../regular-file.ts';
import { Secret } from '../secret.ts';
import type { TrustedProfile } from './iam.ts';

/** Where IBM's SDKs look for the token of a compute resource, first to last. */
const usualPlaces = [
  '/var/run/secrets/tokens/vault-token',
  '/var/run/secrets/tokens/sa-token',
  '/var/run/secrets/codeengine.cloud.ibm.com/compute-resource-token/token',
];
const tokenBytes = 64 * 1024;

/**
 * A trusted profile that this machine takes on by the token in a file, or in the usual place: read
 * as it is each time, because what puts it there renews it.
 */
export function trustedProfile(profile: string, file: string | undefined): TrustedProfile {
  return { profile, computeToken: () => readComputeToken(file === undefined ? usualPlaces : [file]) };
}

async function readComputeToken(places: readonly string[]): Promise<Secret> {
  for (const place of places) {
    try {
      const bytes = await readRegularFile(place, { maxBytes: tokenBytes });
      const token = bytes.toString('utf8').trim();
      bytes.fill(0);
      return new Secret(token);
    } catch (thrown) {
      if (!(thrown instanceof CodedError) || thrown.code !== 'file_missing') throw thrown;
    }
  }
  throw new CodedError('file_missing', `there is no token of a compute resource: ${places.join(', ')}`, {
    fields: {
      remedy:
        'Run this where IBM Cloud puts such a token (a cluster, with a projected service account token; Code Engine), or name its file as computeToken, or set apiKey in place of profile.',
    },
  });
}
