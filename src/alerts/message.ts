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
function headline({ link, event, severity, words, id }: Told): string {
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
