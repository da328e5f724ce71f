import { createHmac, type KeyObject, sign } from 'node:crypto';

/** What a certificate is called in a message: its id in the store, or its name there, which is looked up. */
export type Named = { readonly id: string } | { readonly name: string };

/** The type of a message that something has changed, and of one that only tries the way. */
export const changedType = 'certificate.changed';
export const testType = 'certificate.test';

/**
 * The body of a message: `payload.schema.json` describes it. Without certificates it says that something has changed, and everything is
 * compared.
 */
export function messageBody(given: {
  readonly type: string;
  /** Epoch milliseconds. */
  readonly at: number;
  readonly certificates?: readonly Named[];
}): string {
  const { type, at, certificates } = given;
  const data = certificates === undefined ? {} : { certificates };
  return JSON.stringify({ type, timestamp: new Date(at).toISOString(), data });
}

/** What is signed of a message (Standard Webhooks, "Signature scheme"): id, timestamp and body, a full stop between. */
export const signedContent = (id: string, timestamp: string, body: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);

/** The headers of one try to send a message, signed anew at this moment (epoch milliseconds) by a key of `signingKey`. */
export function messageHeaders(
  key: KeyObject,
  { id, body, now }: { readonly id: string; readonly body: string; readonly now: number },
): Readonly<Record<string, string>> {
  const timestamp = String(Math.floor(now / 1_000));
  const content = signedContent(id, timestamp, Buffer.from(body));
  const signature =
    key.type === 'secret'
      ? `v1,${createHmac('sha256', key).update(content).digest('base64')}`
      : `v1a,${sign(null, content, key).toString('base64')}`;
  return { 'webhook-id': id, 'webhook-timestamp': timestamp, 'webhook-signature': signature };
}
