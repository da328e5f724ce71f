import { createHmac, type KeyObject, sign } from 'node:crypto';

/**
 * What is signed of a message (Standard Webhooks, "Signature scheme"): id, timestamp and body, a
 * full stop between.
 */
export const signedContent = (id: string, timestamp: string, body: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`${id}.${timestamp}.`), body]);

/**
 * The headers of one try to send a message, signed anew at this moment (epoch milliseconds) by a
 * key of `signingKey`.
 */
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
