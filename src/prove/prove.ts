import type { CertificateContent } from '../certificate/certificate.ts';
import { factsOf } from '../certificate/facts.ts';
import { fingerprintOf, metadataDigestOf } from '../certificate/fingerprint.ts';
import { parseContent } from '../certificate/pem.ts';
import { defined } from '../defined.ts';
import { asCodedError, CodedError } from '../errors.ts';
import { longestWriteMs } from '../replication/write-to-end.ts';
import type { Runtime } from '../runtime.ts';
import { type Mark, sameMark } from '../store/mark.ts';
import type {
  CallOptions,
  CertificateMetadata,
  LongWrite,
  NewCertificate,
  Store,
  WriteAnswer,
} from '../store/store.ts';
import { type Following, follow } from './follow.ts';
import { type Issue, removeLeftovers, shownName, testDomain, testMark } from './own-certificate.ts';
import { type PatientCalls, patientCalls } from './patient-calls.ts';

/** What a read or a listing shows of the certificate. */
type Seen = CertificateMetadata | undefined;

/**
 * The bounds that a store states, and `events`: how long its word of a change takes to arrive here.
 */
export type ProvenBound = 'readSettles' | 'listingLag' | 'settles' | 'rate' | 'events';

/** One bound, as stated and as it was seen. Times in milliseconds. */
export interface BoundFinding {
  readonly about: ProvenBound;
  readonly outcome: 'holds' | 'exceeded' | 'not-seen';
  readonly stated?: number;
  /**
   * The worst that was seen: at least so long, or so many requests in a second. Absent if nothing
   * was seen.
   */
  readonly measured?: number;
  /** What `measured` rests on, in words. */
  readonly message: string;
}

/**
 * One thing that the store says it does, or that a person wants to know of it, and whether it was
 * seen to.
 */
export interface AbilityFinding {
  readonly about: string;
  readonly outcome: 'holds' | 'differs' | 'told';
  readonly message: string;
}

export interface ProveReport {
  readonly bounds: readonly BoundFinding[];
  readonly abilities: readonly AbilityFinding[];
  /** Certificates that an earlier run had left, and that are gone now. */
  readonly leftoversRemoved: number;
  readonly requests: number;
  readonly tookMs: number;
}

/** How often each kind of write is sent at the most: what is used up of a quota. */
export interface ProveCost {
  readonly imports: number;
  readonly reimports: number;
  readonly descriptions: number;
  readonly deletions: number;
}

export interface ProveOptions {
  readonly runtime: Runtime;
  readonly store: Store;
  /** Makes a certificate for these names, chain and private key included. */
  readonly issue: Issue;
  /**
   * When an event of this certificate was last acknowledged here, epoch milliseconds, `undefined`
   * if never. Absent where nothing here listens to this store.
   */
  readonly eventSeenAt?: (certificate: string) => Promise<number | undefined>;
  readonly signal?: AbortSignal;
  /** Called before each step, with what it is. */
  readonly step?: (what: string) => void;
}

/** How long a change is waited for where nothing else is stated, in milliseconds. */
const patienceMs = 60_000;
/** How often a write is sent whose answers are lost. */
const triesOfLost = 3;
/** The pause between two listings that look for an import without an answer, in milliseconds. */
const lostImportPauseMs = 1_000;
/** How long cleaning up may take after a stop, in milliseconds. */
const cleanUpMs = 15_000;

/** What a proof of this store sends at the most. */
export function proveCost({ abilities }: Pick<Store, 'abilities'>): ProveCost {
  const repeated = Number(abilities.importIsIdempotent) + Number(abilities.uniqueNames);
  const reimports = abilities.reimportsInPlace ? 3 : 0;
  return { imports: 1 + repeated, reimports, descriptions: 1, deletions: 2 };
}

/**
 * Proves what a store states about itself, with a certificate of its own: imports it, reads it,
 * lists it, replaces it, describes it, waits for the event, deletes it, and measures after each
 * answered write how long old answers are still given. The certificate carries a mark that no link
 * uses, so nobody copies it on. It is removed at the end, whatever happens; what a killed run left
 * is removed by the next one.
 *
 * Throws what the store throws where a step cannot be done at all, and the signal's reason when it
 * is stopped, after cleaning up; `prove_not_cleaned` if that failed.
 */
export async function proveStore(options: ProveOptions): Promise<ProveReport> {
  const { runtime, store, signal } = options;
  const beganAt = runtime.now();
  const calls = patientCalls(runtime, store, signal, ({ kind }) =>
    options.step?.(`waiting until the ${kind} has ended that the service goes on with`),
  );
  options.step?.('looking for what an earlier run left');
  const leftoversRemoved = await removeLeftovers(calls);
  const proof = new Proof(options, calls);
  try {
    await proof.run();
  } catch (thrown) {
    if (proof.importSent) await cleanUp(options, proof, thrown);
    throw thrown;
  }
  await cleanUp(options, proof, undefined);
  const tookMs = runtime.now() - beganAt;
  const { abilities } = proof;
  return { bounds: proof.bounds(tookMs), abilities, leftoversRemoved, requests: calls.sent, tookMs };
}

/** Removes the certificate of a run that ended early, and whatever landed late. */
async function cleanUp(
  { runtime, store }: ProveOptions,
  { id, importGoesOn }: Pick<Proof, 'id' | 'importGoesOn'>,
  why: unknown,
): Promise<void> {
  const limitMs = cleanUpMs + longestWriteMs(store, 'delete');
  const late = new AbortController();
  const done = new AbortController();
  const limit = runtime.wait(limitMs, done.signal).then(
    () => late.abort(new CodedError('store_unanswered', `it took longer than ${limitMs / 1000} s`)),
    () => {},
  );
  const calls = patientCalls(runtime, store, late.signal);
  try {
    if (id !== undefined) await calls.send((call) => store.delete(id, call), 'delete', id);
    await removeLeftovers(calls);
    // What has not come yet cannot be removed.
    if (importGoesOn)
      throw new CodedError('store_operation_unfinished', 'the service goes on with its import; run this again later');
  } catch (thrown) {
    const { message } = asCodedError(thrown);
    const left = id === undefined ? shownName : `${shownName} (${id})`;
    throw new CodedError('prove_not_cleaned', `the certificate ${left} may still be in ${store.id}: ${message}`, {
      cause: why ?? thrown,
      fields: { store: store.id, certificate: id },
    });
  } finally {
    done.abort();
    await limit;
  }
}

/** What became of a write that got no answer. */
interface Lost {
  /**
   * When its effect was first seen, in milliseconds after it was given up; absent if it had none.
   */
  readonly landedMs?: number;
}

/** One run: what was sent and seen so far. */
class Proof {
  readonly abilities: AbilityFinding[] = [];
  /** Whether there may be something to clean up. */
  importSent = false;
  /** Whether the service was still importing it when it was last seen. */
  importGoesOn = false;
  /** Of the certificate, as soon as it is known. */
  id: string | undefined;
  readonly #options: ProveOptions;
  readonly #calls: PatientCalls;
  readonly #followed: Following[] = [];
  readonly #lost: Lost[] = [];
  #events: Omit<BoundFinding, 'about'> | undefined;

  constructor(options: ProveOptions, calls: PatientCalls) {
    this.#options = options;
    this.#calls = calls;
  }

  async run(): Promise<void> {
    const { store, issue, runtime } = this.#options;
    const { abilities } = store;
    const mark = testMark(runtime);
    const metadata = { name: `${shownName}-${mark.certificate}`, description: 'Made by doctor --prove.', tags: [] };
    const content = parseContent(await issue([testDomain]));
    const entry: NewCertificate = { content, metadata, mark, token: `prove-${mark.certificate}` };

    this.#step('importing a certificate of its own');
    const id = await this.#import(entry, mark);
    this.id = id;
    await this.#compareImported(id, entry, mark);
    if (abilities.importIsIdempotent) await this.#importAgain(entry, id);
    if (abilities.uniqueNames) await this.#importTakenName(entry);
    await this.#findByMark(mark, id);
    if (abilities.reimportsInPlace) await this.#replaceThreeTimes(id);

    this.#step('describing it anew');
    const described = { ...metadata, description: 'Made by doctor --prove, described anew.' };
    const wanted = metadataDigestOf(store.asKept(described, mark));
    const isDescribed = (seen: Seen) => seen !== undefined && metadataDigestOf(seen) === wanted;
    await this.#write('describe', (call) => store.updateMetadata(id, described, mark, call), isDescribed, id);

    this.#step('deleting it');
    await this.#write(
      'delete',
      (call) => store.delete(id, call),
      (seen) => seen === undefined,
      id,
    );
    await this.#calls.send((call) => store.delete(id, call), 'delete', id);
    this.id = undefined;
    this.#say('delete', 'holds', 'a certificate that is not there is deleted without an error');
  }

  /** What was seen of each bound. */
  bounds(tookMs: number): readonly BoundFinding[] {
    const { readSettlesMs, listingLagMs, requestsPerSecond } = this.#options.store.abilities;
    const { sent, limited } = this.#calls;
    const rate: BoundFinding = {
      about: 'rate',
      outcome: requestsPerSecond === undefined ? 'not-seen' : 'holds',
      ...defined({ stated: requestsPerSecond }),
      measured: Math.round((sent / Math.max(tookMs, 1)) * 10_000) / 10,
      message: `${sent} requests; ${limited === 0 ? 'no limit was met' : `a limit put off ${limited} of them`}`,
    };
    return [
      worst(
        'readSettles',
        readSettlesMs,
        this.#followed.map(({ reads }) => reads),
      ),
      worst(
        'listingLag',
        listingLagMs,
        this.#followed.map(({ listings }) => listings),
      ),
      this.#settles(),
      rate,
      ...(this.#events === undefined ? [] : [{ about: 'events' as const, ...this.#events }]),
    ];
  }

  #settles(): BoundFinding {
    const { settlesMs: stated } = this.#options.store.abilities;
    const base = { about: 'settles', stated } as const;
    const landed = this.#lost.flatMap(({ landedMs }) => (landedMs === undefined ? [] : [landedMs]));
    if (this.#lost.length === 0) return { ...base, outcome: 'not-seen', message: 'every write was answered' };
    const lost = `${this.#lost.length} ${this.#lost.length === 1 ? 'write' : 'writes'} without an answer`;
    if (landed.length === 0) return { ...base, outcome: 'not-seen', message: `${lost}: none took effect` };
    const measured = Math.max(...landed);
    return {
      ...base,
      outcome: measured <= stated ? 'holds' : 'exceeded',
      measured,
      message: `${lost}, of which ${landed.length} took effect all the same`,
    };
  }

  #step(what: string): void {
    this.#options.signal?.throwIfAborted();
    this.#options.step?.(what);
  }

  #say(about: string, outcome: AbilityFinding['outcome'], message: string): void {
    this.abilities.push({ about, outcome, message });
  }

  #check(about: string, holds: boolean, good: string, bad: string): void {
    this.#say(about, holds ? 'holds' : 'differs', holds ? good : bad);
  }

  /**
   * Sends a write, and reads and lists until both show it. One whose answer is lost is looked for
   * until the store says that it can take no effect any more, and then sent again: all of these may
   * be repeated.
   */
  async #write<T>(
    about: LongWrite | 'describe',
    write: (call: CallOptions) => Promise<T>,
    isShown: (seen: Seen) => boolean,
    id: string,
  ): Promise<void> {
    for (let tried = 1; ; tried += 1) {
      let answeredAt: number;
      try {
        ({ answeredAt } = await this.#calls.send(write, about, id));
      } catch (thrown) {
        if (asCodedError(thrown).entry.applied !== 'unknown' || tried === triesOfLost) throw thrown;
        if (await this.#lookForLost(isShown, id)) return;
        continue;
      }
      return this.#follow(answeredAt, isShown, id);
    }
  }

  /** Looks for the effect of a write that got no answer, as long as it may come. */
  async #lookForLost(isShown: (seen: Seen) => boolean, id: string): Promise<boolean> {
    const { runtime, store, signal } = this.#options;
    const { settlesMs, readSettlesMs } = store.abilities;
    const longestMs = longestWriteMs(store, 'import', 'reimport', 'delete');
    const patience = { readMs: settlesMs + longestMs + readSettlesMs, listMs: 0 };
    const given = { runtime, calls: this.#calls, id, isShown, patience, signal };
    const { landedMs } = await follow({ ...given, answeredAt: runtime.now() });
    this.#lost.push(landedMs === undefined ? {} : { landedMs });
    return landedMs !== undefined;
  }

  /**
   * Reads and lists after an answered write until both show it, and remembers how long that took.
   */
  async #follow(answeredAt: number, isShown: (seen: Seen) => boolean, id: string): Promise<void> {
    const { runtime, store, signal } = this.#options;
    const { readSettlesMs, listingLagMs } = store.abilities;
    const readMs = Math.max(patienceMs, 2 * readSettlesMs);
    const patience = { readMs, listMs: Math.max(patienceMs, 2 * listingLagMs) };
    this.#followed.push(await follow({ runtime, calls: this.#calls, id, answeredAt, isShown, patience, signal }));
  }

  /**
   * Imports it; where the answer is lost, the listing is asked for the mark until the import can
   * take no effect any more.
   */
  async #import(entry: NewCertificate, mark: Mark): Promise<string> {
    const { store } = this.#options;
    this.importSent = true;
    for (let tried = 1; ; tried += 1) {
      let sent: { readonly answer: WriteAnswer; readonly answeredAt: number };
      try {
        sent = await this.#calls.send(async (call) => {
          const answer = await store.import(entry, call);
          // Known from here on, whatever becomes of the rest: it is to be removed at the end.
          this.id = answer.id;
          this.importGoesOn = answer.running !== undefined;
          return answer;
        }, 'import');
        this.importGoesOn = false;
      } catch (thrown) {
        if (asCodedError(thrown).entry.applied !== 'unknown' || tried === triesOfLost) throw thrown;
        const id = await this.#findLostImport(mark);
        if (id !== undefined) return id;
        continue;
      }
      const { id } = sent.answer;
      await this.#follow(sent.answeredAt, shows(entry.content), id);
      return id;
    }
  }

  /**
   * Looks for an import that got no answer, by its mark, as long as it may still come and be
   * listed.
   */
  async #findLostImport(mark: Mark): Promise<string | undefined> {
    const { store, runtime, signal } = this.#options;
    const { settlesMs, listingLagMs } = store.abilities;
    const longestMs = settlesMs + longestWriteMs(store, 'import');
    const lostAt = runtime.now();
    while (runtime.now() - lostAt <= longestMs + listingLagMs) {
      for await (const listed of this.#calls.list()) if (sameMark(listed.mark, mark)) this.id = listed.id;
      if (this.id !== undefined) {
        this.#lost.push({ landedMs: runtime.now() - lostAt });
        return this.id;
      }
      await runtime.wait(lostImportPauseMs, signal);
    }
    this.#lost.push({});
    return undefined;
  }

  /** What came back, beside what was given. */
  async #compareImported(id: string, given: NewCertificate, mark: Mark): Promise<void> {
    const { store } = this.#options;
    const read = await this.#calls.read((call) => store.read(id, call));
    if (read === undefined) throw new CodedError('store_nonsense', `${store.id} shows ${id} and does not give it`);
    const { content, metadata } = read;
    const hasKey = content.privateKey !== undefined;
    content.privateKey?.pem.wipe();
    const keyWords = hasKey ? 'a full read gives the private key' : 'a full read gives no private key';
    this.#check('givesKeys', hasKey === store.abilities.givesKeys, keyWords, keyWords);
    const withoutKey = ({ leaf, chain }: CertificateContent) => fingerprintOf({ leaf, chain });
    this.#check(
      'content',
      withoutKey(content) === withoutKey(given.content),
      'leaf and chain come back as they were given',
      `leaf and chain come back changed: ${given.content.chain.length} chain certificates given, ${content.chain.length} read`,
    );
    this.#check(
      'metadata',
      metadataDigestOf(store.asKept(given.metadata, mark)) === metadataDigestOf(metadata),
      'name and description come back as it says',
      'name or description come back otherwise than it says',
    );
    this.#check('mark', sameMark(metadata.mark, mark), 'the mark comes back', 'the mark does not come back');
  }

  async #importAgain(entry: NewCertificate, id: string): Promise<void> {
    const { store } = this.#options;
    this.#step('importing it once more, with the same token');
    const { answer } = await this.#calls.send((call) => store.import(entry, call), 'import');
    const good = 'a repeated import made no second certificate';
    this.#check('importIsIdempotent', answer.id === id, good, 'a repeated import made a second certificate');
    if (answer.id !== id) await this.#calls.send((call) => store.delete(answer.id, call), 'delete', answer.id);
  }

  async #importTakenName({ content, metadata }: NewCertificate): Promise<void> {
    const { store, runtime } = this.#options;
    this.#step('importing another one of the same name');
    const mark = testMark(runtime);
    const entry = { content, metadata, mark, token: `prove-${mark.certificate}` };
    try {
      const { answer } = await this.#calls.send((call) => store.import(entry, call), 'import');
      await this.#calls.send((call) => store.delete(answer.id, call), 'delete', answer.id);
      this.#say('uniqueNames', 'differs', 'it took two certificates of one name');
    } catch (thrown) {
      const { code, message } = asCodedError(thrown);
      if (code !== 'store_conflict') throw thrown;
      this.#say('uniqueNames', 'holds', `a name that is taken is refused: ${message}`);
    }
  }

  async #findByMark(mark: Mark, id: string): Promise<void> {
    const { findByMark } = this.#options.store;
    if (findByMark === undefined) return;
    const found = await this.#calls.ask((call) => findByMark(mark, call));
    const only = found.length === 1 && found[0]?.id === id;
    this.#check(
      'findsMarks',
      only,
      'asked for the mark, it gives this one',
      `asked for the mark, it gives ${found.length}`,
    );
  }

  async #replaceThreeTimes(id: string): Promise<void> {
    const { store, issue, runtime } = this.#options;
    const replace = (content: CertificateContent) => (call: CallOptions) => store.reimport(id, content, call);

    this.#step('replacing it by a renewed one');
    const renewed = parseContent(await issue([testDomain]));
    const sentAt = runtime.now();
    const eventSeen = this.#waitForEvent(id, sentAt);
    eventSeen.catch(() => {});
    let tookMs = 0;
    const timed = async (call: CallOptions) => {
      const began = runtime.now();
      const answer = await replace(renewed)(call);
      tookMs = runtime.now() - began;
      return answer;
    };
    await this.#write('reimport', timed, shows(renewed), id);
    this.#say('reimportsInPlace', 'holds', 'a renewed certificate takes the place of the old one');
    await eventSeen;

    this.#step('replacing it by one with another name more');
    const wider = parseContent(await issue([testDomain, `www.${testDomain}`]));
    let held = renewed;
    try {
      await this.#write('reimport', replace(wider), shows(wider), id);
      held = wider;
      this.#say('other names', 'told', 'a certificate for other names takes the place of the old one too');
    } catch (thrown) {
      const { code, message } = asCodedError(thrown);
      if (code !== 'store_content_refused') throw thrown;
      this.#say('other names', 'told', `a certificate for other names is refused: ${message}`);
    }
    await this.#giveUpAWrite(id, held, tookMs);
  }

  /**
   * Sends a write, gives it up half way, and looks for when it takes effect all the same: what an
   * answer that is lost leaves behind. One that takes no effect was stopped on its way.
   */
  async #giveUpAWrite(id: string, held: CertificateContent, usualMs: number): Promise<void> {
    const { store, issue, runtime } = this.#options;
    const domains = factsOf(held).domains;
    this.#step('giving a write up half way, and looking for its effect');
    const last = parseContent(await issue(domains));
    const giveUp = new AbortController();
    const half = runtime.wait(Math.ceil(usualMs / 2)).then(() => giveUp.abort(new Error('given up on purpose')));
    try {
      await this.#calls.sendOnce((call) => store.reimport(id, last, call), giveUp.signal);
    } catch (thrown) {
      if (asCodedError(thrown).entry.applied === 'unknown') await this.#lookForLost(shows(last), id);
    } finally {
      await half;
    }
  }

  /** Waits for the event of a change, where somebody here listens. */
  async #waitForEvent(id: string, since: number): Promise<void> {
    const { eventSeenAt, runtime, signal } = this.#options;
    if (eventSeenAt === undefined) return;
    while (runtime.now() - since <= patienceMs) {
      const at = await eventSeenAt(id);
      if (at !== undefined && at >= since) {
        this.#events = { outcome: 'holds', measured: at - since, message: 'its word of the renewal arrived' };
        return;
      }
      await runtime.wait(500, signal);
    }
    const message = `no word of the renewal arrived within ${patienceMs / 1000} s`;
    this.#events = { outcome: 'not-seen', message };
  }
}

/** Whether metadata shows this content. */
function shows(content: CertificateContent): (seen: Seen) => boolean {
  const { serial, notAfter } = factsOf(content);
  return (seen) =>
    seen !== undefined && (seen.serial === serial || (seen.serial === undefined && seen.notAfter === notAfter));
}

/** The worst of what was seen after each write. */
function worst(about: 'readSettles' | 'listingLag', stated: number, seen: readonly Following['reads'][]): BoundFinding {
  const asked = seen.reduce((sum, { asked }) => sum + asked, 0);
  const old = seen.reduce((sum, { old }) => sum + old, 0);
  const unfinished = seen.some(({ shown }) => !shown);
  const measured = Math.max(0, ...seen.map(({ lastOldMs }) => lastOldMs ?? 0));
  const of = about === 'readSettles' ? 'reads' : 'listings';
  const base = { about, stated, measured };
  if (unfinished) {
    const message = `a change was not shown by ${of} in all the time that it was waited for`;
    return { ...base, outcome: 'exceeded', message };
  }
  const message = old === 0 ? `no old answer in ${asked} ${of}` : `${old} old answers in ${asked} ${of}`;
  return { ...base, outcome: measured > stated ? 'exceeded' : 'holds', message };
}
