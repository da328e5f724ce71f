import { type Fields, invalid, memberOf, objectOf, optionalText, requiredText } from '../../rows/fields.ts';

const descriptionCharacters = 1024;
const mostLabels = 30;
const metadataBytes = 10 * 1024;

/**
 * What a body may say of a secret: lengths and characters as IBM's description of the API has them.
 */
export function nameIn(fields: Fields): string {
  const name = requiredText(fields, 'name', 256);
  checkName(name);
  return name;
}

export function checkName(name: string): void {
  if (name.length < 2 || !/^\w[\w.-]*$/.test(name) || !/[A-Za-z0-9]$/.test(name)) {
    throw invalid(
      'name has 2 to 256 letters, digits, "_", "-" and ".", begins with none of the last two and ends with a letter or a digit',
    );
  }
}

export const descriptionIn = (fields: Fields): string | undefined =>
  optionalText(fields, 'description', descriptionCharacters);

export function groupNameIn(fields: Fields): string {
  const name = requiredText(fields, 'name', 64);
  if (name.length < 2) throw invalid('name has 2 to 64 characters');
  return name;
}

export function labelsIn(fields: Fields): readonly string[] | undefined {
  const labels = memberOf(fields, 'labels');
  if (labels === undefined) return undefined;
  if (!Array.isArray(labels) || labels.length > mostLabels) throw invalid(`labels is no list of at most ${mostLabels}`);
  for (const label of labels) {
    if (typeof label !== 'string' || label.length < 2 || label.length > 64)
      throw invalid('a label has 2 to 64 characters');
  }
  return [...new Set(labels as string[])];
}

/** An object as the text that is kept of it; undefined if it is absent. */
export function metadataIn(fields: Fields, name: string): string | undefined {
  const value = memberOf(fields, name);
  return value === undefined ? undefined : metadataText(objectOf(value, name), name);
}

/**
 * What is kept of custom metadata after a merge patch (RFC 7386): members that are `null` are taken
 * away, the others put in place of what was there.
 */
export function patchedMetadata(fields: Fields, name: string, before: string | undefined): string | undefined {
  const value = memberOf(fields, name);
  if (value === undefined) return undefined;
  return metadataText(merged(objectOf(value, name), before === undefined ? {} : JSON.parse(before)), name);
}

function merged(patch: Fields, before: unknown): Readonly<Record<string, unknown>> {
  const isObject = (value: unknown): value is Fields =>
    typeof value === 'object' && value !== null && !Array.isArray(value);
  const members = new Map(Object.entries(isObject(before) ? before : {}));
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) members.delete(name);
    else members.set(name, isObject(value) ? merged(value, members.get(name)) : value);
  }
  return Object.fromEntries(members);
}

function metadataText(value: Fields, name: string): string {
  const text = JSON.stringify(value);
  if (Buffer.byteLength(text) > metadataBytes) throw invalid(`${name} takes more than ${metadataBytes} bytes`);
  return text;
}
