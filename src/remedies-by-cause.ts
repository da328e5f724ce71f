/**
 * Remedies for what several kinds of failures have in common: a service that is not reached, a file
 * that is not read. The reason is the code that the system, TLS or HTTP gave, and each gets the
 * remedy of that cause.
 */

/** Facts beside the message of an error, for logs and programs. Never secrets. */
export type ErrorFields = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

/**
 * What a person should do, by the code of the cause (of the system, of a service) or by the HTTP
 * status: what whoever throws an error knows about it, in whole sentences.
 */
export type RemediesByReason = Readonly<Record<string, string>>;

/** What a person should do about a failure; where causes differ, by the fields of the error. */
export type Remedy = string | ((fields: ErrorFields) => string);

const trustAuthority =
  'If that authority is yours, name its certificate (a PEM file) in the environment: NODE_EXTRA_CA_CERTS=<file>. If not, something between answers for it (a proxy that opens TLS?).';

/**
 * By the codes of Node (system errors, DNS, TLS) and of OpenSSL's verification, as the errors of
 * `node:https` carry them.
 */
const networkRemedies: Readonly<Record<string, string>> = {
  ECONNREFUSED: 'Nothing listens at that address and port. Start what should, or correct the address and the port.',
  ENOTFOUND: 'That host name is not known to DNS here. Correct the name in the address, or mend DNS on this machine.',
  EAI_AGAIN: 'DNS does not answer on this machine: see /etc/resolv.conf, and whether the network is up.',
  ECONNRESET:
    'The connection was closed in the middle, by it or by something between (firewall, proxy). It is tried again; if it stays, look there.',
  EPIPE:
    'The connection was closed in the middle, by it or by something between (firewall, proxy). It is tried again; if it stays, look there.',
  ETIMEDOUT: 'Nothing answers at that address: a firewall between drops what is sent, or the machine is down.',
  EHOSTUNREACH: 'There is no way to that host from here: see routes, VPN and firewall of this machine.',
  ENETUNREACH: 'There is no way to that network from here: see routes, VPN and firewall of this machine.',
  EADDRNOTAVAIL: 'This machine has no free port left for connections, or not the address that it should connect from.',
  EMFILE: 'This process has too many files and connections open: raise its limit (ulimit -n).',
  CERT_HAS_EXPIRED:
    'The TLS certificate that it shows has expired. Renew it there, and see that the clock here is right.',
  CERT_NOT_YET_VALID: 'The TLS certificate that it shows is not valid yet: the clock here or there is wrong.',
  ERR_TLS_CERT_ALTNAME_INVALID:
    'Its TLS certificate is for other names. Use the host name that it is for, or see whether something else answers there.',
  DEPTH_ZERO_SELF_SIGNED_CERT: `Its TLS certificate is self-signed, and not trusted here. ${trustAuthority}`,
  SELF_SIGNED_CERT_IN_CHAIN: `Its TLS certificate is of an authority that is not trusted here. ${trustAuthority}`,
  UNABLE_TO_GET_ISSUER_CERT: `Its TLS certificate is of an authority that is not trusted here. ${trustAuthority}`,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: `Its TLS certificate is of an authority that is not trusted here. ${trustAuthority}`,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: `It shows its TLS certificate without the intermediate, or of an authority that is not trusted here. Have it send its whole chain. ${trustAuthority}`,
  ERR_SSL_WRONG_VERSION_NUMBER:
    'What answers there speaks no TLS: is that the port for https, and does no plain proxy stand between?',
  EPROTO: 'TLS could not be agreed on: is that the port for https, and does it speak TLS 1.2 or newer?',
  ABORT_ERR: 'The call was ended from here, by a deadline or by a person. It is made again.',
  interrupted: 'The call was ended from here, by a person. Run the command again.',
};

/** By what an HTTP status says of the program that answered in place of the service. */
const statusRemedies: Readonly<Record<number, string>> = {
  407: 'A proxy between wants credentials of its own. Let these requests go past it, or give it what it wants.',
  502: 'What stands before the service (a proxy, a load balancer) does not reach it. It is tried again; look there if it stays.',
  503: 'The service says that it is not available now. It is tried again; look at its status if it stays.',
  504: 'What stands before the service (a proxy, a load balancer) got no answer from it in time. It is tried again.',
};

/** What the file system says of the place where something is kept. */
const placeRemedies: Readonly<Record<string, string>> = {
  ENOSPC: 'The disk is full: make room on it (df -h and df -i show what is left).',
  EDQUOT: 'The quota on that disk is used up: make room, or have it raised.',
  EROFS: 'That file system is mounted read-only: mount it for writing, or name another place.',
  EACCES: 'This user may not: run it as the owner of that place, or let this user in (ls -ld shows owner and rights).',
  EPERM: 'This user may not: run it as the owner of that place, or let this user in (ls -ld shows owner and rights).',
  ENOENT: 'There is nothing at that path: correct it, or put there what belongs there.',
  ENOTDIR: 'A part of that path is a file, and no folder: correct the path.',
  EISDIR: 'That path is a folder, and a file is wanted: correct the path.',
  ELOOP: 'The symbolic links of that path lead in a circle: mend them.',
  ENAMETOOLONG: 'That path is longer than the file system takes: name a shorter one.',
  EIO: 'The disk reports an input or output error: see dmesg, and bring the disk or the mount into order.',
  ESTALE: 'The file server no longer knows it: mount it again.',
  EMFILE: 'This process has too many files open: raise its limit (ulimit -n).',
};

/** What to do about a place on a disk. */
export const place = (otherwise: string) => byCause(otherwise, placeRemedies);

/** Remedies by `reason` of the fields, else by `status`, else this one. */
export function byCause(otherwise: string, reasons: Readonly<Record<string, string>>): (fields: ErrorFields) => string {
  return ({ reason, status }) =>
    (typeof reason === 'string' && Object.hasOwn(reasons, reason) ? reasons[reason] : undefined) ??
    (typeof status === 'number' ? statusRemedies[status] : undefined) ??
    otherwise;
}

/** What to do about what lies on a disk or behind a network, whichever it is. */
export const placeOrReach = (otherwise: string) => byCause(otherwise, { ...networkRemedies, ...placeRemedies });

/** What to do about a service that was not reached. */
export const reach = (otherwise: string, more: Readonly<Record<string, string>> = {}) =>
  byCause(otherwise, { ...networkRemedies, ...more });
