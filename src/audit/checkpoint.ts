import * as z from 'zod/mini';
import type { PublicKey } from '../certificate/public-key.ts';
import { CodedError } from '../errors.ts';
import { type Signature, signatureSchema, signatureState, signText } from '../signing/signed-text.ts';
import type { Signed } from './audit-rows.ts';

/**
 * What is signed about the trail. Each text says what it is, so that none can stand in place of
 * another.
 */

const endSchema = z.object({ writer: z.string(), last: z.int(), digest: z.string(), lastAt: z.number() });
const checkpointSchema = z.object({
  is: z.literal('certstandby audit checkpoint'),
  format: z.literal(1),
  at: z.number(),
  chains: z.array(endSchema),
});
const baseSchema = z.object({
  is: z.literal('certstandby audit base'),
  format: z.literal(1),
  at: z.number(),
  before: z.number(),
  writer: z.string(),
  number: z.int(),
  digest: z.string(),
});
const horizonSchema = z.object({
  is: z.literal('certstandby audit horizon'),
  format: z.literal(1),
  at: z.number(),
  before: z.number(),
});

/** How far a chain goes: the number and the digest of its last line, and when that was written. */
export type ChainEnd = z.infer<typeof endSchema>;
/** How far chains went at a moment. */
export type Checkpoint = Omit<z.infer<typeof checkpointSchema>, 'is' | 'format'>;
/**
 * Up to which line of a chain retention has removed it, and the digest of that line; all that was
 * removed is from before the moment `before`.
 */
export type Base = Omit<z.infer<typeof baseSchema>, 'is' | 'format'>;
/** Retention has removed chains whose last line is from before this moment. */
export type Horizon = Omit<z.infer<typeof horizonSchema>, 'is' | 'format'>;

const sign = (value: object, privateKeyPem: string): Signed => {
  const text = JSON.stringify(value);
  return { text, signature: signText(text, privateKeyPem) };
};

export const signCheckpoint = ({ at, chains }: Checkpoint, key: string): Signed =>
  sign({ is: 'certstandby audit checkpoint', format: 1, at, chains }, key);

export const signBase = ({ at, before, writer, number, digest }: Base, key: string): Signed =>
  sign({ is: 'certstandby audit base', format: 1, at, before, writer, number, digest }, key);

export const signHorizon = ({ at, before }: Horizon, key: string): Signed =>
  sign({ is: 'certstandby audit horizon', format: 1, at, before }, key);

/** What a signature is worth: `unsigned` where what stands there is nothing that was signed so. */
export type Proven<T> =
  | { readonly state: 'holds'; readonly value: T }
  | { readonly state: 'another-key'; readonly publicKey: string }
  | { readonly state: 'broken' | 'unsigned' };

function proven<T>(schema: z.ZodMiniType<T>, signed: Signed | undefined, trusted: readonly PublicKey[]): Proven<T> {
  if (signed === undefined) return { state: 'unsigned' };
  const { text, signature } = signed;
  const state = signatureState(text, signature, trusted);
  if (state === 'another-key') return { state, publicKey: signature.publicKey };
  if (state === 'broken') return { state };
  const { data } = schema.safeParse(JSON.parse(text));
  return data === undefined ? { state: 'unsigned' } : { state, value: data };
}

export const provenCheckpoint = (signed: Signed | undefined, trusted: readonly PublicKey[]): Proven<Checkpoint> =>
  proven(checkpointSchema, signed, trusted);
export const provenBase = (signed: Signed | undefined, trusted: readonly PublicKey[]): Proven<Base> =>
  proven(baseSchema, signed, trusted);
export const provenHorizon = (signed: Signed | undefined, trusted: readonly PublicKey[]): Proven<Horizon> =>
  proven(horizonSchema, signed, trusted);

const fileSchema = z.object({ checkpoint: z.string(), signature: signatureSchema });

/** A checkpoint as a file, to be kept elsewhere. */
export function checkpointFile({ text, signature }: { readonly text: string; readonly signature: Signature }): string {
  return `${JSON.stringify({ checkpoint: text, signature }, undefined, 1)}\n`;
}

/** The checkpoint in such a file. Throws `audit_checkpoint_unusable`. */
export function readCheckpointFile(text: string, trusted: readonly PublicKey[]): Checkpoint {
  const found = provenCheckpoint(signedIn(text), trusted);
  switch (found.state) {
    case 'holds':
      return found.value;
    case 'another-key':
      throw new CodedError(
        'audit_checkpoint_unusable',
        'the checkpoint was signed with another key than those that are trusted',
        { fields: { reason: 'another_key' } },
      );
    case 'broken':
      throw new CodedError(
        'audit_checkpoint_unusable',
        'the signature of the checkpoint does not hold: it was changed after it was written',
        { fields: { reason: 'broken' } },
      );
    default:
      throw new CodedError('audit_checkpoint_unusable', 'it is no checkpoint of an audit trail');
  }
}

function signedIn(text: string): Signed | undefined {
  try {
    const { data } = fileSchema.safeParse(JSON.parse(text));
    return data && { text: data.checkpoint, signature: data.signature };
  } catch {
    return undefined;
  }
}
