import { verify } from 'node:crypto';
import { pinVerificationKey } from '../../src/sender/jws.ts';
import { verifyCallback } from '../../src/services/certificate-manager/sender.ts';
import { certificateId, instanceCrn, payloadV4, type Signer } from '../support/notifications.ts';
import type { Report } from './report.ts';
import { quantile } from './statistics.ts';

const warmUpRounds = 50;
const rounds = 100;
const perRound = 60;

/**
 * What it costs to get from body bytes to a verified event, against the signature check alone. One
 * thread, median of rounds in turn.
 */
export function measureVerify(report: Report, signer: Signer): void {
  report.heading(
    'Verifying a notification, microseconds (median), against bare crypto.verify of the same signing input',
  );
  const publicKey = pinVerificationKey(signer.publicKeyPem);
  for (const certificates of [1, 10, 100]) {
    const ids = Array.from({ length: certificates }, (_, index) => certificateId(index + 1));
    const body = signer.body(payloadV4({ ids }));
    const token = (JSON.parse(body.toString()) as { readonly data: string }).data;
    const input = Buffer.from(token.slice(0, token.lastIndexOf('.')));
    const signature = Buffer.from(token.slice(token.lastIndexOf('.') + 1), 'base64url');
    const pinned = { instance: instanceCrn, publicKey };

    const bare = () => verify('RSA-SHA256', input, publicKey, signature);
    const ours = () => verifyCallback(body, pinned).certificates.length === certificates;
    const times = inTurn(bare, ours);
    report.line(
      `${certificates} ${certificates === 1 ? 'certificate' : 'certificates'}, ${body.length} bytes`,
      `${microseconds(times.oursMs)} against ${microseconds(times.bareMs)}`,
      { value: ratioOf(times), ...(certificates === 1 ? { atMost: 1.5 } : {}) },
    );
  }
}

interface Times {
  readonly bareMs: readonly number[];
  readonly oursMs: readonly number[];
}

/** The median of one piece of work, in microseconds. */
export const microseconds = (all: readonly number[]): string => ((quantile(all, 0.5) * 1000) / perRound).toFixed(1);

/** The median of the ratios of rounds that stood beside each other. */
export const ratioOf = ({ bareMs, oursMs }: Times): number =>
  quantile(
    oursMs.map((each, round) => each / (bareMs[round] ?? Number.NaN)),
    0.5,
  );

/**
 * Milliseconds of each round of both; they take turns, so that what else the machine does meets
 * both.
 */
export function inTurn(bare: () => boolean, ours: () => boolean): Times {
  const timed = (work: () => boolean): number => {
    const started = performance.now();
    for (let repeat = 0; repeat < perRound; repeat += 1) if (!work()) throw new Error('what is good was refused');
    return performance.now() - started;
  };
  const times: { readonly bareMs: number[]; readonly oursMs: number[] } = { bareMs: [], oursMs: [] };
  for (let round = -warmUpRounds; round < rounds; round += 1) {
    const [bareMs, oursMs] = [timed(bare), timed(ours)];
    if (round < 0) continue;
    times.bareMs.push(bareMs);
    times.oursMs.push(oursMs);
  }
  return times;
}
