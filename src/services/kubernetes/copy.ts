import * as z from 'zod/mini';
import type { CertificateContent } from '../../certificate/certificate.ts';
import { isSelfSigned } from '../../certificate/chain.ts';
import { parseContent, toPem } from '../../certificate/pem.ts';
import { formatBlock } from '../../certificate/pem-blocks.ts';
import { defined } from '../../defined.ts';
import { parseJson } from '../../http/service-failure.ts';
import { Secret as Hidden } from '../../secret.ts';
import type { ContentFacts } from '../../store/content-facts.ts';
import { cutText, type FoundMark, formatMark, markDigest, parseMark, storeDigest } from '../../store/mark.ts';
import type { DescriptiveMetadata } from '../../store/store.ts';
import type { ObjectMetadata, Secret } from './objects.ts';

/** What we leave on a secret that we made. Nothing of it is on a secret of a primary. */
const annotation = {
  name: 'certstandby/name',
  description: 'certstandby/description',
  tags: 'certstandby/tags',
  mark: 'certstandby/mark',
  /** What its certificate says of itself, so that a listing can show it. It decides nothing. */
  facts: 'certstandby/facts',
} as const;

/** Labels can be asked for: the digest of the mark, and of the primary's id. */
export const label = { mark: 'certstandby/mark', primary: 'certstandby/primary' } as const;

/** All annotations of an object together may have 256 KiB; ours take a fraction of that. */
const nameCharacters = 512;
const descriptionCharacters = 2_048;
const tagsCharacters = 1_024;
/** A certificate may be for a thousand names: what is said of it then is not kept beside it. */
const factsCharacters = 4_096;

const factsSchema = z.object({
  domains: z.array(z.string()),
  issuer: z.optional(z.string()),
  serial: z.optional(z.string()),
  notBefore: z.optional(z.number()),
  notAfter: z.optional(z.number()),
});

/** The facts beside a copy of ours; `undefined` where there are none. */
export function annotatedFacts({ annotations }: ObjectMetadata): ContentFacts | undefined {
  const found = z.safeParse(factsSchema, parseJson(annotations[annotation.facts] ?? '')).data;
  return found && defined(found);
}

/** Whether we made it: whatever its mark is by now. */
export const isOurs = ({ annotations, labels }: ObjectMetadata): boolean =>
  annotations[annotation.name] !== undefined || labels[label.mark] !== undefined;

export function markOf({ annotations, labels }: ObjectMetadata): FoundMark | undefined {
  const whole = parseMark(annotations[annotation.mark] ?? '');
  if (whole !== undefined) return whole;
  // The annotation was taken off or damaged: the labels are digests of it.
  const [digest, owner] = [labels[label.mark], labels[label.primary]];
  const isDigest = (text: string | undefined, digits: number): text is string =>
    text?.length === digits && /^[0-9a-f]+$/.test(text);
  return isDigest(digest, 32) && isDigest(owner, 16) ? { digest, storeDigest: owner } : undefined;
}

/** Name, description and tags as they are kept. */
export function described({ name, description, tags }: DescriptiveMetadata): DescriptiveMetadata {
  // Half a surrogate pair has no UTF-8.
  const fitting = tags.map((tag) => tag.toWellFormed());
  while (JSON.stringify(fitting).length > tagsCharacters) fitting.pop();
  return {
    name: cutText(name.toWellFormed(), nameCharacters),
    description: cutText(description.toWellFormed(), descriptionCharacters),
    tags: fitting,
  };
}

/** What the annotations say; of a secret that we did not make its own name. */
export function descriptionOf({ name, annotations }: ObjectMetadata): DescriptiveMetadata {
  return {
    name: annotations[annotation.name] ?? name,
    description: annotations[annotation.description] ?? '',
    tags: z.safeParse(z.array(z.string()), parseJson(annotations[annotation.tags] ?? '')).data ?? [],
  };
}

/** Our annotations and labels, for an object that has these others beside them. */
export function annotated(
  { annotations, labels }: Pick<ObjectMetadata, 'annotations' | 'labels'>,
  metadata: DescriptiveMetadata,
  mark: FoundMark | undefined,
  facts: ContentFacts | undefined,
) {
  const { name, description, tags } = described(metadata);
  const factsText = facts === undefined ? '' : JSON.stringify(facts);
  const ours = new Set<string>([...Object.values(annotation), ...Object.values(label)]);
  const others = (all: Readonly<Record<string, string>>) =>
    Object.fromEntries(Object.entries(all).filter(([key]) => !ours.has(key)));
  return {
    annotations: {
      ...others(annotations),
      [annotation.name]: name,
      ...(description !== '' && { [annotation.description]: description }),
      ...(tags.length > 0 && { [annotation.tags]: JSON.stringify(tags) }),
      ...(mark && { [annotation.mark]: formatMark(mark) }),
      ...(factsText !== '' && factsText.length <= factsCharacters && { [annotation.facts]: factsText }),
    },
    labels: {
      ...others(labels),
      ...(mark && { [label.mark]: markDigest(mark), [label.primary]: ownerOf(mark) }),
    },
  };
}

const ownerOf = (mark: FoundMark): string => ('storeDigest' in mark ? mark.storeDigest : storeDigest(mark.store));

/** The data keys of a certificate, and no others. */
export const keys = { certificate: 'tls.crt', privateKey: 'tls.key', authority: 'ca.crt' } as const;

/**
 * Content as data of a secret, in base64. Without a private key its value is empty, as the type
 * wants both. With `caCrt` a root in the chain stands in `ca.crt` and not in `tls.crt`.
 */
export function dataOf(content: CertificateContent, { caCrt }: { readonly caCrt: boolean }): Record<string, string> {
  const roots = caCrt ? content.chain.filter(isSelfSigned) : [];
  const chain = content.chain.filter((certificate) => !roots.includes(certificate));
  const { certificate, intermediate = '', privateKey } = toPem({ ...content, chain });
  return {
    [keys.certificate]: base64(certificate + intermediate),
    [keys.privateKey]: privateKey === undefined ? '' : base64(privateKey.reveal()),
    ...(roots.length > 0 && {
      [keys.authority]: base64(roots.map(({ raw }) => formatBlock('CERTIFICATE', raw)).join('')),
    }),
  };
}

/** The sum of all values, decoded: what the API server bounds. */
export function bytesOf(data: Readonly<Record<string, string>>): number {
  return Object.values(data).reduce((sum, value) => sum + Buffer.byteLength(value, 'base64'), 0);
}

/**
 * Whether a secret of the type holds no certificate: tools make an empty one, to be filled later.
 */
export function isEmpty({ data }: Secret): boolean {
  return textIn(data, keys.certificate).trim() === '';
}

/** The content of a secret. Throws what `parseContent` throws. */
export function contentIn({ data }: Secret, { caCrt }: { readonly caCrt: boolean }): CertificateContent {
  const certificate = textIn(data, keys.certificate);
  const privateKey = new Hidden(textIn(data, keys.privateKey));
  const authority = caCrt ? textIn(data, keys.authority) : '';
  const names = { certificate: keys.certificate, intermediate: keys.authority, privateKey: keys.privateKey };
  try {
    return parseContent({ certificate, intermediate: authority, privateKey }, names);
  } finally {
    privateKey.wipe();
  }
}

function textIn(data: Secret['data'], key: string): string {
  return Buffer.from(data[key] ?? '', 'base64').toString('utf8');
}

const base64 = (text: string): string => Buffer.from(text).toString('base64');
