/** The columns that a comment may have: what a person reads at a glance, beside a diff too. */
const columns = 100;

/**
 * What stands as it is: directives of tools, types for the compiler, and lines that are set in as
 * examples.
 */
const asItIs = /biome-ignore|@(?:typedef|param|returns|type)\b|^\s*(?:\/\/|\*) {2,}/;

/**
 * The lines of a source that are comments and longer than a comment may be, each with its number. A
 * line in which nothing could be broken, such as an address, is none of them. Comments behind code
 * are part of their line of code.
 */
export function longComments(text: string): readonly string[] {
  return text.split('\n').flatMap((line, index) => {
    const comment = /^\s*(?:\/\/|\/\*\*?|\*)(?:\s|$)/.exec(line);
    if (comment === null || line.length <= columns || asItIs.test(line)) return [];
    return /\s/.test(line.slice(comment[0].length).trim()) ? [`${index + 1}: ${line.trim()}`] : [];
  });
}
