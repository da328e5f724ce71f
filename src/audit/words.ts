import { clean, count } from '../words.ts';
import type { Line, Person } from './line.ts';

const text = (value: unknown): string => (typeof value === 'string' || typeof value === 'number' ? String(value) : '');
const texts = (value: unknown): readonly string[] => (Array.isArray(value) ? value.map(text) : []);

/** What a line tells, in words for people. Foreign text in it is made visible. */
export function lineWords(line: Line): string {
  const words = plainWords(line);
  return clean(line.addedLater === true ? `${words} (added later, from the records)` : words);
}

function plainWords(line: Line): string {
  const { kind, certificate = '' } = line;
  switch (kind) {
    case 'begin':
      return `${text(line.program)} begins a chain${line.after === undefined ? '' : `, after ${text(line.after)}`}`;
    case 'event':
      return `${text(line.sender)} told of ${texts(line.certificates).join(', ') || 'a change'}${line.event === undefined ? '' : ` (${text(line.event)})`}`;
    case 'events':
      return `${text(line.sender)} told of ${count(line.fresh ?? 0, 'more change')}, and ${count(line.repeats ?? 0, 'repeat')}`;
    case 'pass':
      return `${certificate}: ${passWords(line.backups)}`;
    case 'refusal':
      return `${certificate} was refused${line.backup === undefined ? '' : ` by ${text(line.backup)}`}: ${text(line.code)}`;
    case 'act':
      return `certstandby ${text(line.command)}${optionWords(line.options)}${erasedWords(line.erased)}`;
    case 'settings':
      return `the configuration ${settingsWords(line)}`;
    case 'drill':
      return `a drill: ${text(line.served)} served, ${text(line.failed)} failed, of ${text(line.kept)} kept`;
    case 'move':
      return `${text(line.move)} from ${text(line.from)} into ${text(line.to)} ${line.done === true ? `ended: ${text(line.moved)} moved, ${text(line.failed)} failed` : 'began'}`;
    case 'lost':
      return `${count(line.lines ?? 0, 'line')} could not be kept until the table took them`;
    case 'taken':
      return `line ${text(line.taken)} of ${text(line.chain)} was written by somebody else`;
    default:
      return kind;
  }
}

function passWords(backups: Line['backups']): string {
  if (backups === undefined) return 'written';
  return backups
    .map(({ actions = [], backup = '', copy, failed }) => {
      const done = actions.join(', ') || 'a write';
      return `${done} in ${backup}${copy === undefined ? '' : ` as ${copy}`}${failed === undefined ? '' : ` [${failed}]`}`;
    })
    .join('; ');
}

function optionWords(options: unknown): string {
  if (typeof options !== 'object' || options === null) return '';
  return Object.entries(options)
    .map(([name, value]) => {
      if (value === true) return ` --${name}`;
      return name.startsWith('<')
        ? ` ${texts([value].flat()).join(' ')}`
        : ` --${name} ${texts([value].flat()).join(' ')}`;
    })
    .join('');
}

const erasedWords = (erased: Line['erased']): string =>
  erased === undefined ? '' : `: erased who did ${count(erased.length, 'act')}`;

function settingsWords({ added, removed, changed, first }: Line): string {
  if (first === true) return 'is seen for the first time';
  const parts = [
    ['added', texts(added)],
    ['removed', texts(removed)],
    ['changed', texts(changed)],
  ] as const;
  const words = parts.filter(([, names]) => names.length > 0).map(([what, names]) => `${what}: ${names.join(', ')}`);
  return `is another one: ${words.join('; ')}`;
}

/** Who did it. */
export function personWords({ user, uid, sudoUser, host, from }: Person): string {
  const who = user ?? `user ${uid ?? 'unknown'}`;
  const by = sudoUser === undefined ? '' : ` (sudo by ${sudoUser})`;
  return clean(`${who}${by} on ${host ?? 'an unknown host'}${from === undefined ? '' : ` from ${from}`}`);
}
