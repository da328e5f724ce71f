import { hash } from 'node:crypto';
import { readChangeMessage } from '../../sender/change-message.ts';
import { verifyBearerToken } from '../../sender/proofs/bearer-token.ts';
import type { Sender } from '../../sender/sender.ts';
import type { OidcTokenConfig } from './settings.ts';

/**
 * A job or a service that bears a token of OpenID Connect. The token proves who sends, and nothing
 * of the body.
 */
export function senderOf({ name, store, issuer, jwks, audience, bearer }: OidcTokenConfig): Sender {
  return {
    store,
    keysFrom: jwks,
    tryAgain: 503,
    receive({ header, body }, keys, now) {
      verifyBearerToken(header('authorization'), keys, { issuer, audience, bearer, now });
      const digest = hash('sha256', `oidc-token\n${name}\n${hash('sha256', body)}`);
      return { events: [{ ...readChangeMessage(body, store), unsigned: true, digest }] };
    },
  };
}
