import type { StoreDiagnosis, StoreRight } from '../store/store.ts';

/** A statement of a policy of AWS: which actions are allowed on what. */
export interface PolicyStatement {
  readonly Effect: 'Allow';
  readonly Action: readonly string[];
  readonly Resource: string;
}

/**
 * What a person does about the credentials and rights of a store in AWS, by the actions that each
 * right is made of.
 */
export function policyRemedies(
  actions: Readonly<Partial<Record<StoreRight, string>>>,
): Pick<StoreDiagnosis, 'credentialsRemedy' | 'rightsRemedy'> {
  const words = (rights: readonly StoreRight[]) => rights.flatMap((right) => actions[right] ?? []).join(', ');
  return {
    credentialsRemedy: (setting, rights) =>
      `See that ${setting} has credentials of its account: accessKeyId and secretAccessKey, or those of the environment (aws sts get-caller-identity), or a role. They need ${words(rights)}.`,

    rightsRemedy: (setting, rights) =>
      `Allow ${words(rights)} to the role or user of ${setting}: certstandby doctor --rights prints the whole policy.`,
  };
}
