import type { ContractOptions } from '../../store/contract.ts';

/** What the contract of stores has, and a key/value engine has not. */
export const vaultLacks: NonNullable<ContractOptions['lacks']> = {
  uniqueNames: 'a name is metadata, and paths follow from marks',
  findsMarks: 'nobody can ask for metadata',
  refuses: 'it takes all content that the program takes',
  same: 'it gives back what it was given',
  silentListings: 'a listing has versions',
  lag: 'one node',
  longWrites: 'what is answered is done',
  store_content_refused: 'it takes all content that the program takes',
  store_quota_used_up: 'it has none of its own',
  store_held: 'it knows no locks',
  store_in_use: 'it knows of no use',
};

/** The same of version 1 of the engine. */
export const vaultLacksInVersion1: NonNullable<ContractOptions['lacks']> = {
  ...vaultLacks,
  deleted: 'what is deleted is gone',
  'half-made': 'content and mark are one write',
  empty: 'there are no versions',
};
