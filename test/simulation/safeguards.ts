import type { Switch } from './switches.ts';

/** A protective step of the protocol, and the change of the source that takes it away. */
export interface Safeguard {
  readonly step: string;
  readonly file: string;
  /** Stands exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** What the stores and their people must be like for it to matter; absent: as each seed says. */
  readonly switches?: readonly Switch[];
  /** Reconcile would mend the loss before anyone sees it. */
  readonly eventsOnly?: boolean;
  /** Within so many seeds the simulation must find it out, from the first on, or from this one: what is rare was found by a long run. */
  readonly seeds: number;
  readonly from?: number;
}

/** Taken away one at a time, each must make the simulation find a broken promise or bound: a step that nobody would miss is untested or unneeded. */
export const safeguards: readonly Safeguard[] = [
  {
    step: 'a claim needs that nobody holds the lease',
    file: 'src/records/replication-records.ts',
    find: "{ all: [due, { absent: 'leaseUntil' }] }",
    replace: '{ all: [due] }',
    seeds: 1_000,
  },
  {
    step: 'a commit needs the token of its claim',
    file: 'src/records/replication-records.ts',
    find: "const held: Condition = { all: [{ field: 'leaseToken', is: '=', to: token }, { exists: 'leaseUntil' }] };",
    replace: 'const held: Condition = { all: [] };',
    eventsOnly: true,
    seeds: 10_000,
  },
  {
    step: 'the token goes up with each claim',
    file: 'src/records/replication-records.ts',
    find: 'add: { leaseToken: 1 },',
    replace: '',
    eventsOnly: true,
    seeds: 10_000,
  },
  {
    step: 'a refused commit of a pass that wrote asks again in doubt',
    file: 'src/replication/commit.ts',
    find: 'if (wroteTo.length > 0) {',
    replace: 'if (wroteTo.length > 0 && Date.now() < 0) {',
    eventsOnly: true,
    seeds: 10_000,
  },
  {
    step: 'an unanswered write sets doubt',
    file: 'src/replication/backup-calls.ts',
    find: "if (asCodedError(thrown).entry.applied === 'unknown') doubtful = true;",
    replace: '',
    eventsOnly: true,
    seeds: 1_000,
  },
  {
    step: 'a lease taken over sets doubt',
    file: 'src/records/replication-records.ts',
    find: '{ ...lease, set: { ...lease.set, doubt, everyDoubt } }',
    replace: 'lease',
    eventsOnly: true,
    seeds: 3_000,
  },
  {
    step: 'wakeAt is cleared only if nothing was asked for meanwhile',
    file: 'src/records/replication-records.ts',
    find: "all: [held, { field: 'requested', is: '=', to: seen }],",
    replace: 'all: [held],',
    eventsOnly: true,
    seeds: 3_000,
  },
  {
    step: 'wakeAt is cleared only if every backup was found or made equal',
    file: 'src/replication/pass-outcome.ts',
    find: 'for (const { again } of pass.outcomes) if (again !== undefined) moments.push(again);',
    replace: '',
    eventsOnly: true,
    seeds: 1_000,
  },
  {
    step: 'a backup that was not tried in this pass keeps its notBefore in wakeAt',
    file: 'src/replication/replicate.ts',
    find: 'return untouched(state, state.notBefore);',
    replace: 'return untouched(state);',
    eventsOnly: true,
    seeds: 3_000,
  },
  {
    step: 'a look that began before reads had settled is done again',
    file: 'src/replication/pass-outcome.ts',
    find: 'if (beganAt < readSettledAt) moments.push(readSettledAt);',
    replace: '',
    eventsOnly: true,
    seeds: 1_000,
  },
  {
    step: 'an import waits until doubt has passed',
    file: 'src/replication/bring-equal.ts',
    find: 'throw new Waiting(doubt);',
    replace: '{}',
    eventsOnly: true,
    seeds: 1_000,
  },
  {
    step: 'a copy found by its mark is adopted',
    file: 'src/replication/bring-equal.ts',
    find: '.filter(({ id }) => id !== state.id)',
    replace: '.filter(() => false)',
    seeds: 1_000,
  },
  {
    step: 'surplus copies are removed',
    file: 'src/replication/bring-equal.ts',
    find: 'await this.#removeSurplus(made.holding.id, { ...made, unread });',
    replace: '',
    seeds: 1_000,
  },
  {
    step: 'surplus copies stay while there is doubt',
    file: 'src/replication/bring-equal.ts',
    find: 'found.unread !== undefined || (doubt !== undefined && doubt > beganAt)) return;',
    replace: 'found.unread !== undefined) return;',
    from: 63_383,
    seeds: 1,
  },
  {
    step: 'doubt is cleared only when the backup was equal',
    file: 'src/replication/pass-outcome.ts',
    find: 'doubt === undefined || (doubt <= pass.beganAt && searched && equal);',
    replace: 'doubt === undefined || (doubt <= pass.beganAt && searched);',
    eventsOnly: true,
    seeds: 10_000,
  },
  {
    step: 'doubt is cleared only by a pass that began after it, having searched',
    file: 'src/replication/pass-outcome.ts',
    find: 'doubt === undefined || (doubt <= pass.beganAt && searched && equal);',
    replace: 'doubt === undefined || equal;',
    eventsOnly: true,
    seeds: 10_000,
  },
  {
    step: 'each pass reads both sides anew',
    file: 'src/replication/replicate.ts',
    find: "if (verdict.kind !== 'sound') return untouched(state);",
    replace:
      "if (verdict.kind !== 'sound') return untouched(state); if (state.fingerprint === verdict.fingerprint) return { ...untouched(state), equal: true, searched: true };",
    seeds: 1_000,
  },
  {
    step: 'a repeated notification is looked at too',
    file: 'src/replication/acknowledge.ts',
    find: 'const asking = certificates.map(',
    replace: 'const asking = (await remembering.catch(() => true) ? certificates : []).map(',
    eventsOnly: true,
    seeds: 1_000,
  },
  {
    step: 'the sweep wakes what is due',
    file: 'src/replication/sweep.ts',
    find: 'await dispatch.dispatch(certificates.map((certificate) => ({ link: link.name, certificate })));',
    replace: '',
    eventsOnly: true,
    seeds: 1_000,
  },
  {
    step: 'reconcile asks in doubt for copies that are doubled or not the recorded ones',
    file: 'src/replication/reconcile.ts',
    find: 'const doubted = doubtedIn(comparison, certificate);',
    replace: 'const doubted: string[] = [];',
    seeds: 10_000,
  },
  {
    step: 'a copy is removed only when its original is gone, by a direct read of the same pass',
    file: 'src/replication/replicate.ts',
    find: "if (verdict.kind === 'absent' && isGone(link, record, beganAt, timing)) {",
    replace: 'if (isGone(link, record, beganAt, timing) || mayRemove(link, record, runtime.now())) {',
    seeds: 10_000,
  },
  {
    step: 'a second look at absence',
    file: 'src/replication/retire.ts',
    find: 'return absentSince !== undefined && beganAt >= absentSince + wait;',
    replace: 'return beganAt > wait;',
    seeds: 1_000,
  },
  {
    step: 'what would not serve is refused',
    file: 'src/replication/judge.ts',
    find: 'return problem === undefined',
    replace: 'return problem === undefined || problem !== undefined',
    seeds: 1_000,
  },
  {
    step: 'until reads have settled after an answered write, only what shows that write proves anything',
    file: 'src/replication/bring-equal.ts',
    find: 'if (await this.#writtenOver()) return;',
    replace: '',
    switches: ['laggard'],
    seeds: 1_000,
  },
  {
    step: 'a service that makes something else of a chain is written to twice, and no more',
    file: 'src/replication/bring-equal.ts',
    find: 'if (times < (this.#store.abilities.reimportsInPlace ? writesReadBackOtherwise : 1)) return false;',
    replace: 'if (times > 0) return false;',
    switches: ['completes-chains'],
    seeds: 1_000,
  },
  {
    step: 'a copy is not replaced where others refer to its id',
    file: 'src/replication/bring-equal.ts',
    find: '&& this.#task.mayReplace && !this.#store.abilities.idsAreReferredTo;',
    replace: '&& this.#task.mayReplace;',
    switches: ['referred-to'],
    seeds: 3_000,
  },
  {
    step: 'of several copies the one with the smallest id is kept, recorded or not',
    file: 'src/replication/bring-equal.ts',
    find: 'candidates.sort((a, b) => (a.id < b.id ? -1 : 1));',
    replace: 'candidates.sort((a) => (a.id === state.id ? -1 : 1));',
    switches: ['second-deployment'],
    seeds: 1_000,
  },
  {
    step: 'a copy that cannot be removed gets what the kept one has',
    file: 'src/replication/bring-equal.ts',
    find: 'await this.#keepEqual(id).catch(',
    replace: 'await Promise.resolve().catch(',
    switches: ['in-use'],
    seeds: 3_000,
  },
  {
    step: 'a removal that is refused is no failure',
    file: 'src/replication/backup-calls.ts',
    find: 'if (!refusesRemoval.has(error.code)) throw thrown;',
    replace: 'throw thrown;',
    switches: ['in-use'],
    seeds: 3_000,
  },
  {
    step: 'content that is refused until a day is given on that day',
    file: 'src/replication/bring-equal.ts',
    find: "...(typeof until === 'number' ? { until } : {}),",
    replace: '',
    switches: ['choosy'],
    eventsOnly: true,
    seeds: 1_000,
  },
];
