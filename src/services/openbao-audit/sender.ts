import { isUtf8 } from 'node:buffer';
import { hash } from 'node:crypto';
import * as z from 'zod/mini';
import { visibleWithin } from '../../foreign-text.ts';
import { otherwise } from '../../lenient.ts';
import { limits } from '../../limits.ts';
import { malformedMessage } from '../../sender/change-message.ts';
import type { LifecycleEvent } from '../../sender/event.ts';
import { parseJsonObject } from '../../sender/json.ts';
import { sharedSecretSender } from '../../sender/proofs/shared-secret.ts';
import type { Sender } from '../../sender/sender.ts';
import { openBaoAuditDefaults as defaults } from './defaults.ts';
import type { OpenBaoAuditConfig } from './settings.ts';

/**
 * One record of an audit device. Texts that may be secret are digests there; paths, numbers and
 * what was done are as they are.
 */
const recordSchema = z.object({
  type: z.string(),
  time: otherwise(z.string(), ''),
  error: otherwise(z.string(), ''),
  request: z.object({
    id: z.string(),
    operation: z.string(),
    mount_type: otherwise(z.string(), ''),
    path: z.string(),
    namespace: otherwise(z.object({ path: otherwise(z.string(), '') }), { path: '' }),
  }),
});

const writes: ReadonlySet<string> = new Set(['create', 'update', 'patch', 'delete']);
/** What version 2 of the engine calls the areas in which a write changes what is read. */
const areas = /^(?:data|metadata|delete|undelete|destroy)\//;
/** Secrets that are one certificate together with those beside them: its id is their folder. */
const companions = /(^|\/)(?:cert\.pem|fullchain\.pem|chain\.pem|cert\.key|privkey\.pem)$/;

/**
 * The `http` audit device of an OpenBao: it posts each request and each response, and waits for the
 * answer. All but successful writes below the prefix is dropped at once. A record that is refused
 * is not sent again; with another device beside it nothing fails.
 */
export function senderOf(config: OpenBaoAuditConfig): Sender {
  const { name, store, digest, nextDigest, prefix, namespace } = config;
  const { header, mount } = { ...defaults, ...config };
  const root = prefix === undefined ? '' : `${prefix}/`;
  const inNamespace = namespace === undefined ? '' : `${namespace}/`;

  /** The certificate that a write at this path is of; `undefined` if it is none of this store. */
  function certificateAt(path: string): string | undefined {
    if (!path.startsWith(`${mount}/`)) return undefined;
    const inMount = path.slice(mount.length + 1);
    // Version 1 of the engine has no areas.
    const below = inMount.replace(areas, '');
    if (!below.startsWith(root)) return undefined;
    const id = below.slice(root.length).replace(companions, '$1');
    return id === '' ? undefined : id;
  }

  return sharedSecretSender({ store, header, digest, nextDigest }, (body) => {
    const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength);
    const record = z.safeParse(recordSchema, isUtf8(bytes) ? parseJsonObject(bytes.toString('utf8')) : undefined);
    if (!record.success) throw malformedMessage('the body is no record of an audit device');
    const { type, time, error, request: of } = record.data;
    const isWrite = type === 'response' && error === '' && of.mount_type === 'kv' && writes.has(of.operation);
    const certificate = isWrite && of.namespace.path === inNamespace ? certificateAt(of.path) : undefined;
    if (certificate === undefined) return [];
    const occurredAt = Date.parse(time);
    const event: LifecycleEvent = {
      kind: 'other',
      changes: true,
      type: visibleWithin(`kv ${of.operation}`, limits.notificationTextCharacters),
      version: 1,
      store,
      certificates: [{ id: certificate, name: '' }],
      digest: hash('sha256', `openbao-audit\n${name}\n${of.id}`),
      ...(occurredAt >= 0 && { occurredAt }),
    };
    return [event];
  });
}
