import { awsSweep } from '../../src/compose/aws-workers.ts';
import { afterFreeze, awsOptions, kept, metrics } from './platform.ts';

const sweep = kept(() => awsSweep(awsOptions()));
const measured = metrics();

/**
 * Each minute: wakes what is due, refreshes verification keys, and measures. What it throws, Lambda
 * counts as an error.
 */
export async function handler(): Promise<{ readonly woken: number }> {
  await afterFreeze();
  const seen = await (await sweep())();
  for (const { link, ...facts } of seen) measured.swept(link, facts);
  return { woken: seen.reduce((sum, { woken }) => sum + woken, 0) };
}
