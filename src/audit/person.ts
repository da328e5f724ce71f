import { hostname, userInfo } from 'node:os';
import { defined } from '../defined.ts';
import type { Person } from './line.ts';

/**
 * Who is at work, as the system knows it: the user, whoever became it by `sudo`, the machine, and
 * the address from which a session of SSH comes. It is kept beside the chain, and can be erased.
 */
export function personHere(env: Readonly<Record<string, string | undefined>>): Person {
  const { username, uid } = userHere();
  const from = /^[0-9a-fA-F.:]+/.exec(env.SSH_CONNECTION ?? '')?.[0];
  return defined({ user: username, uid, sudoUser: env.SUDO_USER, host: hostname(), from }) as Person;
}

/** In a container the user may have no name. */
function userHere(): { readonly username?: string; readonly uid: string } {
  const uid = String(process.geteuid?.() ?? '');
  try {
    return { username: userInfo().username, uid };
  } catch {
    return { uid };
  }
}
