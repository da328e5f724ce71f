import { isIP } from 'node:net';
import { hostname, userInfo } from 'node:os';
import { defined } from '../defined.ts';
import type { Person } from './line.ts';

/**
 * Who is at work: the user and the machine, as the system knows them; and who became that user by
 * `sudo`, and from which address a session of SSH comes, as the environment claims: whoever runs a
 * command can set that to anything. It is kept beside the chain, and can be erased.
 */
export function personHere(env: Readonly<Record<string, string | undefined>>): Person {
  const { username, uid } = userHere();
  const [claimed = ''] = (env.SSH_CONNECTION ?? '').split(' ');
  const from = isIP(claimed) === 0 ? undefined : claimed;
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
