import * as z from 'zod/mini';
import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import type { HttpAnswer } from '../../http/client.ts';
import { nonsenseError, parseJson } from '../../http/service-failure.ts';
import { unlessAborted } from '../../runtime.ts';
import type { VaultRequest, VaultSend } from './client.ts';
import { ended, failed, saysNothingThere, type VaultCall, vaultError } from './failure.ts';
import { inByteOrder, type Names } from './key-value.ts';

// What both versions of the engine are asked for in the same way, at other paths.

const listAnswer = z.object({ data: z.object({ keys: z.array(z.string()) }) });
/** How long a listing of a large folder may take: it has no pages. */
const listingMs = 90_000;

/** The answer; `undefined` where it is the one that says that nothing is there. */
export async function answerIfThere(
  send: VaultSend,
  call: VaultCall,
  request: VaultRequest,
): Promise<HttpAnswer | undefined> {
  const answer = await send(call, { ...request, takes: [404] });
  if (answer.status !== 404) return answer;
  if (saysNothingThere(answer)) return undefined;
  throw vaultError(call, answer);
}

/** What an empty folder is answered as: both products say that there is none. */
export const noNames: Names = { names: [], places: new Map(), goesOn: false };

/** Whether a name is still to come after one. */
export const comesAfter =
  (after: string | undefined) =>
  (name: string): boolean =>
    after === undefined || inByteOrder(name, after) > 0;

/** Names in a folder, whose path is as it stands in the URL, and nothing of what stands there. */
export async function listNames(
  send: VaultSend,
  call: VaultCall,
  folder: {
    readonly path: string;
    readonly after: string | undefined;
    readonly isOpenBao: boolean;
    readonly signal: AbortSignal | undefined;
  },
): Promise<Names> {
  const { after, isOpenBao, signal } = folder;
  const query = new URLSearchParams({ list: 'true', ...defined({ after }) });
  const path = `${folder.path}?${query}`;
  const answer = await answerIfThere(send, call, { method: 'GET', path, signal, timeoutMs: listingMs });
  if (answer === undefined) return noNames;
  const keys = z.safeParse(listAnswer, parseJson(answer.text)).data?.data.keys;
  if (keys === undefined) throw nonsenseError(call, answer, 'something that is no list of secrets');
  const names = keys.toSorted(inByteOrder).filter(comesAfter(after));
  // A policy of OpenBao may cut a listing off without a word (`pagination_limit`): only an empty
  // one is the last. A Vault passes over `after`, and gives all of it at once.
  return { names, places: new Map(), goesOn: isOpenBao && names.length > 0 };
}

/** Removes what is there, if anything. A caller who waits no longer ends no removal under way. */
export async function removeAt(
  send: VaultSend,
  call: VaultCall,
  { signal, ...at }: Pick<VaultRequest, 'path' | 'timeoutMs' | 'signal'>,
): Promise<void> {
  if (signal?.aborted) throw ended(call, signal);
  const removal = answerIfThere(send, call, { method: 'DELETE', ...at });
  try {
    await unlessAborted(signal, removal);
  } catch (thrown) {
    if (thrown instanceof CodedError) throw thrown;
    removal.catch(() => {});
    throw failed(call, 'store_unanswered', 'nobody waited for the answer', {}, thrown);
  }
}
