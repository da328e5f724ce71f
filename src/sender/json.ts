/**
 * A member of a JSON object as it stands in the text: its decoded name and the spelling of its
 * value.
 */
interface MemberText {
  readonly name: string;
  readonly value: string;
}

/** The JSON object in a text, or `undefined` if the text is anything else. */
export function parseJsonObject(text: string): Record<string, unknown> | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined;
  }
  return isJsonObject(value) ? value : undefined;
}

/** Whether a parsed JSON value is an object, neither an array nor null. */
export function isJsonObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

/**
 * The members of a JSON object in the order of the text, repeated ones too: `JSON.parse` hides
 * those, and how a value was spelled. The text must be one that `parseJsonObject` takes. Does not
 * recurse, so nesting costs nothing.
 */
export function jsonMembers(text: string): MemberText[] {
  const members: MemberText[] = [];
  let depth = 0;
  let name: string | undefined;
  let valueStart = 0;
  for (let at = 0; at < text.length; at += 1) {
    const char = text[at];
    if (char === '"') {
      const start = at;
      at = closingQuote(text, at);
      if (name === undefined) name = JSON.parse(text.slice(start, at + 1)) as string;
    } else if (char === '{' || char === '[') {
      depth += 1;
    } else if (char === ':' && depth === 1) {
      valueStart = at + 1;
    } else if (char === ',' || char === '}' || char === ']') {
      if (depth === 1 && name !== undefined) {
        members.push({ name, value: text.slice(valueStart, at).trim() });
        name = undefined;
      }
      if (char !== ',') depth -= 1;
    }
  }
  return members;
}

/** Where the string that opens at `open` ends. */
function closingQuote(text: string, open: number): number {
  let at = open + 1;
  while (text[at] !== '"') at += text[at] === '\\' ? 2 : 1;
  return at;
}
