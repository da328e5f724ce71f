import type { SenderForDiagnosis } from '../../compose/senders.ts';
import { asCodedError } from '../../errors.ts';
import { limits } from '../../limits.ts';
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
      findings.push(keysFinding(about, await fetchKeys()));
    } catch (thrown) {
      findings.push(failed(about, thrown));
    }
  }
  if (diagnosis?.sendTest === undefined) {
    const line = diagnosis?.trial(to ?? `https://PUBLIC-ADDRESS${path}`);
    if (line !== undefined) findings.push(good(about, `to try it, where it is: ${line}`));
    return findings;
  }
  if (to === undefined) {
    const remedy =
      'Run it with --register https://PUBLIC-ADDRESS (that of the receiver), while certstandby serve runs.';
    return [...findings, warning(about, 'whether its messages arrive was not tried', remedy)];
  }
  try {
    await diagnosis.sendTest(to, { signal: signal() });
    return [...findings, good(about, `a test message is taken at ${to}`)];
  } catch (thrown) {
    return [...findings, failed(about, asCodedError(thrown))];
  }
}

/** Of more keys than are kept, the one that signs may be left out. */
function keysFinding(about: string, served: number): Finding {
  const most = limits.verificationKeys;
  if (served <= most) return good(about, `its keys can be fetched (${served}); the sweep keeps them`);
  const remedy = 'Have the issuer serve fewer keys, the ones that sign first.';
  return warning(about, `${served} keys are served, and only the first ${most} of them are kept`, remedy);
}
