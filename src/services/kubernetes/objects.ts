import * as z from 'zod/mini';
import { otherwise } from '../../lenient.ts';

// What an API server answers, read leniently: only what nothing can be done without is demanded;
// a member that is missing or of another type is as if the server had not said it.

const texts = otherwise(z.record(z.string(), z.string()), {});
const text = otherwise(z.optional(z.string()), undefined);

const metadataSchema = z.object({
  name: z.string(),
  namespace: z.string(),
  uid: z.string(),
  resourceVersion: z.string(),
  creationTimestamp: text,
  deletionTimestamp: text,
  labels: texts,
  annotations: texts,
  finalizers: otherwise(z.array(z.string()), []),
  ownerReferences: otherwise(z.array(z.object({ kind: z.string(), name: z.string() })), []),
  managedFields: otherwise(z.array(z.object({ manager: otherwise(z.string(), ''), time: text })), []),
});

/** What is said of an object, with or without its content. */
export type ObjectMetadata = z.infer<typeof metadataSchema>;

const objectSchema = z.object({ metadata: metadataSchema });

const secretSchema = z.object({
  metadata: metadataSchema,
  type: text,
  data: texts,
  immutable: otherwise(z.boolean(), false),
});

/** A secret in full. */
export type Secret = z.infer<typeof secretSchema>;

const listSchema = z.object({
  kind: z.string().check(z.regex(/List$/)),
  // A page that does not say how to go on would be taken for the last one.
  metadata: z.object({ continue: z.optional(z.string()), resourceVersion: z.optional(z.string()) }),
  // Of no items the server says `null`.
  items: z.nullable(z.array(z.unknown())),
});

const namespaceSchema = z.object({
  metadata: z.object({ uid: z.string(), deletionTimestamp: text }),
});

const eventSchema = z.object({ type: z.string(), object: z.unknown() });
const bookmarkSchema = z.object({ metadata: z.object({ resourceVersion: z.string() }) });
const errorSchema = z.object({ code: otherwise(z.number(), 0) });

/** The type of the secrets that are certificates. */
export const tlsType = 'kubernetes.io/tls';

/** What is said of an object; `undefined` if this is none. */
export function readObject(json: unknown): ObjectMetadata | undefined {
  return z.safeParse(objectSchema, json).data?.metadata;
}

export function readSecret(json: unknown): Secret | undefined {
  return z.safeParse(secretSchema, json).data;
}

/** One page of a listing; `undefined` if this is none. */
export function readList(json: unknown) {
  const { data } = z.safeParse(listSchema, json);
  return data && { ...data, items: data.items ?? [] };
}

export function readNamespace(json: unknown) {
  const metadata = z.safeParse(namespaceSchema, json).data?.metadata;
  return metadata && { uid: metadata.uid, isEnding: metadata.deletionTimestamp !== undefined };
}

/** A line of a watch. */
export type WatchEvent =
  | { readonly type: 'changed' | 'deleted'; readonly object: ObjectMetadata }
  | { readonly type: 'bookmark'; readonly resourceVersion: string }
  | { readonly type: 'error'; readonly code: number };

/** What a line of a watch says; `undefined` if that cannot be understood. */
export function readEvent(json: unknown): WatchEvent | undefined {
  const { type, object } = z.safeParse(eventSchema, json).data ?? {};
  if (type === 'BOOKMARK') {
    const resourceVersion = z.safeParse(bookmarkSchema, object).data?.metadata.resourceVersion;
    return resourceVersion === undefined ? undefined : { type: 'bookmark', resourceVersion };
  }
  if (type === 'ERROR') return { type: 'error', code: z.safeParse(errorSchema, object).data?.code ?? 0 };
  const found = readObject(object);
  if (found === undefined || (type !== 'ADDED' && type !== 'MODIFIED' && type !== 'DELETED')) return undefined;
  return { type: type === 'DELETED' ? 'deleted' : 'changed', object: found };
}
