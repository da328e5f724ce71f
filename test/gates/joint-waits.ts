import { parseSync } from '@swc/core';

type Node = Readonly<Record<string, unknown>>;
const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null;

/**
 * Where a file waits for many at once in a way that the first failure ends: `Promise.all` over what
 * `map` makes of a list. Each is told by the list, as it is written. It reads the syntax tree, so
 * that comments and texts are no code.
 */
export function jointWaits(text: string): readonly string[] {
  const found: string[] = [];
  // Positions are in bytes, and go on counting from file to file; a first statement of our own says
  // where they begin.
  const bytes = Buffer.from(`0;${text}`);
  const tree = parseSync(bytes.toString(), { syntax: 'typescript', target: 'es2022' }) as unknown as Node;
  const [first] = tree.body as readonly { readonly span: { readonly start: number } }[];
  const offset = first?.span.start ?? 0;

  const member = (node: unknown, property: string): Node | undefined => {
    if (!isNode(node) || node.type !== 'MemberExpression' || !isNode(node.property)) return undefined;
    return node.property.value === property && isNode(node.object) ? node.object : undefined;
  };
  function listOf(argument: unknown): string | undefined {
    if (!isNode(argument) || argument.type !== 'CallExpression') return undefined;
    const list = member(argument.callee, 'map') ?? member(argument.callee, 'flatMap');
    if (list === undefined) return undefined;
    const { start, end } = list.span as { start: number; end: number };
    return bytes
      .subarray(start - offset, end - offset)
      .toString()
      .replace(/\s+/g, ' ');
  }
  function look(node: unknown): void {
    if (Array.isArray(node)) for (const each of node) look(each);
    if (!isNode(node) || Array.isArray(node)) return;
    if (node.type === 'CallExpression' && member(node.callee, 'all')?.value === 'Promise') {
      const [argument] = node.arguments as readonly { readonly expression: unknown }[];
      const list = listOf(argument?.expression);
      if (list !== undefined) found.push(list);
    }
    for (const [key, value] of Object.entries(node)) if (key !== 'span') look(value);
  }
  look(tree.body);
  return found;
}
