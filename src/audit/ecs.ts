import { defined } from '../defined.ts';
import type { FactKind, Line } from './line.ts';
import { momentOf } from './line.ts';
import type { ReadLine } from './read.ts';
import { lineWords } from './words.ts';

/** Fields by which Elastic Common Schema (8.11) tells events apart. */
interface Kind {
  readonly action: string;
  readonly category: 'configuration' | 'process';
  readonly type: readonly string[];
  readonly outcome?: (line: Line) => 'success' | 'failure' | 'unknown';
}

const kinds: Readonly<Record<FactKind, Kind>> = {
  begin: { action: 'trail-begun', category: 'process', type: ['start'] },
  event: { action: 'notification-acknowledged', category: 'configuration', type: ['info'] },
  events: { action: 'notifications-counted', category: 'configuration', type: ['info'] },
  pass: {
    action: 'copy-written',
    category: 'configuration',
    type: ['change'],
    outcome: ({ backups }) => (backups?.some(({ failed }) => failed !== undefined) === true ? 'failure' : 'success'),
  },
  refusal: { action: 'certificate-refused', category: 'configuration', type: ['denied'], outcome: () => 'failure' },
  act: { action: 'command-run', category: 'configuration', type: ['admin', 'change'] },
  settings: { action: 'settings-changed', category: 'configuration', type: ['change'] },
  drill: {
    action: 'drill-made',
    category: 'configuration',
    type: ['info'],
    outcome: ({ failed = 0, notDrilled = 0 }) => (failed + notDrilled === 0 ? 'success' : 'failure'),
  },
  move: { action: 'link-moved', category: 'configuration', type: ['change'] },
  lost: { action: 'lines-lost', category: 'process', type: ['error'], outcome: () => 'failure' },
  taken: { action: 'chain-taken', category: 'process', type: ['error'], outcome: () => 'failure' },
};

const isKnown = (kind: string): kind is FactKind => Object.hasOwn(kinds, kind);

/**
 * A line as an event of Elastic Common Schema, for a SIEM: `event.hash` is the digest of the line,
 * `event.original` the line as it is kept, so that the chain can be proven there too. What has no
 * field there stands below `certstandby`.
 */
export function ecsEvent({ line, text, digest, person }: ReadLine): object {
  const { kind, at, writer, number, format: _format, who: _who, happenedAt: _happenedAt, ...facts } = line;
  const known: Kind = isKnown(kind) ? kinds[kind] : { action: kind, category: 'configuration', type: ['info'] };
  const { action, category, type, outcome } = known;
  const { user, uid, sudoUser, host, from } = person ?? {};
  return {
    '@timestamp': new Date(momentOf(line)).toISOString(),
    ecs: { version: '8.11.0' },
    message: lineWords(line),
    event: defined({
      kind: 'event',
      category: [category],
      type,
      action,
      outcome: outcome?.(line),
      code: line.code,
      provider: 'certstandby',
      module: 'certstandby',
      dataset: 'certstandby.audit',
      created: at,
      sequence: number,
      id: `${writer}/${number}`,
      hash: digest,
      original: text,
    }),
    ...(person === undefined
      ? {}
      : {
          user: defined({ name: user, id: uid }),
          ...(host === undefined ? {} : { host: { hostname: host } }),
          ...(from === undefined ? {} : { source: { ip: from } }),
        }),
    certstandby: { ...facts, kind, writer, ...defined({ sudoUser }) },
  };
}
