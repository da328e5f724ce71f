import type { SenderForDiagnosis } from '../../compose/senders.ts';
import { asCodedError } from '../../errors.ts';
import { type Finding, failed, good, warning } from './checks.ts';

/**
 * What can be known of a sender before it sends: whether its keys can be had, and, where what
 * proves it is here and `base` says where the receiver is, whether a test message is taken there.
 * For others it says how a test is sent from where they are.
 */
export async function checkSender(
  { name, store, diagnosis, fetchKeys }: SenderForDiagnosis,
  { base, signal }: { readonly base: string | undefined; readonly signal: () => AbortSignal },
): Promise<readonly Finding[]> {
  const about = `sender ${name}`;
  const path = `/callback/${name}`;
  const to = base === undefined ? undefined : `${base.replace(/\/+$/, '')}${path}`;
  const findings: Finding[] = [good(about, `tells of ${store} at ${to ?? path}`)];
  if (fetchKeys !== undefined) {
    try {
      findings.push(good(about, `its keys can be fetched (${await fetchKeys()}); the sweep keeps them`));
    } catch (thrown) {
      findings.push(failed(about, thrown));
    }
  }
  if (diagnosis?.sendTest === undefined) {
    const line = diagnosis?.trial(to ?? `https://<the public address of the receiver>${path}`);
    if (line !== undefined) findings.push(good(about, `to try it, where it is: ${line}`));
    return findings;
  }
  if (to === undefined) {
    const remedy = 'Run it with --register https://<the public address of the receiver>, while certstandby serve runs.';
    return [...findings, warning(about, 'whether its messages arrive was not tried', remedy)];
  }
  try {
    await diagnosis.sendTest(to, { signal: signal() });
    return [...findings, good(about, `a test message is taken at ${to}`)];
  } catch (thrown) {
    return [...findings, failed(about, asCodedError(thrown))];
  }
}
