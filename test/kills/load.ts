import { randomUUID } from 'node:crypto';
import { setTimeout as wait } from 'node:timers/promises';
import { isOfStore } from '../../src/store/mark.ts';
import type { Store } from '../../src/store/store.ts';
import { seededRandom } from '../simulation/virtual-time.ts';
import { makeSigner, payloadV5, type Signer } from '../support/notifications.ts';
import type { Estate, Subject } from './estate.ts';
import { listedFully } from './listed.ts';
import { ask, type Relay } from './relay.ts';

export interface LoadOptions {
  readonly primary: Store;
  readonly estate: Estate;
  readonly relay: Relay;
  /** Callback URLs of the workers. */
  readonly callbacks: readonly string[];
  /** The key of the primary. */
  readonly signer: Signer;
  /** How much longer the pauses are. */
  readonly slowness: number;
  readonly seed: number;
  /** Backups in which somebody removes copies now and then. Default: none. */
  readonly meddledWith?: readonly Store[];
}

export interface Load {
  /**
   * Ends it, and leaves a version that would serve in every certificate of the primary. Answers
   * what it saw of promises that do not hold; throws what went wrong otherwise.
   */
  stop(): Promise<readonly string[]>;
}

/**
 * The longest pause between two changes of the primary, between two notifications, and between two
 * removals by somebody else.
 */
const changePauseMs = 40;
const notificationPauseMs = 100;
const removalPauseMs = 600;

/** What is certain to be no certificate of the primary: only forged notifications speak of it. */
export const forgedId = 'f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0';

/**
 * Changes the primary without end, and posts notifications beside those that the primary sends
 * itself.
 */
export function startLoad(options: LoadOptions): Load {
  const stopping = new AbortController();
  const ids = new Map<Subject, string>();
  const unfit = new Set<Subject>();
  const broken: string[] = [];
  const loop = async (pauseMs: number, random: () => number, step: (random: () => number) => Promise<unknown>) => {
    while (!stopping.signal.aborted) {
      await step(random);
      await wait(random() * pauseMs * options.slowness);
    }
  };
  const loops = Promise.all([
    loop(changePauseMs, seededRandom(options.seed), (random) => change(options, { ids, unfit, random })),
    loop(notificationPauseMs, seededRandom(options.seed + 1), (random) =>
      notify(options, { ids: [...ids.values()], broken, random }),
    ),
    ...(options.meddledWith ?? []).map((backup, index) =>
      loop(removalPauseMs, seededRandom(options.seed + 2 + index), (random) => remove(backup, options.primary, random)),
    ),
  ]);
  loops.catch(() => stopping.abort()); // it is thrown by `stop`
  return {
    async stop() {
      stopping.abort();
      await loops;
      for (const subject of unfit) await options.primary.reimport(ids.get(subject) ?? '', pick(subject.versions, 0));
      return broken;
    },
  };
}

/**
 * One change of the primary: an import as long as there is something to import, a new version, a
 * name, a chain that does not hold.
 */
async function change(
  { primary, estate }: LoadOptions,
  state: { readonly ids: Map<Subject, string>; readonly unfit: Set<Subject>; readonly random: () => number },
): Promise<void> {
  const { ids, unfit, random } = state;
  const next = estate.subjects[ids.size];
  if (next !== undefined && (ids.size < 3 || random() < 0.1)) {
    const metadata = { name: next.name, description: 'kept', tags: [] };
    ids.set(next, (await primary.import({ content: pick(next.versions, random()), metadata })).id);
    return;
  }
  const subject = pick([...ids.keys()], random());
  const id = ids.get(subject) ?? '';
  const dice = random();
  if (dice < 0.05) {
    const metadata = { name: `${subject.name} ${Math.floor(random() * 100)}`, description: 'renamed', tags: [] };
    await primary.updateMetadata(id, metadata, undefined);
  } else if (dice < 0.12) {
    unfit.add(subject);
    await primary.reimport(id, subject.unfit);
  } else {
    unfit.delete(subject);
    await primary.reimport(id, pick(subject.versions, random()));
  }
}

/** Somebody removes a copy. */
async function remove(backup: Store, primary: Store, random: () => number): Promise<void> {
  const { certificates } = await listedFully(backup);
  const copies = certificates.filter(({ mark }) => mark !== undefined && isOfStore(mark, primary.id));
  if (copies.length > 0) await backup.delete(pick(copies, random()).id);
}

const stranger = makeSigner();

/**
 * One notification more: of several certificates at once, one that was there before, or one that is
 * not genuine.
 */
async function notify(
  { relay, signer, callbacks, primary }: LoadOptions,
  state: { readonly ids: readonly string[]; readonly broken: string[]; readonly random: () => number },
): Promise<void> {
  const { ids, random } = state;
  if (ids.length === 0) return;
  const instance = primary.id;
  const dice = random();
  const repeat = pick(relay.seen, random());
  if (dice < 0.2 && repeat !== undefined) {
    await relay.post(repeat);
  } else if (dice < 0.3) {
    const body = stranger.body(payloadV5({ instance, ids: [forgedId], eventId: randomUUID() })).toString();
    const status = await ask(pick(callbacks, random()), body);
    if (status !== undefined && status !== 401 && status !== 503)
      state.broken.push(`a forged notification was answered ${status}`);
  } else {
    const some = new Set(Array.from({ length: 1 + Math.floor(random() * 8) }, () => pick(ids, random())));
    // One that the primary does not hold: nothing but this acknowledgement will ever ask for a look
    // at it.
    some.add(randomUUID().replaceAll('-', ''));
    const payload = payloadV5({ instance, type: 'cert_reimported', ids: [...some], eventId: randomUUID() });
    await relay.post(signer.body(payload).toString());
  }
}

/** One of several, by a number in [0, 1). */
function pick<T>(items: readonly T[], random: number): T {
  return items[Math.floor(random * items.length)] as T;
}
