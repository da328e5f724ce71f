import { spawnSync } from 'node:child_process';

/**
 * Asks for a program that a peer test needs. Prints and returns the first line of its version;
 * where it is missing, one line that says what to install, and `undefined`, with which the suite
 * skips itself. Under CI=true a missing peer is an error.
 */
export function requirePeer(
  name: string,
  versionCommand: readonly [program: string, ...args: string[]],
  installHint: string,
  environment: Readonly<Record<string, string | undefined>> = process.env,
): string | undefined {
  const [program, ...args] = versionCommand;
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  if (status === 0) {
    // Some programs (Java among them) write their version to the other stream.
    const [version = ''] = (stdout.trim() || stderr.trim()).split('\n');
    console.info(`peer ${name}: ${version}`);
    return version;
  }
  const missing = `PEER MISSING: ${name} ('${versionCommand.join(' ')}' does not run). To install it: ${installHint}`;
  if (environment.CI === 'true') throw new Error(missing);
  console.warn(`${missing}. Its tests are SKIPPED.`);
  return undefined;
}
