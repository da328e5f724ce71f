import { setMaxListeners } from 'node:events';
import { limits } from '../limits.ts';
import { digestOf, isSameDigest, newSecret } from './secrets.ts';

/** Somebody who has signed in, as long as this process runs and not longer than a day's work. */
export interface Session {
  /** Stands in every form, so that no page of another origin can send one. */
  readonly formToken: string;
  /** Epoch milliseconds. */
  readonly until: number;
  /** Aborted when the session ends, however it does. */
  readonly ended: AbortSignal;
}

export interface Sessions {
  /** Begins one; of too many the oldest ends. Answers what the cookie is to hold. */
  open(): { readonly cookie: string; readonly session: Session };
  /** The session of a cookie; `undefined` if there is none, or none any more. */
  find(cookie: string): Session | undefined;
  close(session: Session): void;
  closeAll(): void;
}

interface Kept extends Session {
  readonly digest: string;
  readonly ending: AbortController;
}

/** The sessions of one process. They are in its memory alone, by the digests of their cookies. */
export function openSessions(now: () => number): Sessions {
  let kept: readonly Kept[] = [];

  function end(which: (session: Kept) => boolean): void {
    const ending = kept.filter(which);
    kept = kept.filter((session) => !which(session));
    for (const session of ending) session.ending.abort();
  }
  const endOld = () => end(({ until }) => until <= now());

  return {
    open() {
      endOld();
      const tooMany = kept.slice(0, Math.max(0, kept.length + 1 - limits.consoleSessions));
      end((session) => tooMany.includes(session));
      const cookie = newSecret();
      const ending = new AbortController();
      setMaxListeners(limits.consoleStreams, ending.signal);
      const until = now() + limits.consoleSessionMs;
      const formToken = newSecret();
      const session = { formToken, until, ended: ending.signal, digest: digestOf(cookie), ending };
      kept = [...kept, session];
      return { cookie, session };
    },
    find(cookie) {
      endOld();
      const digest = digestOf(cookie);
      // All are compared, so that nothing is told by how long it takes.
      return kept.filter((session) => isSameDigest(session.digest, digest))[0];
    },
    close: (session) => end((one) => one === session),
    closeAll: () => end(() => true),
  };
}
