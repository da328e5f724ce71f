import { visible } from '../foreign-text.ts';
import { text } from '../settings.ts';

/** A region of AWS, as a setting. */
export const regionName = text(/^[a-z]{2}(-[a-z]+)+-\d$/, 'a region of AWS, such as eu-west-1');
/** An account of AWS, as a setting. */
export const accountNumber = text(/^\d{12}$/, 'an account of AWS: 12 digits, in quotes');

/** The partition of a region, as ARNs have it. */
function partitionOf(region: string): string {
  if (region.startsWith('cn-')) return 'aws-cn';
  return region.startsWith('us-gov-') ? 'aws-us-gov' : 'aws';
}

/** How ARNs of a service begin, in a region and an account; `undefined` if these are none. */
export function arnStem(
  service: string,
  { region, account }: { readonly region?: unknown; readonly account?: unknown },
): string | undefined {
  if (typeof region !== 'string' || typeof account !== 'string') return undefined;
  return `arn:${partitionOf(region)}:${service}:${region}:${account}`;
}

/** What an answer names that cannot be of the store that was asked, in words after "answered". */
export const ofElsewhere = (arn: string): string =>
  `${visible(arn)}, which is of another account, region or partition than this store`;
