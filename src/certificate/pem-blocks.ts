import { CodedError } from '../errors.ts';
import { readElement } from './der.ts';

/** One block of PEM. */
export interface PemBlock {
  /** What stands after BEGIN: `CERTIFICATE`. */
  readonly label: string;
  /**
   * Whether its content is encrypted, by its label or by its headers (RFC 1421 section 4.6.1.1).
   */
  readonly encrypted: boolean;
  /** Base64 without white space, not yet checked. */
  readonly base64: string;
}

const damaged = { fields: { reason: 'damaged_pem' } } as const;
const boundary = /^-----(BEGIN|END) ([A-Z0-9 ]+)-----$/;

/**
 * The blocks of a text in the order in which they stand (RFC 7468, and the headers of RFC 1421).
 * Lines may end in `\n`, `\r\n` or `\r`, in any mixture; text outside of blocks is passed over.
 * Throws `certificate_malformed` for a block that does not end, or an end that does not belong to a
 * beginning: a text that was cut somewhere must not pass for a shorter one.
 */
export function readBlocks(text: string): readonly PemBlock[] {
  const blocks: PemBlock[] = [];
  let open: { readonly label: string; readonly lines: string[] } | undefined;
  for (const raw of text.split(/\r\n|\r|\n/)) {
    const line = raw.trim();
    const [, edge, label = ''] = boundary.exec(line) ?? [];
    if (edge === undefined) open?.lines.push(line);
    else if (edge === 'BEGIN' && open === undefined) open = { label, lines: [] };
    else if (edge === 'END' && open?.label === label) {
      blocks.push(toBlock(label, open.lines));
      open = undefined;
    } else throw new CodedError('certificate_malformed', `a PEM block has a misplaced ${edge} line`, damaged);
  }
  if (open !== undefined) throw new CodedError('certificate_malformed', 'a PEM block has no END line', damaged);
  return blocks;
}

/**
 * A PEM text without its private keys, and these: a server may want both in one file. Nothing is
 * checked.
 */
export function keysApart(text: string): { readonly keys: string; readonly rest: string } {
  if (!text.includes('PRIVATE KEY-----')) return { keys: '', rest: text };
  let keys = '';
  let rest = '';
  let inKey = false;
  for (const line of text.split(/(?<=\n|\r(?!\n))/)) {
    inKey ||= /^\s*-----BEGIN [A-Z0-9 ]*PRIVATE KEY-----/.test(line);
    if (inKey) keys += line;
    else rest += line;
    if (/^\s*-----END /.test(line)) inKey = false;
  }
  return { keys, rest };
}

/**
 * The DER in a block. Throws `certificate_malformed` unless it is base64 of one DER element and
 * nothing more.
 */
export function derOf(block: PemBlock): Buffer {
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(block.base64) || block.base64.length % 4 !== 0) {
    throw new CodedError('certificate_malformed', `a PEM block (${block.label}) is not base64`, damaged);
  }
  const der = Buffer.from(block.base64, 'base64');
  if (isOneElement(der)) return der;
  // It may be most of a private key.
  der.fill(0);
  throw new CodedError('certificate_malformed', `a PEM block (${block.label}) is not DER`, damaged);
}

/** One block of PEM: 64 characters in a line, `\n` line ends, the last line too. */
export function formatBlock(label: string, der: Uint8Array): string {
  const lines =
    // The same memory, no copy: it may be a private key, and the caller overwrites it.
    Buffer.from(der.buffer, der.byteOffset, der.byteLength)
      .toString('base64')
      .match(/.{1,64}/g) ?? [];
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

function toBlock(label: string, lines: readonly string[]): PemBlock {
  // Headers, if the first line is one, go on to the first empty line.
  const headers = lines[0]?.includes(':') ? lines.slice(0, Math.max(0, lines.indexOf(''))) : [];
  return {
    label,
    encrypted: label.startsWith('ENCRYPTED ') || headers.some((line) => /^Proc-Type:.*ENCRYPTED/.test(line)),
    base64: lines.slice(headers.length).join(''),
  };
}

function isOneElement(der: Uint8Array): boolean {
  try {
    return readElement(der).end === der.length;
  } catch {
    return false;
  }
}
