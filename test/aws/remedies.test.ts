import { describe, expect, test } from 'vitest';
import { awsSecretError } from '../../src/secrets/aws-failure.ts';
import { dynamodbError } from '../../src/table/dynamodb-error.ts';
import { unavailable } from '../../src/table/lmdb-commits.ts';

const thrown = (name: string, more: object = {}) => Object.assign(new Error('x'), { name, ...more });
const atTable = (name: string, more?: object) => dynamodbError('read', 'certstandby', thrown(name, more)).remedy;

describe('what a person does about a failure is for what it was asked for', () => {
  test.each([
    ['ResourceNotFoundException', 'certstandby table create makes it'],
    ['AccessDeniedException', 'These credentials lack the right'],
    ['ExpiredTokenException', 'AWS does not take these credentials'],
    ['SomethingNew', 'Check the table'],
  ])('a table: %s', (name, remedy) => {
    expect(atTable(name)).toContain(remedy);
  });

  test('a table that is not reached has the remedy of networks', () => {
    expect(atTable('TimeoutError', { code: 'ECONNREFUSED' })).toContain('Nothing listens at that address');
  });

  test.each([
    ['ResourceNotFoundException', 'There is no secret of this name'],
    ['AccessDeniedException', 'secretsmanager:GetSecretValue on this secret'],
    ['CredentialsProviderError', 'There are no AWS credentials here'],
    ['InternalServiceError', 'Check that the service that keeps the secret can be reached'],
  ])('a secret: %s', (name, remedy) => {
    expect(awsSecretError('AWS Secrets Manager', 'key', thrown(name)).remedy).toContain(remedy);
  });

  test.each([
    [28, 'The disk is full'],
    ['EROFS', 'mounted read-only'],
    [-30_793, 'Check the table'],
  ])('an embedded table, by what the engine passes on of the system: %s', (code, remedy) => {
    expect(unavailable('write', '/srv/table', thrown('Error', { code })).remedy).toContain(remedy);
  });
});
