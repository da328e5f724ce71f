import * as z from 'zod/mini';
import { accountNumber, regionName } from '../../aws/arn.ts';
import { defined } from '../../defined.ts';
import { addressMistakes, ofKind, optional, required, text, url } from '../../settings.ts';
import type { SenderConfig, SenderSettings, SettingsContext } from '../service.ts';
import { eventBridgeDefaults } from './defaults.ts';

const digest = text(/^[0-9a-f]{64}$/, 'SHA-256 of a key, as 64 digits: printf %s "$KEY" | sha256sum');

const schema = ofKind('eventbridge', 'an API destination of Amazon EventBridge', {
  store: required(z.string(), 'the store of the kind aws-acm or aws-secrets-manager whose certificates it tells of'),
  of: required(z.enum(['acm', 'secretsmanager']), 'the service of that store: acm or secretsmanager'),
  region: required(regionName, 'the region of that store'),
  account: required(accountNumber, 'the account of that store'),
  namePrefix: optional(text(/^[\w/+=.@-]{1,200}$/, 'the beginning of names of secrets'), 'its namePrefix', {
    otherwise: 'none',
  }),
  delivery: optional(
    z.enum(['api-destination', 'queue']),
    'how events come: to the callback URL with a key (api-destination), or, where the functions are deployed on AWS, by rules and a queue that are deployed with them, without any secret (queue)',
    { default: 'api-destination' },
  ),
  digest: optional(digest, 'SHA-256 of the API key of the connection, in hex; the key itself is not needed here', {
    otherwise: 'must be given, but for a queue',
  }),
  nextDigest: optional(digest, 'that of a second key that is good as well, while one takes the place of the other', {
    otherwise: 'none',
  }),
  header: optional(
    text(/^[a-zA-Z][a-zA-Z0-9-]{0,63}$/, 'the name of a header'),
    'the name of the key in the connection, which is the header that holds it',
    { default: eventBridgeDefaults.header },
  ),
  endpoint: optional(url, 'where doctor asks for rules, dead letters and trails, and the token service (sts)', {
    otherwise: 'the public ones of the region',
  }),
});

export interface EventBridgeConfig extends SenderConfig {
  readonly kind: 'eventbridge';
  readonly of: 'acm' | 'secretsmanager';
  readonly region: string;
  readonly account: string;
  readonly namePrefix?: string;
  readonly delivery?: 'api-destination' | 'queue';
  readonly digest?: string;
  readonly nextDigest?: string;
  readonly header?: string;
  readonly endpoint?: string;
}

export const eventBridgeSettings: SenderSettings = {
  schema,
  keySettings: ['digest', 'nextDigest'],

  mistakes: ({ delivery, digest: own, nextDigest, header, endpoint }) => {
    const address = addressMistakes({ endpoint });
    if (delivery !== 'queue')
      return [...address, ...(own === undefined ? [{ setting: 'digest', what: 'is missing' }] : [])];
    const meaningless = Object.entries({ digest: own, nextDigest, header }).flatMap(([setting, value]) =>
      value === undefined ? [] : [{ setting, what: 'has no meaning where events come by a queue' }],
    );
    return [...address, ...meaningless];
  },

  toConfig: (given: z.infer<typeof schema>, { name }: SettingsContext): EventBridgeConfig =>
    defined({ ...given, name }),
};
