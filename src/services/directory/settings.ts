import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { duration, durationText, milliseconds, ofKind, optional, ownRegion, required, text } from '../../settings.ts';
import type { ServiceSettings, SettingsContext, StoreConfig } from '../service.ts';
import { directoryDefaults as defaults } from './defaults.ts';

const folderId = text(
  /^[\w.@-]{1,100}$/,
  'a name for this folder among all folders, of letters, digits and .@_-, at most 100',
);

const schema = ofKind('directory', 'a folder with the files of certificates', {
  path: required(z.string(), 'the folder, relative to this file'),
  id: required(folderId, 'names it among all folders of all machines, for ever; stands in the marks on copies'),
  region: ownRegion(defaults.region),
  quiet: optional(duration, 'how long after a change the next one is waited for', {
    default: durationText(defaults.quietMs),
  }),
  keepVersions: optional(z.int().check(z.minimum(0), z.maximum(1_000)), 'versions that stay beside the one in force', {
    default: defaults.keepVersions,
  }),
});

export interface DirectoryConfig extends StoreConfig {
  readonly kind: 'directory';
  readonly path: string;
  /** Stands in marks. */
  readonly id: string;
  readonly quietMs?: number;
  readonly keepVersions?: number;
}

export const directorySettings: ServiceSettings = {
  schema,
  onThisMachine: true,

  identities: ({ id }) => [{ is: typeof id === 'string' ? `directory:${id}` : undefined, same: 'has the same id' }],

  folder: ({ path }) => (typeof path === 'string' ? path : undefined),

  region: ({ region = defaults.region }) => (typeof region === 'string' ? region : undefined),

  toConfig(given: z.infer<typeof schema>, { name, path }: SettingsContext): DirectoryConfig {
    const { quiet, path: folder, region = defaults.region, ...plain } = given;
    return defined({
      ...plain,
      name,
      region,
      path: path(folder),
      quietMs: milliseconds(quiet),
    });
  },
};
