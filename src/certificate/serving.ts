/**
 * Whether some name is served by both, letters compared without case; a wildcard serves the names
 * of one label more. A name in a store is given by people and programs, and two certificates that
 * it was given to need not be of one site: this tells whether they are.
 */
export function serveInCommon(some: readonly string[], others: readonly string[]): boolean {
  const covers = (a: string, b: string) => a === b || (a.startsWith('*.') && b.replace(/^[^.]+/, '*') === a);
  const [ours, theirs] = [some, others].map((names) => names.map((each) => each.toLowerCase()));
  return ours?.some((one) => theirs?.some((other) => covers(one, other) || covers(other, one))) ?? false;
}
