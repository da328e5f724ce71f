import { createHash } from 'node:crypto';
import * as z from 'zod/mini';
import { limits } from '../limits.ts';

/**
 * One line of the audit trail, as a text. Its digest is over the very bytes of that text, which is
 * kept as it is: so there is no question of how JSON is written. Each line of a chain has the
 * number and the digest of the one before, so that none can be changed, left out or put elsewhere
 * without the next one saying so.
 */

/** What stands in place of a digest before the first line of a chain. */
export const noDigest = '0'.repeat(64);

/**
 * What a line may tell. `begin`: the first of a chain, and which program writes it. `events`:
 * events that were counted and not told one by one. `lost`: lines that the writer had no room for.
 * `taken`: a number of this writer's chain was used by somebody else, and it goes on in a new one.
 */
export const factKinds = [
  'begin',
  'event',
  'events',
  'pass',
  'refusal',
  'act',
  'settings',
  'drill',
  'move',
  'lost',
  'taken',
] as const;
export type FactKind = (typeof factKinds)[number];

/** What is told, but for the place in a chain. Never a key, nor anything of one but digests. */
export interface Fact {
  readonly kind: FactKind;
  readonly link?: string;
  readonly certificate?: string;
  /** When it happened, epoch milliseconds, where that is not when it is written. */
  readonly happenedAt?: number;
  /** Nobody wrote it when it happened: it was found in the records, and is added now. */
  readonly addedLater?: true;
  readonly [name: string]: unknown;
}

/** Of a person, for an act: kept beside the chain, so that it can be erased. */
export type Person = Readonly<Record<string, string>>;

/** As `Date` writes a moment, and the furthest that it can tell of, either way. */
const momentText = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/;
const furthestMs = 8.64e15;
const text = z.optional(z.string());
const texts = z.optional(z.array(z.string()));
const number = z.optional(z.number());

/**
 * What is read of a line is of the type that the writer gives it: whoever may change the table may
 * write anything there, and no reader falls over it.
 */
const lineSchema = z.looseObject({
  format: z.literal(1),
  writer: z.string(),
  number: z.int(),
  before: z.string(),
  at: z.string().check(z.refine((at) => momentText.test(at) && !Number.isNaN(Date.parse(at)))),
  kind: z.string(),
  link: text,
  certificate: text,
  happenedAt: z.optional(z.number().check(z.refine((moment) => Math.abs(moment) <= furthestMs))),
  addedLater: z.optional(z.boolean()),
  who: text,
  program: text,
  after: text,
  afterAt: z.optional(z.number()),
  chain: text,
  taken: number,
  lines: number,
  sender: text,
  certificates: texts,
  fresh: number,
  repeats: number,
  backup: text,
  code: text,
  finding: text,
  fingerprint: text,
  backups: z.optional(
    z.array(z.looseObject({ backup: text, actions: texts, copy: text, fingerprint: text, failed: text })),
  ),
  command: text,
  erased: texts,
  added: texts,
  removed: texts,
  changed: texts,
  kept: number,
  served: number,
  failed: number,
  notDrilled: number,
  moved: number,
});

/** More levels than any fact has, and fewer than what reads it can take. */
const deepest = 16;
const isDeep = (value: unknown, levels = deepest): boolean =>
  typeof value === 'object' &&
  value !== null &&
  (levels === 0 || Object.values(value).some((inner) => isDeep(inner, levels - 1)));

/** A line as read. `kind` may be one of a newer version. */
export type Line = z.infer<typeof lineSchema>;

/** SHA-256 of a text, in hex. */
export const digestOf = (text: string): string => createHash('sha256').update(text).digest('hex');

/** What a person is known by in a chain: says nothing to whom the salt is not known. */
export const personDigest = (salt: string, text: string): string => digestOf(`${salt}\n${text}`);

/**
 * The text of a line. A fact that is too large for one (no sender can make it so) is told without
 * its own fields, and with its size.
 */
export function lineText(place: Pick<Line, 'writer' | 'number' | 'before' | 'at'>, fact: Fact, who?: string): string {
  const { writer, number, before, at } = place;
  const head = { format: 1, writer, number, before, at };
  const person = who === undefined ? {} : { who };
  // The place stands first, and no fact can say another one.
  const text = JSON.stringify({ ...head, ...fact, ...head, ...person });
  const bytes = Buffer.byteLength(text);
  if (bytes <= limits.auditLineBytes) return text;
  const { kind, link, certificate } = fact;
  return JSON.stringify({ ...head, kind, link, certificate, ...person, tooLargeBytes: bytes });
}

/** A line from its text; `undefined` if it is none. */
export function readLine(text: string): Line | undefined {
  try {
    const value: unknown = JSON.parse(text);
    return isDeep(value) ? undefined : lineSchema.safeParse(value).data;
  } catch {
    return undefined;
  }
}

/** When what a line tells happened, epoch milliseconds. */
export const momentOf = (line: Line): number => line.happenedAt ?? Date.parse(line.at);
