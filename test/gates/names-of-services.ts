import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseSync } from '@swc/core';

/**
 * Where no service is named: what is done for every store, and said of every failure. All that is
 * known of one service lies in `src/services/<kind>/`, of one cloud in the rooms of clouds.
 */
const roomsOfNone = ['src/store', 'src/replication', 'src/http', 'src/sender', 'src/receiver', 'src/records'];

/** Services and clouds, and what only they call so. Words of a sentence, or whole identifiers. */
const terms =
  /\b(?:IAM|IBM|CRN|Certificate Manager|Secrets? Manager|Key Protect|AWS|Amazon|ACM|KMS|ARN|SQS|Lambda|EventBridge|DynamoDB|OpenWhisk|Kubernetes|kubectl|namespace|kubeconfig|Vault|AppRole|Azure|Entra|Google Cloud|GCP|API keys?|service role|Writer|ReaderPlus|sqs|ssm|secretsmanager|dynamodb|openwhisk|lambda|vault|kubernetes)\b|(?:^|[^a-z])(?:iam|crn|apiKey)(?![a-z])/;

/**
 * What may say such a word all the same, by file: the text holds one of these. Each is a choice of
 * the program itself, and none is about a store.
 */
const allowed: Readonly<Record<string, readonly string[]>> = {
  // Kinds of tables, platforms of functions, and where they keep secrets.
  'src/config.ts': ['dynamodb', 'DynamoDB', 'a region of AWS', 'openwhisk', 'ssm', 'secretsmanager'],
  'src/deployment.ts': ['dynamodb'],
  'src/secret.ts': ['ssm', 'secretsmanager'],
  'src/settings.ts': ['a reference (env:NAME, file:PATH, ssm:PARAMETER or secretsmanager:SECRET)'],
  // What an instance of our own answers, which speaks the API of Certificate Manager.
  'src/errors.ts': [
    'POST /identity/token gives one for an API key',
    'Use an API key of this instance',
    'Give each CRN as one percent-encoded segment',
    'certstandby instance reclaim --instance <crn>',
  ],
  'src/limits.ts': ['crnCharacters', 'apiKeyCharacters', 'apiKeyNameCharacters'],
};

/** What the code of these rooms (not its comments) says of services, below this folder. */
export function namesOfServices(root: string): readonly string[] {
  const grounds = readdirSync(join(root, 'src')).filter((name) => name.endsWith('.ts'));
  const files = [
    ...grounds.map((name) => `src/${name}`),
    ...roomsOfNone.flatMap((room) =>
      readdirSync(join(root, room), { recursive: true, encoding: 'utf8' })
        .filter((name) => name.endsWith('.ts'))
        .map((name) => `${room}/${name}`),
    ),
  ];
  return files.flatMap((file) =>
    namesIn(file, readFileSync(join(root, file), 'utf8')).map((said) => `${file}: ${said}`),
  );
}

/** What the code of one file says of services: each text and each name that does. */
export function namesIn(file: string, text: string): readonly string[] {
  const found = new Set<string>();
  const look = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    const { type, value, raw } = node as { readonly type?: unknown; readonly value?: unknown; readonly raw?: unknown };
    const said = type === 'StringLiteral' || type === 'Identifier' ? value : type === 'TemplateElement' ? raw : '';
    if (typeof said === 'string' && terms.test(said)) found.add(said);
    for (const child of Object.values(node)) look(child);
  };
  look(parseSync(text, { syntax: 'typescript' }));
  return [...found].filter((said) => !(allowed[file] ?? []).some((one) => said.includes(one)));
}
