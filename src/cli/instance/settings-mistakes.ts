import type * as z from 'zod/mini';

type Issue = z.core.$ZodIssue;

const typeNames: Readonly<Record<string, string>> = {
  string: 'text',
  object: 'an object, {...}',
  array: 'a list, [...]',
  int: 'a whole number',
  number: 'a whole number',
};

/**
 * What is wrong with settings that a schema refused: one sentence for each mistake, which names its
 * place first.
 */
export function settingsMistakes(issues: readonly Issue[], raw: unknown): readonly string[] {
  return issues.flatMap((issue) => {
    if (issue.code === 'unrecognized_keys')
      return issue.keys.map((key) => `${placeOf([...issue.path, key])}: is not a known key`);
    return [`${placeOf(issue.path)}: ${sentence(issue, raw)}`];
  });
}

const placeOf = (path: readonly PropertyKey[]): string => path.map(String).join('.') || 'the file';

function sentence(issue: Issue, raw: unknown): string {
  const given = issue.path.reduce<unknown>((value, key) => membersOf(value)[String(key)], raw);
  if (given === undefined) return 'is missing';
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${typeNames[issue.expected] ?? issue.expected}`;
    case 'invalid_value':
      return `must be ${issue.values.map(String).join(' or ')}`;
    case 'invalid_union':
      return `must be ${(issue as { options?: readonly string[] }).options?.join(' or ') ?? 'of a known kind'}`;
    case 'too_small':
      return issue.origin === 'array'
        ? `must have at least ${issue.minimum} of them`
        : `must be at least ${issue.minimum}`;
    case 'too_big':
      return issue.origin === 'array'
        ? `must have at most ${issue.maximum} of them`
        : `must be at most ${issue.maximum}`;
    default:
      return 'cannot be understood';
  }
}

const membersOf = (value: unknown): Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null ? (value as Readonly<Record<string, unknown>>) : {};
