import { CodedError } from '../errors.ts';
import type { Vacancy } from '../store/store.ts';

const words: Readonly<Record<Vacancy['why'], string>> = {
  deleted: 'it was deleted, and is not gone yet',
  'half-made': 'its creation was begun, and its content never came',
  empty: 'its place is there, and its content was taken out',
};

/** In words that follow the name of a certificate, why its place holds no content. */
export const vacancyWords = ({ why }: Pick<Vacancy, 'why'>): string => words[why];

/** A copy whose place is occupied and holds no content, where one with content was expected. */
export function vacancyError(store: string, copy: string, vacancy: Vacancy): CodedError {
  return new CodedError('store_copy_vacant', `${copy} in ${store} holds nothing: ${vacancyWords(vacancy)}`, {
    fields: { store, copy, why: vacancy.why },
  });
}
