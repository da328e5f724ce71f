import { type LookupAddress, lookup as systemLookup } from 'node:dns';
import { BlockList, isIP, isIPv6, type LookupFunction } from 'node:net';
import { CodedError } from '../../errors.ts';
import { invalid } from '../rows/fields.ts';

/** Which addresses channels may have beside those of the public Internet. */
export interface AllowedAddresses {
  /** Of this machine; there also without TLS. */
  readonly loopback: boolean;
  /** Of private networks, and of everything else that is not the public Internet. */
  readonly private: boolean;
}

type AddressKind = 'public' | 'loopback' | 'private';

/** Addresses of this machine. To connect to the unspecified address is to connect to it, too. */
const loopback = blockList(['127.0.0.0/8', '0.0.0.0/32', '::1/128', '::/128']);
/**
 * Special-purpose addresses of version 4 (IANA's registry, RFC 6890): private, shared (CGNAT),
 * link-local with its metadata services, ...
 */
const notPublic4 = blockList([
  '0.0.0.0/8',
  '10.0.0.0/8',
  '100.64.0.0/10',
  '127.0.0.0/8',
  '169.254.0.0/16',
  '172.16.0.0/12',
  '192.0.0.0/24',
  '192.0.2.0/24',
  '192.88.99.0/24',
  '192.168.0.0/16',
  '198.18.0.0/15',
  '198.51.100.0/24',
  '203.0.113.0/24',
  '224.0.0.0/3',
]);
/**
 * Of version 6, global unicast alone is public (2000::/3), less what tunnels to version 4 or is not
 * routed: Teredo and others, documentation, 6to4.
 */
const global6 = blockList(['2000::/3']);
const notPublic6 = blockList(['2001::/23', '2001:db8::/32', '2002::/16', '3fff::/20']);
const mapped4 = blockList(['::ffff:0.0.0.0/96']);

function blockList(subnets: readonly string[]): BlockList {
  const list = new BlockList();
  for (const subnet of subnets) {
    const [network = '', bits] = subnet.split('/');
    list.addSubnet(network, Number(bits), isIPv6(network) ? 'ipv6' : 'ipv4');
  }
  return list;
}

/** What kind of address an IP address is. */
export function addressKind(address: string): AddressKind {
  if (isIP(address) === 4) {
    if (loopback.check(address, 'ipv4')) return 'loopback';
    return notPublic4.check(address, 'ipv4') ? 'private' : 'public';
  }
  // The lists of version 4 match addresses of version 6 that hold one of theirs (`::ffff:…`).
  if (loopback.check(address, 'ipv6')) return 'loopback';
  if (mapped4.check(address, 'ipv6')) return notPublic4.check(address, 'ipv6') ? 'private' : 'public';
  return global6.check(address, 'ipv6') && !notPublic6.check(address, 'ipv6') ? 'public' : 'private';
}

export function isAllowed(address: string, allowed: AllowedAddresses): boolean {
  const kind = addressKind(address);
  return kind === 'public' || allowed[kind];
}

/**
 * A host name or address of a URL, without the brackets. The URL parser has brought every spelling
 * of an address (decimal, octal, short) to one.
 */
export function hostOf(url: URL): string {
  return url.hostname.replace(/^\[(.*)\]$/, '$1');
}

const isLocalName = (host: string) => /^(localhost\.?|.+\.localhost\.?)$/.test(host);

/**
 * A channel endpoint that may be: `https:`, or `http:` on this machine where that is allowed; no
 * user name or password; an address that is allowed. What a name stands for is looked at when it is
 * connected to, each time. Throws `instance_request_invalid`.
 */
export function checkEndpoint(endpoint: string, allowed: AllowedAddresses): string {
  const url = URL.canParse(endpoint) ? new URL(endpoint) : undefined;
  if (url === undefined) throw invalid('endpoint is not a URL');
  if (url.username !== '' || url.password !== '') throw invalid('endpoint carries a user name or password');
  const host = hostOf(url);
  const kind = isIP(host) !== 0 ? addressKind(host) : isLocalName(host) ? 'loopback' : 'public';
  if (kind !== 'public' && !allowed[kind]) {
    const where = kind === 'loopback' ? 'on this machine' : 'at an address that is not of the public Internet';
    throw invalid(`endpoint is ${where}, which this instance does not allow`);
  }
  if (url.protocol === 'https:' || (url.protocol === 'http:' && kind === 'loopback')) return endpoint;
  throw invalid('endpoint does not begin with https:');
}

/** Asks for the addresses of a name, as `dns.lookup` with `all` does. */
export type Resolve = (
  host: string,
  options: { readonly all: true },
  answer: (error: NodeJS.ErrnoException | null, addresses: LookupAddress[]) => void,
) => void;

/**
 * Looks a name up for a connection, and answers only addresses that are allowed: so a name that
 * stands for something else by the time it is connected to is no way in. Fails with
 * `instance_endpoint_forbidden` where none is left.
 */
export function guardedLookup(allowed: AllowedAddresses, resolve: Resolve = systemLookup): LookupFunction {
  return (host, { all = false }, answer) => {
    resolve(host, { all: true }, (error, addresses) => {
      if (error !== null) return answer(error, '');
      const good = addresses.filter(({ address }) => isAllowed(address, allowed));
      const [first] = good;
      if (first === undefined) return answer(forbidden(), '');
      if (all) answer(null, good);
      else answer(null, first.address, first.family);
    });
  };
}

/** What a connection to an address that is not allowed ends with. */
export function forbidden(): CodedError {
  return new CodedError('instance_endpoint_forbidden', 'the endpoint is at an address that channels may not have');
}
