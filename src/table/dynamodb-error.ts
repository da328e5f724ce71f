import { awsRemedies } from '../aws/remedies.ts';
import { CodedError } from '../errors.ts';
import type { RemediesByReason } from '../remedies-by-cause.ts';

const remedies: RemediesByReason = {
  ...awsRemedies,
  ProvisionedThroughputExceededException:
    'The table takes no more requests now. It is tried again; give the table more capacity, or on-demand capacity, if it stays.',
  ResourceNotFoundException:
    'There is no table of this name in this account and region: certstandby table create makes it; or correct table.name and table.region.',
};

/**
 * What an answer of DynamoDB, or its absence, means: `internal` where it finds fault with the
 * request, else `table_unavailable`.
 */
export function dynamodbError(action: string, tableName: string, thrown: unknown): CodedError {
  if (thrown instanceof CodedError) return thrown;
  const engineCode = thrown instanceof Error ? thrown.name : undefined;
  const fields = { table: tableName, engineCode, status: statusOf(thrown) };
  const details = { cause: bare(thrown), fields, remedies };
  if (engineCode === 'ValidationException')
    return new CodedError('internal', `DynamoDB does not accept the request to ${action} table ${tableName}`, details);
  const why = engineCode === undefined || engineCode === 'Error' ? '' : `: ${engineCode}`;
  return new CodedError('table_unavailable', `cannot ${action} table ${tableName} in DynamoDB${why}`, details);
}

/** The HTTP status of what the SDK throws, and of what our own calls throw. */
function statusOf(thrown: unknown): number | undefined {
  const { $metadata, status } = (thrown ?? {}) as { $metadata?: { httpStatusCode?: number }; status?: number };
  return $metadata?.httpStatusCode ?? status;
}

/**
 * The SDK hangs the whole request on its errors, session token and row included: that must not
 * reach a log.
 */
function bare(thrown: unknown): unknown {
  if (!(thrown instanceof Error)) return thrown;
  const { name, message, stack } = thrown;
  const code: unknown = 'code' in thrown ? thrown.code : undefined;
  return Object.assign(new Error(message), { name, stack }, typeof code === 'string' ? { code } : {});
}
