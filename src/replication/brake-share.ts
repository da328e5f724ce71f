import { limits } from '../limits.ts';
import type { Link } from './link.ts';

/**
 * The most copies of so many that may change, or lose their originals, without a person: `least` at
 * any rate.
 */
export function allowedShare({ policy }: Pick<Link, 'policy'>, of: number, least: number = limits.brakeLeast): number {
  return Math.max(least, Math.floor((policy.brakeShare ?? limits.brakeShare) * of));
}
