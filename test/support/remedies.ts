import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from '@swc/core';
import { type ErrorCode, errorRegistry, remedyOf } from '../../src/errors.ts';
import { root } from './root.ts';

/**
 * Every remedy of the registry, for every cause that it tells apart, and every one that is said
 * where something is thrown, with the code that it is of or the file that says it.
 */
export function allRemedies(): ReadonlyMap<string, string> {
  const sources = ['src/errors.ts', 'src/remedies-by-cause.ts']
    .map((file) => readFileSync(join(root, file), 'utf8'))
    .join('\n');
  // Whatever stands before a colon or in quotes may be a reason that a remedy looks at; what is
  // none changes nothing.
  const reasons = new Set(
    [...sources.matchAll(/(?:^\s+|')([\w ]{2,40})'?(?::|,|')/gm)].map(([, reason = '']) => reason),
  );
  const found = new Map<string, string>(remediesInRooms());
  for (const code of Object.keys(errorRegistry) as ErrorCode[]) {
    found.set(remedyOf(code), code);
    for (const reason of reasons) {
      for (const fields of [
        { reason },
        { engineCode: reason },
        { what: reason },
        { header: reason.replace('_', '-') },
        { status: Number(reason) },
      ])
        found.set(remedyOf(code, fields), code);
    }
    found.set(remedyOf(code, { mistakes: ['x'] }), code);
  }
  return found;
}

/** Whole sentences in what is called `remedies`, or `…Remedies`, anywhere in the source. */
function remediesInRooms(): readonly (readonly [string, string])[] {
  const files = readdirSync(join(root, 'src'), { recursive: true, encoding: 'utf8' });
  return files
    .filter((file) => file.endsWith('.ts'))
    .flatMap((file) => {
      const text = readFileSync(join(root, 'src', file), 'utf8');
      if (!/[rR]emedies\b/.test(text)) return [];
      return sentencesIn(parseSync(text, { syntax: 'typescript' })).map((said) => [said, file] as const);
    });
}

function sentencesIn(node: unknown): readonly string[] {
  if (typeof node !== 'object' || node === null) return [];
  const { type, value } = node as { readonly type?: unknown; readonly value?: unknown };
  if (type === 'StringLiteral' && /^[A-Z]\S* .{10,}\.$/.test(String(value))) return [String(value)];
  return Object.values(node).flatMap(sentencesIn);
}

/**
 * Commands of other programs that remedies hold, as they stand there, and how each is run by
 * test/peers/remedies.test.ts: in a folder that holds what it speaks of, with these words in the
 * place of `<…>`. `null`: it needs what no test has (an account of AWS).
 */
export const shellCommands: Readonly<Record<string, ((command: string) => string) | null>> = {
  'openssl x509 -inform DER -in cert.der -out cert.pem': (command) => `${command} && grep -q BEGIN cert.pem`,
  'openssl x509 -inform der -in <file> -out fullchain.pem': (command) =>
    `${command.replace('<file>', 'cert.der')} && grep -q BEGIN fullchain.pem`,
  'openssl pkcs12 -in <file> -nodes -out fullchain.pem': (command) =>
    `${command.replace('<file>', 'old.p12 -passin pass:secret')} && grep -q 'BEGIN PRIVATE' fullchain.pem`,
  'openssl pkey -in key.pem -out plain.pem': (command) =>
    `${command} -passin pass:secret && grep -q 'BEGIN PRIVATE' plain.pem`,
  'openssl pkcs12 -in old.p12 -legacy -out all.pem && openssl pkcs12 -export -in all.pem -out new.p12': (command) =>
    `${command.replaceAll('-out', '-passin pass:secret -passout pass:secret -out')} && test -s new.p12`,
  'openssl pkcs12 -export -in cert.pem -inkey key.pem -out new.p12': (command) =>
    'mkdir pair && cd pair && openssl x509 -in ../one.pem -out cert.pem && openssl pkey -in ../one.pem -out key.pem && ' +
    `${command} -passout pass:secret && test -s new.p12`,
  'chmod 600': (command) => `${command} key.pem && test "$(stat -c %a key.pem)" = 600`,
  'mkdir -m 700': (command) => `${command} made && test "$(stat -c %a made)" = 700`,
  'df -h': (command) => `${command} .`,
  'df -i': (command) => `${command} .`,
  'ls -ld': (command) => `${command} key.pem`,
  'ulimit -n': (command) => `test "$(${command})" -gt 0`,
  // grep reads to the end, as it does where it counts: a command whose reader goes has failed.
  'ss -ltnp': (command) => `${command} | grep -c LISTEN`,
  'ip address': (command) => `${command} | grep -c 127.0.0.1`,
  'aws sts get-caller-identity': null,
};
