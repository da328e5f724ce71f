import { Resolver } from 'node:dns/promises';
import { isIP } from 'node:net';

/**
 * Whether a TXT record of this value stands in DNS now, as a certificate authority would find it.
 * Never throws. Once the signal is aborted what has not answered is silent, and no other question
 * is asked.
 */
export type ChallengeLookup = (name: string, value: string, signal: AbortSignal) => Promise<boolean>;

/**
 * How long the first of two attempts waits for a server; the second waits twice as long. One that
 * is silent must not use a lookup up.
 */
const queryMs = 2_000;
/** How far a chain of CNAMEs is followed, and how many name servers of a zone are asked. */
const mostAliases = 8;
const mostServers = 8;

/**
 * Looks for the record where authorities do: at every name server of the zone that answers, since a
 * cache may know for an hour that the record is not there, and since one name server may be behind
 * another. With `server` (an address, with its port if it is not 53) that one alone is asked.
 */
export function challengeLookup(options: { readonly server?: string | undefined } = {}): ChallengeLookup {
  const { server } = options;
  const serversOf = async (name: string, signal: AbortSignal) =>
    server === undefined ? nameServers(name, signal) : [server];

  return async (name, value, signal) => {
    let where = name;
    for (let alias = 0; alias <= mostAliases; alias++) {
      const resolvers = (await serversOf(where, signal)).map((address) => resolverAt(address, signal));
      if (signal.aborted) return false;
      const [target] = (await settled(resolvers.map((resolver) => resolver.resolveCname(where)))).flat();
      if (signal.aborted) return false;
      if (target === undefined) return holdsEverywhere(resolvers, where, value);
      where = target;
    }
    return false;
  };
}

async function holdsEverywhere(resolvers: readonly Resolver[], name: string, value: string): Promise<boolean> {
  const found = await Promise.all(
    resolvers.map(async (resolver) => {
      try {
        return (await resolver.resolveTxt(name)).some((parts) => parts.join('') === value);
      } catch (thrown) {
        // Nothing there is an answer; silence is none.
        return isAnswer(thrown) ? false : undefined;
      }
    }),
  );
  return found.includes(true) && !found.includes(false);
}

/**
 * Addresses of the name servers of the zone that a name lies in, by the platform's own resolver.
 */
async function nameServers(name: string, signal: AbortSignal): Promise<readonly string[]> {
  const resolver = resolverAt(undefined, signal);
  // Not from the name itself: that it is not there yet would stay in a cache.
  const labels = name.split('.').slice(1);
  for (; labels.length > 0 && !signal.aborted; labels.shift()) {
    const [names = []] = await settled([resolver.resolveNs(labels.join('.'))]);
    if (names.length === 0 || signal.aborted) continue;
    const addresses = await settled(
      names.slice(0, mostServers).flatMap((server) => [resolver.resolve4(server), resolver.resolve6(server)]),
    );
    return addresses.flat().slice(0, 2 * mostServers);
  }
  return [];
}

/** Asks this server, or the platform's own; its questions end with the signal. */
function resolverAt(server: string | undefined, signal: AbortSignal): Resolver {
  const resolver = new Resolver({ timeout: queryMs, tries: 2 });
  if (server !== undefined) resolver.setServers([isIP(server) === 6 ? `[${server}]` : server]);
  signal.addEventListener('abort', () => resolver.cancel(), { once: true });
  return resolver;
}

/** What was answered, without what was not. */
async function settled<T>(asked: readonly Promise<T>[]): Promise<readonly T[]> {
  const outcomes = await Promise.allSettled(asked);
  return outcomes.flatMap((outcome) => (outcome.status === 'fulfilled' ? [outcome.value] : []));
}

function isAnswer(thrown: unknown): boolean {
  const { code } = thrown as NodeJS.ErrnoException;
  return code === 'ENODATA' || code === 'ENOTFOUND';
}
