const json = /^application\/(?:[\w!#$&^.+-]+\+)?json(?:\s*;\s*charset=(?:utf-8|"utf-8"))?$/i;

/**
 * Whether a body of this Content-Type is read as a notification: none given, `application/json` or
 * `application/*+json`, with no charset or UTF-8.
 */
export function acceptsMediaType(contentType: string | undefined): boolean {
  const value = contentType?.trim() ?? '';
  return value === '' || json.test(value);
}

/** Whether the body stands there as it is: no Content-Encoding, or `identity`. */
export function acceptsEncoding(contentEncoding: string | undefined): boolean {
  const value = contentEncoding?.trim() ?? '';
  return value === '' || value.toLowerCase() === 'identity';
}
