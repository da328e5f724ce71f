export const severities = ['warning', 'critical'] as const;
export type Severity = (typeof severities)[number];

/** What is told of one finding. */
export interface Told {
  /** Of the finding: the same as long as it stands, and when it comes again. */
  readonly id: string;
  /** Absent: it is about no link. */
  readonly link?: string;
  /** `stands`: it was told before, and is not over. `test`: nothing is wrong. */
  readonly event: 'began' | 'stands' | 'over' | 'test';
  readonly severity: Severity;
  /** Epoch milliseconds. */
  readonly since: number;
  /** When it was over. */
  readonly until?: number;
  /** It is over before the channel was told that it began. */
  readonly unheard?: true;
  /**
   * What `status` says of it, line by line: the first says what, the others why and what mends it.
   * Foreign text in it is visible, and none is without end.
   */
  readonly words: readonly string[];
}

/** What is sent to a channel at once. */
export interface Message {
  /** The same however often it is sent. */
  readonly id: string;
  /** When it was made, epoch milliseconds. */
  readonly at: number;
  readonly told: readonly Told[];
}

const eventWords = { began: '', stands: 'still ', over: 'over: ', test: '' } as const;

/** One finding on one line: `shop: still critical: …`. */
export function headline({ link, event, severity, words, id }: Told): string {
  const weight = event === 'over' ? '' : event === 'test' ? 'test: ' : `${severity}: `;
  const about = link === undefined ? '' : `${link}: `;
  return `certstandby: ${about}${eventWords[event]}${weight}${words[0] ?? id}`;
}

/** The headline of a whole message. */
export function subject({ told }: Message): string {
  const [first, ...more] = told;
  if (first === undefined) return 'certstandby';
  if (more.length === 0) return headline(first);
  const over = told.filter(({ event }) => event === 'over').length;
  const stands = told.length - over;
  const parts = [...(stands > 0 ? [`${stands} to see to`] : []), ...(over > 0 ? [`${over} over`] : [])];
  return `certstandby: ${told.length} findings: ${parts.join(', ')}`;
}

const moment = (at: number) => `${new Date(at).toISOString().slice(0, 16).replace('T', ' ')} UTC`;

/** What a person reads below the headline: why, what mends it, since when, and its name. */
export function details({ words, since, until, event, id }: Told): readonly string[] {
  if (event === 'test') return words.slice(1);
  const when = until === undefined ? `since ${moment(since)}` : `from ${moment(since)} to ${moment(until)}`;
  // Once it is over, nobody need mend anything.
  return [...(event === 'over' ? [] : words.slice(1).map((line) => line.trim())), `${when}; finding ${id}`];
}

/** The same as one text of so many characters at the most. */
export function detailsWithin(told: Told, most: number): string {
  const text = details(told).join('\n');
  return text.length <= most ? text : `${text.slice(0, most - 1).replace(/[\ud800-\udbff]$/, '')}…`;
}

/** A message as lines of plain text. */
export function plainLines({ told }: Message): readonly string[] {
  return told.flatMap((one, index) => [
    ...(index === 0 ? [] : ['']),
    headline(one),
    ...details(one).map((line) => `  ${line}`),
  ]);
}
