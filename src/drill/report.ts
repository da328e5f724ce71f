import * as z from 'zod/mini';
import { CodedError } from '../errors.ts';
import { signatureSchema, signatureState, signText, trustedKey } from '../signing/signed-text.ts';

const copySchema = z.object({
  store: z.string(),
  copy: z.string(),
  name: z.string(),
  certificate: z.string(),
  domains: z.optional(z.array(z.string())),
  notAfter: z.optional(z.string()),
  fingerprint: z.optional(z.string()),
  served: z.boolean(),
  protocol: z.optional(z.string()),
  names: z.optional(z.array(z.string())),
  remarks: z.optional(z.array(z.string())),
  failure: z.optional(z.string()),
  message: z.optional(z.string()),
});

const reportSchema = z.object({
  format: z.literal(1),
  link: z.string(),
  primary: z.string(),
  startedAt: z.string(),
  completedAt: z.string(),
  trust: z.enum(['platform', 'given']),
  kept: z.number(),
  served: z.number(),
  failed: z.number(),
  copies: z.array(copySchema),
  notDrilled: z.array(z.object({ store: z.string(), code: z.string(), message: z.string() })),
});

/**
 * What a drill came to, for one link. `kept`: copies that the backups list, of which a sample may
 * have been drilled.
 */
export type DrillReport = z.infer<typeof reportSchema>;
/**
 * One copy. `failure`: a word for machines; absent if it served. `names`: what was asked for.
 * `remarks`: of a chain that may serve all the same.
 */
export type DrilledCopy = DrillReport['copies'][number];
/** A backup that could not be drilled at all. */
export type NotDrilled = DrillReport['notDrilled'][number];

const signedSchema = z.object({ report: z.string(), signature: signatureSchema });

/**
 * A report as text, with a signature over the very bytes of its own text, which stands inside as a
 * string: so there is no question of how JSON is written.
 */
export function signReport(report: DrillReport, privateKeyPem: string): string {
  const text = JSON.stringify(report, undefined, 1);
  return `${JSON.stringify({ report: text, signature: signText(text, privateKeyPem) }, undefined, 1)}\n`;
}

/**
 * The report in a text that `signReport` made with this key. Throws `drill_report_changed` if a
 * byte of it is another one or it was signed with another key, `drill_report_unreadable` if it is
 * no such text, `usage` if the key is no public key of Ed25519 in PEM.
 */
export function checkReport(text: string, publicKeyPem: string): DrillReport {
  let raw: unknown;
  try {
    raw = JSON.parse(text);
  } catch (cause) {
    throw new CodedError('drill_report_unreadable', 'it is not JSON', { cause });
  }
  const signed = z.safeParse(signedSchema, raw);
  if (!signed.success) throw new CodedError('drill_report_unreadable', 'it is no signed report of a drill');
  const { report, signature } = signed.data;
  const state = signatureState(report, signature, [trustedKey(publicKeyPem)]);
  if (state === 'another-key')
    throw new CodedError('drill_report_changed', 'it was signed with another key than the one that is trusted');
  if (state === 'broken')
    throw new CodedError('drill_report_changed', 'its signature does not hold: it was changed after it was written');
  const parsed = z.safeParse(reportSchema, JSON.parse(report));
  if (!parsed.success) throw new CodedError('drill_report_unreadable', 'it is signed, but of another version');
  return parsed.data;
}
