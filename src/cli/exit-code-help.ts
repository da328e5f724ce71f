/**
 * What each exit code means, in the order of the help. A test wants every exit of the error
 * registry among them.
 */
export const exitCodes: readonly (readonly [number, string])[] = [
  [0, 'it is as it should be'],
  [1, 'anything else'],
  [2, 'a mistake in the command line'],
  [3, 'mistakes in the configuration, all named'],
  [4, 'a service could not be asked, or refused us'],
  [5, 'the table could not be asked'],
  [
    6,
    'a certificate is not equal in every backup: refused, different, or still failing; or what was read does not hold',
  ],
  [130, 'stopped by Ctrl-C or SIGTERM before it was done; what it says tells how to go on'],
];

export function exitTable(): string {
  const lines = exitCodes.map(([code, meaning]) => `  ${String(code).padStart(3)}  ${meaning}`);
  return ['Exit codes:', ...lines].join('\n');
}
