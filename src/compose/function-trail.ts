import { asCodedError } from '../errors.ts';
import { errorFields } from '../log.ts';
import type { FunctionAudit } from './function-audit.ts';
import type { FunctionParts } from './function-callback.ts';

/**
 * Tells the audit trail, which is loaded when there is something to tell: a cold start does not
 * wait for it. What is told stands beside the work: what fails here is logged, and fails nothing
 * else.
 */
export function tellerOf({ config, table, runtime, log }: FunctionParts) {
  let trail: Promise<FunctionAudit> | undefined;
  const audit = () => {
    trail ??= import('./function-audit.ts').then(({ functionAudit }) =>
      functionAudit({ table, runtime, log, program: 'functions' }),
    );
    return trail;
  };
  const isKept = config.audit?.write !== false;
  return async (how: (trail: FunctionAudit) => Promise<void>): Promise<void> => {
    if (isKept)
      await audit()
        .then(how)
        .catch((thrown: unknown) => log('error', 'audit_not_written', errorFields(asCodedError(thrown))));
  };
}
