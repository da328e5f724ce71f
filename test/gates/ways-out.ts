import { parseSync } from '@swc/core';

/**
 * What goes past the ways out for foreign text (src/foreign-text.ts, and src/cli/output/screen.ts
 * for terminals). It reads the syntax tree, so that comments and texts are no code.
 */

/** Where the process's own streams may be named: they are handed on from there. */
const streams = /^(src\/cli\/(main|process-host)\.ts|functions\/(aws|openwhisk)\/platform\.ts)$/;
const screen = 'src/cli/output/screen.ts';
const ways = 'src/foreign-text.ts';
/**
 * It spells names of certificates as RFC 4514 says, for whoever compares them: that is no way out.
 */
const spells = 'src/certificate/names.ts';

const markup =
  /<!doctype|<\/?(?:html|style|script|thead|tbody|tr|t[dh]|p|h[1-6]|div|span|br|strong|em|ul|li)\b[^<]*>|<\/(?:a|code|title|table|body)>/i;
const unseenClass =
  /\\p\{(?:C|Cc|Cf|Other|Control|Bidi_Control)\}|\\u\{?(?:202[a-e]|206[6-9])|\\x00-\\x1f|\\u0000-\\u001f/i;
const escapeCharacters = ['\u001b', '\u009b'];

type Node = Readonly<Record<string, unknown>>;
const isNode = (value: unknown): value is Node => typeof value === 'object' && value !== null;

/**
 * What a file does past the ways out, in words. `file` is its path from the root of the repository.
 */
export function waysPast(file: string, text: string): readonly string[] {
  const found = new Set<string>();
  const inCommands = file.startsWith('src/cli/');

  function name(node: unknown): string | undefined {
    if (!isNode(node)) return undefined;
    if (node.type === 'Identifier') return String(node.value);
    if (node.type === 'Computed') return isNode(node.expression) ? String(node.expression.value) : undefined;
    return undefined;
  }

  function look(node: unknown, tag?: string): void {
    if (Array.isArray(node)) for (const each of node) look(each, tag);
    if (!isNode(node) || Array.isArray(node)) return;
    switch (node.type) {
      case 'TaggedTemplateExpression':
        look(node.template, name(node.tag) ?? 'other');
        return;
      case 'TemplateLiteral': {
        const written = (node.quasis as readonly Node[]).map(({ raw }) => String(raw)).join('');
        checkText(written, tag === 'html');
        break;
      }
      case 'StringLiteral':
        checkText(String(node.value), false);
        break;
      case 'RegExpLiteral':
        if (unseenClass.test(String(node.pattern)) && file !== ways && file !== spells && !isTest(node))
          found.add('has a sanitiser of its own; foreign-text.ts has one for each medium');
        break;
      case 'MemberExpression':
        checkMember(node);
        break;
      case 'VariableDeclarator':
      case 'AssignmentPatternProperty':
      case 'AssignmentPattern':
        if (name(node.init ?? node.right ?? node.value) === 'process' && !streams.test(file))
          found.add('hands the process itself on: take a Host');
        break;
      case 'CallExpression':
        checkCall(node);
        break;
      case 'ImportDeclaration': {
        const from = isNode(node.source) ? String(node.source.value) : '';
        if (/^(node:)?(process|console|tty)$/.test(from)) found.add(`imports ${from}: take a Host`);
        if (/^(node:)?util$/.test(from) && file !== screen && text.includes('styleText'))
          found.add('paints by itself: screen.ts has the colours');
        break;
      }
    }
    for (const [key, value] of Object.entries(node)) if (key !== 'span') look(value);
  }

  function checkText(written: string, tagged: boolean): void {
    if (markup.test(written) && !tagged) found.add('writes markup without the tag html of foreign-text.ts');
    const sequence =
      escapeCharacters.some((one) => written.includes(one)) || /\\u001b|\\u\{1b\}|\\x1b|\\e\[/i.test(written);
    if (sequence && file !== screen && file !== ways)
      found.add('writes escape sequences: screen.ts has the ways to paint and to move');
    if (/^\/dev\/(stdout|stderr|tty|fd\/[12])$/.test(written)) found.add('opens a terminal');
    if (written === 'inherit' && file.startsWith('src/')) found.add("gives a child the terminal ('inherit')");
  }

  /** `.test(…)` only asks: what it finds is refused, and goes nowhere. */
  function isTest(node: Node): boolean {
    const { span } = node as { span: { end: number } };
    return /^\w*\s*\)?\.test\(/.test(text.slice(span.end - offset, span.end - offset + 12));
  }

  function checkMember(node: Node): void {
    const object = name(node.object);
    const property = name(node.property);
    if (object === 'console') found.add('writes to the console: take a Host');
    if (object === 'process' && (property === 'stdout' || property === 'stderr') && !streams.test(file))
      found.add(`writes to process.${property}: take a Host`);
  }

  function checkCall(node: Node): void {
    const called = isNode(node.callee) ? node.callee : {};
    const member = called.type === 'MemberExpression' ? name(called.property) : undefined;
    const args = (node.arguments as readonly { expression: Node }[]).map(({ expression }) => expression);
    for (const argument of args)
      if (name(argument) === 'process' && !streams.test(file)) found.add('hands the process itself on: take a Host');
    if (/^writeSync$/.test(name(called) ?? member ?? '') && [1, 2].includes(Number(args[0]?.value)))
      found.add('writes to a terminal by its number');
    const [first, second] = args;
    if (
      (member === 'replaceAll' || member === 'replace') &&
      first?.value === '"' &&
      second?.value === '""' &&
      file !== ways
    )
      found.add('writes CSV by itself: csvLine has it');
    if (member === 'stringify' && isNode(called) && name(called.object) === 'JSON' && inCommands && written(node))
      found.add('prints JSON by itself: jsonText has it');
  }

  /**
   * JSON that is printed, and not compared or stored: in a call of `write`, `line` or `finding` on
   * the same line.
   */
  function written(node: Node): boolean {
    const { span } = node as { span: { start: number } };
    const before = text.slice(0, span.start - offset);
    return /\b(?:write|line|finding)\([^)]*$/.test(before.slice(before.lastIndexOf('\n') + 1));
  }

  // Positions go on counting from file to file.
  const tree = parseSync(text, { syntax: 'typescript', target: 'es2022' }) as unknown as Node;
  const offset =
    (tree as { span: { start: number } }).span.start - (text.length - text.trimStart().length) - leadingComments(text);
  look(tree.body);
  return [...found].sort();
}

/** The tree begins with the first token: what stands before it are comments and blanks. */
function leadingComments(text: string): number {
  const trimmed = text.trimStart();
  const comments = /^(?:\/\/[^\n]*\n\s*|\/\*[\s\S]*?\*\/\s*|#![^\n]*\n\s*)+/.exec(trimmed);
  return comments === null ? 0 : comments[0].length;
}
