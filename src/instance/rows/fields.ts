import { CodedError } from '../../errors.ts';

/**
 * The members of a JSON object that came in a request. Null counts as absent: some clients send it
 * for what they leave out.
 */
export type Fields = Readonly<Record<string, unknown>>;

/** A body as an object. Throws `instance_request_invalid`. */
export function objectOf(value: unknown, what = 'the body'): Fields {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw invalid(`${what} is not a JSON object`);
  return value as Fields;
}

/**
 * A text member, undefined if absent. `characters` is the most it may have. Throws
 * `instance_request_invalid`.
 */
export function optionalText(fields: Fields, name: string, characters: number): string | undefined {
  const value = memberOf(fields, name);
  if (value === undefined) return undefined;
  if (typeof value !== 'string') throw invalid(`${name} is not a string`);
  if ([...value].length > characters) throw invalid(`${name} is longer than ${characters} characters`);
  // Half a surrogate pair has no UTF-8, so it could not be kept and given back.
  if (/\p{Surrogate}/u.test(value)) throw invalid(`${name} is not well-formed Unicode`);
  return value;
}

/** A text member that must be there and not be empty. */
export function requiredText(fields: Fields, name: string, characters: number): string {
  const value = optionalText(fields, name, characters);
  if (value === undefined || value === '') throw invalid(`${name} is missing`);
  return value;
}

/** A member that is true or false, undefined if absent. */
export function optionalBoolean(fields: Fields, name: string): boolean | undefined {
  const value = memberOf(fields, name);
  if (value !== undefined && typeof value !== 'boolean') throw invalid(`${name} is not true or false`);
  return value;
}

/** An own member; undefined if it is absent or null. */
export function memberOf(fields: Fields, name: string): unknown {
  return Object.hasOwn(fields, name) ? (fields[name] ?? undefined) : undefined;
}

export function invalid(message: string): CodedError {
  return new CodedError('instance_request_invalid', message);
}
