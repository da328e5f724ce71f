import { readPublicKeyPem } from '../../certificate/public-key-pem.ts';
import type { Config, LinkConfig } from '../../config.ts';
import { defined } from '../../defined.ts';
import { asCodedError, type ErrorCode, errorRegistry, remedyOf } from '../../errors.ts';
import {
  type BackupWords,
  backupExit,
  backupWords,
  keptBesideWords,
  keysNotProvenWords,
} from '../../findings/backup-words.ts';
import { silenceRemedy, silenceText } from '../../findings/status-words.ts';
import type { Silence } from '../../records/reconcile-records.ts';
import type { BackupFindings } from '../../replication/backup-findings.ts';
import { patiently } from '../../replication/patient-read.ts';
import { isSilent } from '../../replication/silence.ts';
import type { Runtime } from '../../runtime.ts';
import type {
  CertificateMetadata,
  PassedOver,
  RightAsked,
  Store,
  StoreRight,
  UnreadableElement,
} from '../../store/store.ts';
import { clean, count, duration } from '../output/text.ts';

/**
 * What one check came to. A problem carries a code, which decides the exit code; `remedy` is the
 * line that mends it.
 */
export interface Finding {
  readonly about: string;
  readonly outcome: 'good' | 'warning' | 'problem';
  readonly message: string;
  readonly remedy?: string;
  readonly code?: ErrorCode;
  /**
   * The exit code where it is not that of the code: what one certificate lacks is no mistake of the
   * configuration.
   */
  readonly exit?: number;
}

export const good = (about: string, message: string): Finding => ({ about, outcome: 'good', message });

export const warning = (about: string, message: string, remedy: string): Finding => ({
  about,
  outcome: 'warning',
  message,
  remedy,
});

export const problem = (about: string, code: ErrorCode, message: string, remedy?: string): Finding => ({
  about,
  outcome: 'problem',
  code,
  message,
  remedy: remedy ?? remedyOf(code),
});

/** A failure as a finding; its own remedy unless a better one is known here. */
export function failed(about: string, thrown: unknown, remedy?: string): Finding {
  const error = asCodedError(thrown);
  const reason = error.fields.reason === undefined ? '' : ` (${error.fields.reason})`;
  return problem(about, error.code, error.message + reason, remedy ?? error.remedy);
}

/**
 * Clocks further apart than this make times of changes, and so the lag, wrong by as much.
 * Milliseconds.
 */
const skewMs = 5_000;

/**
 * Checks one store: reachable, clock, credentials, and the rights that its part takes. What follows
 * from a failed step is not asked.
 */
export async function checkStore(
  name: string,
  store: Store,
  part: { readonly primary: boolean; readonly backup: boolean },
  context: Pick<Runtime, 'now' | 'wait'> & { readonly signal: () => AbortSignal },
): Promise<readonly Finding[]> {
  const { now, signal } = context;
  const findings: Finding[] = [];
  const { diagnosis } = store;
  if (diagnosis !== undefined) {
    try {
      const askedAt = now();
      const theirs = await diagnosis.clock({ signal: signal() });
      findings.push(good(name, `reached at ${diagnosis.address}`), ...checkClock(name, theirs, askedAt, now()));
      for (const { message, remedy } of (await diagnosis.remarks?.({ limit: signal })) ?? [])
        findings.push(remedy === undefined ? good(name, clean(message)) : warning(name, clean(message), remedy));
    } catch (thrown) {
      const tried = `Try it: ${/^https?:/.test(diagnosis.address) ? 'curl -sv' : 'ls -ld'} ${diagnosis.address}`;
      const error = asCodedError(thrown);
      const isKnown = error.remedy !== remedyOf(error.code);
      return [failed(name, error, isKnown ? `${error.remedy} ${tried}` : tried)];
    }
  }
  if (diagnosis?.rights !== undefined) {
    try {
      const rights = await diagnosis.rights(part, { signal: signal() });
      findings.push(...checkRights(name, rights));
      // What follows would fail for the same reason.
      if (rights.some(({ granted, isDispensable }) => !granted && !isDispensable)) return findings;
    } catch (thrown) {
      return [...findings, failed(name, thrown, credentialsRemedy(name, store, thrown, rightsOf(part)))];
    }
  }
  try {
    const listing = await listFully(store, signal);
    findings.push(...listing.findings(name));
    const [first] = listing.certificates;
    if (part.primary && first !== undefined) findings.push(await checkFullRead(name, store, first.id, context));
  } catch (thrown) {
    return [...findings, failed(name, thrown, credentialsRemedy(name, store, thrown, rightsOf(part)))];
  }
  if (part.backup && diagnosis !== undefined) {
    try {
      const may = await diagnosis.mayImport({ signal: signal() });
      findings.push(
        may
          ? good(name, 'may import')
          : problem(
              name,
              'store_unauthorized',
              'the credentials may not import',
              rightsRemedy(name, store, ['import']),
            ),
      );
    } catch (thrown) {
      findings.push(failed(name, thrown));
    }
  }
  return findings;
}

/**
 * What the service says of our rights: those that are missing one by one, each with the line that
 * grants it.
 */
function checkRights(name: string, rights: readonly RightAsked[]): readonly Finding[] {
  const missing = rights.filter(({ granted }) => !granted);
  const needed = rights.filter(({ isDispensable }) => !isDispensable);
  return [
    ...(needed.every(({ granted }) => granted) ? [good(name, `has all ${needed.length} rights that it needs`)] : []),
    ...missing.map(({ what, remedy, isDispensable }) => {
      const words = `the credentials may not ${clean(what)}`;
      return isDispensable
        ? warning(name, `${words}: without that more requests are sent`, remedy)
        : problem(name, 'store_unauthorized', words, remedy);
    }),
  ];
}

/** Pages that are asked for of a store that can hold what nobody can read. */
const pagesListed = 100;
/** Elements that are no certificates, as far as they are named. */
const placesShown = 5;

/**
 * The first page of a store; all of them where it names what it could not read, so that all of that
 * is named.
 */
async function listFully(store: Store, signal: () => AbortSignal) {
  const certificates: CertificateMetadata[] = [];
  const unreadable: UnreadableElement[] = [];
  const passedOver: PassedOver[] = [];
  let cursor: string | undefined;
  for (let page = 1; page === 1 || (cursor !== undefined && page <= pagesListed); page += 1) {
    const listed = await store.list({ signal: signal(), ...defined({ cursor }) });
    certificates.push(...listed.certificates);
    unreadable.push(...(listed.unreadable ?? []));
    passedOver.push(...(listed.passedOver ?? []));
    cursor = listed.cursor;
    if (listed.unreadable === undefined) break;
  }
  return {
    certificates,
    findings(name: string): readonly Finding[] {
      const number = `${count(certificates.length, 'certificate')}${cursor === undefined ? '' : ' on the first page'}`;
      const places = passedOver.slice(0, placesShown).map(({ place, reason }) => `${clean(place)}: ${clean(reason)}`);
      const more = passedOver.length > placesShown ? [`… and ${passedOver.length - placesShown} more`] : [];
      const words = `passed over, as no certificates: ${passedOver.length} (${[...places, ...more].join('; ')})`;
      const remedy = 'Look whether a certificate is among them; the README says which files are read.';
      return [
        good(name, `may be listed: ${number}`),
        ...unreadable.map(({ error }) => ({
          ...problem(name, error.code, clean(error.message), remedyOf(error.code, error.fields)),
          exit: errorRegistry.certificate_expired.exit,
        })),
        ...(passedOver.length === 0
          ? []
          : [certificates.length > 0 ? good(name, words) : warning(name, words, remedy)]),
      ];
    },
  };
}

function checkClock(name: string, theirs: number | undefined, askedAt: number, answeredAt: number): Finding[] {
  if (theirs === undefined) return [];
  // A `Date` header is cut to whole seconds, and was written some time between the question and the
  // answer.
  const apartMs = Math.max(0, theirs - answeredAt, askedAt - (theirs + 999));
  if (apartMs <= skewMs) return [good(name, 'its clock and ours agree')];
  const which = theirs > answeredAt ? 'ahead of' : 'behind';
  return [
    warning(
      name,
      `its clock is ${duration(apartMs)} ${which} ours: lag and expiry are told wrong by that much`,
      'Synchronise the clock of this machine: timedatectl set-ntp true',
    ),
  ];
}

/** A primary must be read with keys. One certificate is, and thrown away. */
async function checkFullRead(
  name: string,
  store: Store,
  id: string,
  { signal, wait }: Pick<Runtime, 'wait'> & { readonly signal: () => AbortSignal },
): Promise<Finding> {
  const read = () => store.read(id, { signal: signal() });
  const reading = await patiently({ runtime: { wait }, signal: signal() }, read);
  if (reading.state !== 'unreadable') return good(name, 'may read in full, private keys included');
  const { error } = reading;
  const remedy = error.code === 'store_unauthorized' ? rightsRemedy(name, store, ['read-keys']) : undefined;
  if (remedy !== undefined) return problem(name, error.code, 'the credentials may not read private keys', remedy);
  // That one certificate is damaged says nothing about rights.
  if (error.code === 'store_content_unreadable') return good(name, 'may read in full');
  return failed(name, error);
}

/** What a store is asked for in its parts. */
function rightsOf({ primary, backup }: { readonly primary: boolean; readonly backup: boolean }): readonly StoreRight[] {
  return ['list', ...(primary ? (['read-keys'] as const) : []), ...(backup ? (['import'] as const) : [])];
}

/**
 * How our credentials get rights there; `undefined` where the store has no word of its own about
 * it.
 */
function rightsRemedy(name: string, { diagnosis }: Store, rights: readonly StoreRight[]): string | undefined {
  return diagnosis?.rightsRemedy?.(`stores.${name}`, rights);
}

/** As above, where they were not accepted at all. */
function credentialsRemedy(
  name: string,
  { diagnosis }: Store,
  thrown: unknown,
  rights: readonly StoreRight[],
): string | undefined {
  if (asCodedError(thrown).code !== 'store_unauthorized') return undefined;
  return diagnosis?.credentialsRemedy?.(`stores.${name}`, rights);
}

/** What the table says of a link. */
export interface LinkState {
  readonly boundTo: string | undefined;
  readonly verificationKey: string | undefined;
  readonly lastReconcileAt: number | undefined;
  /** What reconciles found that no event told of. */
  readonly silence?: Silence | undefined;
  /** What its records say of the backups, by store id. */
  readonly backups?: BackupFindings | undefined;
}

/**
 * What the records of a link say of its backups: what they refuse, copies that somebody else
 * changes, copies that are not let go, places without content, and keys that nobody could prove.
 * `names`: of the backups that are configured, by store id; what is said of others is passed over.
 */
export function checkBackups(
  { name }: Pick<LinkConfig, 'name'>,
  names: ReadonlyMap<string, string>,
  found: BackupFindings | undefined,
  now: number,
): readonly Finding[] {
  if (found === undefined) return [];
  const about = `link ${name}`;
  const nameOf = (store: string) => names.get(store) ?? store;
  const configured = <T extends { readonly store: string }>(all: readonly T[] = []) =>
    all.filter(({ store }) => names.has(store));
  // What a service says names stores by their ids.
  const named = (text: string) => [...names].reduce((words, [id, name]) => words.replaceAll(id, name), text);
  const messageOf = ({ what, why, when, more }: BackupWords) => named([`${what}: ${why}; ${when}`, ...more].join('; '));
  const { refusals, overwritten, vacantPlaces } = found;
  const wrong = {
    refusals: configured(refusals),
    overwritten: configured(overwritten),
    vacantPlaces: configured(vacantPlaces),
  };
  return [
    ...backupWords(wrong, now, nameOf).map((words) => ({
      ...problem(about, words.code, messageOf(words), words.remedy),
      exit: backupExit,
    })),
    ...configured(found.keptBeside).map((kept) => {
      const words = keptBesideWords(kept, now, nameOf);
      return warning(about, messageOf(words), words.remedy);
    }),
    ...configured(found.keysNotProven).map((keys) => good(about, keysNotProvenWords(keys, nameOf))),
  ];
}

/**
 * Checks one link: its records, the key that verifies, the channel at the primary, the last
 * reconcile. `state` is absent if the table cannot be read.
 */
export async function checkLink(
  link: LinkConfig,
  primary: Store,
  state: LinkState | undefined,
  context: {
    readonly now: () => number;
    readonly signal: () => AbortSignal;
    readonly reconcileEveryMs: number;
    /** Who tells of changes in the primary. Absent: nobody does. */
    readonly toldBy?: readonly string[];
    /** Whether the primary answered: else it is not asked again. */
    readonly asks: boolean;
    /** What a person types to have the channel registered. */
    readonly registerLine: string;
    /** Base of the callback URLs, where channels are to be registered. */
    readonly register?: string;
  },
): Promise<readonly Finding[]> {
  const about = `link ${link.name}`;
  const findings: Finding[] = [];
  if (state?.boundTo !== undefined && state.boundTo !== primary.id) {
    findings.push(
      problem(about, 'configuration_link_moved', `its records belong to another primary: ${state.boundTo}`),
    );
  }
  if (context.asks) {
    findings.push(await checkVerificationKey(about, link, primary, state, context));
    findings.push(...(await checkChannel(about, link, primary, context)));
  }
  if (state !== undefined) {
    findings.push(checkReconciled(about, link, state, context));
    findings.push(...checkTold(about, state, context));
  }
  return findings;
}

async function checkVerificationKey(
  about: string,
  link: LinkConfig,
  primary: Store,
  state: LinkState | undefined,
  { signal, toldBy = [] }: { readonly signal: () => AbortSignal; readonly toldBy?: readonly string[] },
): Promise<Finding> {
  if (primary.notificationKey === undefined) {
    const senders =
      toldBy.length === 0 ? 'reconcile alone finds changes' : `its changes are told by ${toldBy.join(', ')}`;
    const how = primary.watch === undefined ? senders : 'serve watches it for changes';
    return good(about, `the primary sends no notifications; ${how}`);
  }
  try {
    const theirs = await primary.notificationKey({ signal: signal() });
    const pinned = link.verificationKey;
    if (pinned !== undefined) {
      if (sameKey(pinned, theirs)) return good(about, 'the pinned verification key is the primary’s');
      const message = 'the pinned verification key is not the primary’s: its notifications are refused';
      const remedy = `Put the primary's key into the file of links.${link.name}.verificationKey, or remove that line.`;
      return problem(about, 'configuration_invalid', message, remedy);
    }
    if (state?.verificationKey === undefined)
      return good(about, 'the verification key can be fetched; the first sweep keeps it');
    if (sameKey(state.verificationKey, theirs)) return good(about, 'the verification key is kept and up to date');
    return warning(about, 'the primary has a new verification key', 'The next sweep fetches it: certstandby serve');
  } catch (thrown) {
    return failed(about, thrown);
  }
}

function sameKey(a: string, b: string): boolean {
  try {
    return readPublicKeyPem(a).identity === readPublicKeyPem(b).identity;
  } catch {
    return false;
  }
}

async function checkChannel(
  about: string,
  link: LinkConfig,
  primary: Store,
  context: { readonly signal: () => AbortSignal; readonly registerLine: string; readonly register?: string },
): Promise<Finding[]> {
  const { channels, registerChannel } = primary.diagnosis ?? {};
  if (channels === undefined) return [];
  const { signal, register, registerLine } = context;
  const path = `/callback/${link.name}`;
  const wanted = register === undefined ? undefined : `${register.replace(/\/+$/, '')}${path}`;
  const fits = (endpoint: string) => (wanted === undefined ? pathOf(endpoint).endsWith(path) : endpoint === wanted);
  try {
    const find = async () => (await channels({ signal: signal() })).filter(({ endpoint }) => fits(endpoint));
    let found = await find();
    let how = 'the primary notifies';
    if (found.length === 0 && wanted !== undefined) {
      await registerChannel?.(wanted, { signal: signal() });
      found = await find();
      how = 'registered: the primary now notifies';
    }
    const active = found.find((channel) => channel.active);
    if (active !== undefined) return [good(about, `${how} ${clean(active.endpoint)}`)];
    const [inactive] = found;
    if (inactive !== undefined) {
      const message = `the channel to ${clean(inactive.endpoint)} is switched off at the primary`;
      return [problem(about, 'channel_missing', message, 'Switch it on in the notification settings of the primary.')];
    }
    const message = `the primary has no channel to ${wanted ?? `…${path}`}: nothing is told, reconcile alone finds changes`;
    return [problem(about, 'channel_missing', message, registerLine)];
  } catch (thrown) {
    return [failed(about, thrown, channelRemedy(thrown, link.primary, primary))];
  }
}

function channelRemedy(thrown: unknown, name: string, primary: Store): string | undefined {
  const { code, fields } = asCodedError(thrown);
  if (code !== 'store_unauthorized') return undefined;
  return rightsRemedy(name, primary, [fields.operation === 'list channels' ? 'list-channels' : 'register-channel']);
}

function pathOf(endpoint: string): string {
  return URL.canParse(endpoint) ? new URL(endpoint).pathname : '';
}

function checkReconciled(
  about: string,
  link: LinkConfig,
  state: LinkState,
  { now, reconcileEveryMs }: { readonly now: () => number; readonly reconcileEveryMs: number },
): Finding {
  const remedy = `certstandby reconcile --link ${link.name}`;
  const at = state.lastReconcileAt;
  if (at === undefined)
    return warning(about, 'no reconcile has succeeded yet: what is in the backups is unknown', remedy);
  const ageMs = now() - at;
  const words = `the last reconcile that succeeded began ${duration(ageMs)} ago`;
  return ageMs <= 2 * reconcileEveryMs ? good(about, words) : warning(about, words, remedy);
}

/** Whether events arrive, as far as reconciles tell. */
function checkTold(
  about: string,
  { silence }: LinkState,
  { now, toldBy = [] }: { readonly now: () => number; readonly toldBy?: readonly string[] },
): readonly Finding[] {
  if (toldBy.length === 0 || !isSilent(silence)) return [];
  return [warning(about, silenceText({ ...silence, toldBy }, now()), silenceRemedy)];
}

/** Which parts a store plays. */
export function partOf(config: Config, store: string): { readonly primary: boolean; readonly backup: boolean } {
  return {
    primary: config.links.some(({ primary }) => primary === store),
    backup: config.links.some(({ backups }) => backups.includes(store)),
  };
}
