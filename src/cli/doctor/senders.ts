import type { SenderForDiagnosis, SetUpStep } from '../../compose/senders.ts';
import { defined } from '../../defined.ts';
import { asCodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
import type { Runtime } from '../../runtime.ts';
import type { StoreRelay } from '../../store/store.ts';
import { clean, duration } from '../output/text.ts';
import { type Finding, failed, good, problem, warning } from './checks.ts';

/**
 * What can be known of a sender before it sends: whether its keys can be had, and, where what
 * proves it is here and `base` says where the receiver is, whether a test message is taken there.
 * For others it says how a test is sent from where they are. `lastTestAt`: when the table says that
 * one came last; absent: it cannot be read.
 */
export async function checkSender(
  { name, store, diagnosis, fetchKeys }: SenderForDiagnosis,
  {
    base,
    signal,
    lastTestAt,
    relay,
  }: {
    readonly base: string | undefined;
    readonly signal: () => AbortSignal;
    readonly lastTestAt?: LastTest | undefined;
    /** Of the store that it tells of. */
    readonly relay?: StoreRelay | undefined;
  },
): Promise<readonly Finding[]> {
  const about = `sender ${name}`;
  const path = `/callback/${name}`;
  const to = base === undefined ? undefined : `${base.replace(/\/+$/, '')}${path}`;
  const findings: Finding[] = [good(about, `tells of ${store} ${diagnosis?.comes ?? `at ${to ?? path}`}`)];
  if (fetchKeys !== undefined) {
    try {
      findings.push(keysFinding(about, await fetchKeys()));
    } catch (thrown) {
      // What is still to be made is told by who makes it.
      const isToBeMade = asCodedError(thrown).code === 'channel_missing' && diagnosis?.setUp !== undefined;
      if (!isToBeMade) findings.push(failed(about, thrown));
    }
  }
  if (diagnosis?.setUp !== undefined) {
    try {
      for await (const step of diagnosis.setUp({ path, signal, ...defined({ to, relay }) }))
        findings.push(stepFinding(about, step));
    } catch (thrown) {
      const again = 'Run the same command again: it looks first, and goes on where this one ended.';
      findings.push(failed(about, thrown, asCodedError(thrown).code === 'store_unanswered' ? again : undefined));
    }
  }
  if (diagnosis?.sendTest === undefined) {
    const line = diagnosis?.trial?.(to ?? `https://PUBLIC-ADDRESS${path}`);
    if (line !== undefined) findings.push(good(about, `to try it, where it is: ${line}`));
    return findings;
  }
  if (to === undefined) {
    const remedy =
      'Run it with --register https://PUBLIC-ADDRESS (that of the receiver), while certstandby serve runs.';
    return [...findings, warning(about, 'whether its messages arrive was not tried', remedy)];
  }
  try {
    const before = await lastTestAt?.(name);
    await diagnosis.sendTest(to, { signal: signal() });
    const taken = `a test message is taken at ${to}`;
    if (lastTestAt === undefined) return [...findings, good(about, taken)];
    if ((await lastTestAt(name)) !== before) return [...findings, good(about, `${taken}, and stands in the table`)];
    const remedy = 'Give this doctor the configuration of that receiver, with its table.';
    return [...findings, warning(about, `${taken}, and this table knows nothing of it`, remedy)];
  } catch (thrown) {
    return [...findings, failed(about, asCodedError(thrown))];
  }
}

function stepFinding(about: string, { message, remedy, code }: SetUpStep): Finding {
  const said = clean(message);
  if (remedy === undefined) return good(about, said);
  return code === undefined ? warning(about, said, clean(remedy)) : problem(about, code, said, clean(remedy));
}

/** When a test message came last to the callback of this name, as the table says. */
export type LastTest = (callback: string) => Promise<number | undefined>;

/** How often the table is asked while one is waited for. Milliseconds. */
const lookMs = 500;

/** Senders that nobody but themselves can try. */
export const triesItself = ({ diagnosis }: SenderForDiagnosis): boolean =>
  diagnosis?.trial !== undefined && diagnosis.sendTest === undefined;

/**
 * Waits until a test message of a sender has come, sent from where it is, since the table said
 * `before`.
 */
export async function awaitTest(
  { name }: Pick<SenderForDiagnosis, 'name'>,
  {
    before,
    lastTestAt,
    waitMs,
    runtime,
    signal,
  }: {
    readonly before: number | undefined;
    readonly lastTestAt: LastTest;
    readonly waitMs: number;
    readonly runtime: Pick<Runtime, 'now' | 'wait'>;
    readonly signal: AbortSignal;
  },
): Promise<Finding> {
  const about = `sender ${name}`;
  const until = runtime.now() + waitMs;
  for (;;) {
    const at = await lastTestAt(name);
    if (at !== undefined && at !== before) return good(about, 'its test message has come, and stands in the table');
    const leftMs = until - runtime.now();
    if (leftMs <= 0) break;
    await runtime.wait(Math.min(lookMs, leftMs), signal);
  }
  const remedy = `Send one from where it is, as said above, and read its answer; the log of the receiver names what it refused.`;
  return warning(about, `no test message has come within ${duration(waitMs)}`, remedy);
}

/** Of more keys than are kept, the one that signs may be left out. */
function keysFinding(about: string, served: number): Finding {
  const most = limits.verificationKeys;
  if (served <= most) return good(about, `its keys can be fetched (${served}); the sweep keeps them`);
  const remedy = 'Have the issuer serve fewer keys, the ones that sign first.';
  return warning(about, `${served} keys are served, and only the first ${most} of them are kept`, remedy);
}
