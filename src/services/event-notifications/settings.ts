import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import type { Secret, SecretReference } from '../../secret.ts';
import { addressMistakes, ofKind, optional, required, secretReference, text, url } from '../../settings.ts';
import type { SenderConfig, SenderSettings, SettingsContext } from '../service.ts';

const crnOf = (service: string, what: string) =>
  text(
    new RegExp(`^crn:v1:[a-z]+:[a-z]+:${service}:[a-z0-9-]+:a\\/[0-9a-f]+:[0-9a-f-]+::$`),
    `the CRN of ${what}: crn:v1:bluemix:public:${service}:<region>:a/<account>:<guid>::`,
  );

const schema = ofKind('event-notifications', 'IBM Cloud Event Notifications, by a webhook that it signs', {
  store: required(z.string(), 'the store whose certificates it tells of: the primary of one link or more'),
  source: required(
    crnOf('secrets-manager', 'a Secrets Manager instance'),
    'CRN of the Secrets Manager instance whose events it sends: that of the store',
  ),
  instance: required(
    crnOf('event-notifications', 'an Event Notifications instance'),
    'CRN of the Event Notifications instance',
  ),
  destination: optional(
    text(/^[\w-]{1,128}$/, 'the id of a destination'),
    'id of the webhook destination that has the callback URL: its key signs what is sent',
    { otherwise: 'none, and nothing is taken: certstandby doctor --register makes one, and says its id' },
  ),
  apiKey: optional(secretReference, 'where the API key stands by which that key is fetched: env:NAME or file:PATH', {
    otherwise: 'none: profile says who asks',
    secret: true,
  }),
  profile: optional(
    text(/^\S(?:.{0,254}\S)?$/, 'the id or the name of a trusted profile'),
    'the trusted profile, by id or name, that this machine takes on by the token of its compute resource',
    { otherwise: 'none: apiKey says who asks' },
  ),
  computeToken: optional(z.string().check(z.minLength(1)), 'the file in which that token is kept current', {
    otherwise: 'where clusters and Code Engine put it',
  }),
  endpoint: optional(url, 'address of the service', { otherwise: 'the public one of the region' }),
  iam: optional(url, 'where credentials are exchanged for tokens', {
    otherwise: 'https://iam.cloud.ibm.com for IBM Cloud, else the endpoint',
  }),
});

export interface EventNotificationsConfig extends SenderConfig {
  readonly kind: 'event-notifications';
  readonly source: string;
  readonly instance: string;
  /** Absent: it is still to be made. */
  readonly destination?: string;
  /** Absent: there is a profile. */
  readonly apiKey?: Secret | SecretReference;
  readonly profile?: string;
  readonly computeToken?: string;
  readonly endpoint?: string;
  readonly iam?: string;
}

export const eventNotificationsSettings: SenderSettings = {
  schema,

  mistakes({ apiKey, profile, endpoint, iam, source }, store) {
    const isOther = typeof source === 'string' && store?.instance !== undefined && store.instance !== source;
    return [
      ...addressMistakes({ endpoint, iam }),
      ...(apiKey === undefined && profile === undefined
        ? [{ setting: 'apiKey', what: 'is missing, and so is profile: one of them says who fetches the key' }]
        : []),
      ...(apiKey !== undefined && profile !== undefined
        ? [{ setting: 'profile', what: 'is there beside apiKey: one of them says who fetches the key' }]
        : []),
      ...(isOther ? [{ setting: 'source', what: 'is another instance than that of the store' }] : []),
    ];
  },

  toConfig(given: z.infer<typeof schema>, { name, secret, path }: SettingsContext): EventNotificationsConfig {
    const { apiKey, computeToken, ...plain } = given;
    return defined({
      ...plain,
      name,
      apiKey: apiKey === undefined ? undefined : secret('apiKey'),
      computeToken: computeToken === undefined ? undefined : path(computeToken),
    });
  },
};
