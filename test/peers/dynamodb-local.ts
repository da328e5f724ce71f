import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdirSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { requirePeer } from './peer.ts';

/**
 * Amazon's own engine for local use, from Maven Central: fetched once, kept with the other caches.
 */
const version = '3.3.1';
const cache = fileURLToPath(new URL(`../../node_modules/.cache/dynamodb-local/${version}`, import.meta.url));
const libraries = join(cache, 'lib');
const classPath = ['-cp', `${libraries}${delimiter}${join(libraries, '*')}`];
const launcher = fileURLToPath(new URL('DynamodbLocalOnLoopback.java', import.meta.url));

const project = `<project xmlns="http://maven.apache.org/POM/4.0.0">
  <modelVersion>4.0.0</modelVersion>
  <groupId>certstandby</groupId><artifactId>dynamodb-local</artifactId><version>1</version>
  <dependencies>
    <dependency>
      <groupId>software.amazon.dynamodb</groupId><artifactId>DynamoDBLocal</artifactId><version>${version}</version>
    </dependency>
  </dependencies>
</project>
`;

/** Complete or not at all: a run that is interrupted leaves no half a library. */
function fetchOnce(): void {
  if (existsSync(libraries)) return;
  mkdirSync(cache, { recursive: true });
  writeFileSync(join(cache, 'pom.xml'), project);
  const fresh = join(cache, `lib-${process.pid}`);
  const goal = ['-B', '-q', 'dependency:copy-dependencies', `-DoutputDirectory=${fresh}`];
  const { status } = spawnSync('mvn', goal, { cwd: cache, stdio: 'inherit' });
  if (status === 0) renameSync(fresh, libraries);
  else rmSync(fresh, { recursive: true, force: true });
}

/**
 * Asks for DynamoDB Local, and fetches it the first time; `undefined`, and one loud line, if it
 * cannot be had.
 */
export function requireDynamodbLocal(): string | undefined {
  const java = requirePeer('Java', ['javac', '--version'], 'apt-get install openjdk-17-jdk-headless');
  if (java === undefined) return undefined;
  fetchOnce();
  return requirePeer(
    'DynamoDB Local',
    ['java', ...classPath, 'software.amazon.dynamodb.services.local.main.ServerRunner', '-version'],
    'apt-get install maven, and let it reach a repository with software.amazon.dynamodb:DynamoDBLocal once',
  );
}

/** Starts it on a free port of 127.0.0.1. */
export async function startDynamodbLocal(): Promise<{ readonly endpoint: string; close(): Promise<void> }> {
  const server = spawn('java', [`-Djava.library.path=${libraries}`, ...classPath, launcher], {
    stdio: ['pipe', 'pipe', 'inherit'],
  });
  return {
    endpoint: await listening(server),
    async close() {
      const end = once(server, 'exit');
      server.kill('SIGKILL');
      await end;
    },
  };
}

/** The address that the launcher prints once it can be asked. */
async function listening(server: ChildProcess): Promise<string> {
  if (!server.stdout) throw new Error('DynamoDB Local did not start');
  for await (const line of createInterface({ input: server.stdout })) {
    const [, host, port] = /^listening on (\S+) (\d+)$/.exec(line) ?? [];
    if (host !== undefined) return `http://${host}:${port}`;
  }
  throw new Error('DynamoDB Local ended before it could be asked');
}
