import { createHash } from 'node:crypto';
import { defined } from '../../defined.ts';
import { CodedError } from '../../errors.ts';
import { type Connections, connections, type HttpSend } from '../../http/client.ts';
import { limits } from '../../limits.ts';
import { readTextFileSync, whyUnreadable } from '../../regular-file.ts';
import { Secret } from '../../secret.ts';

/** Files that say who the two sides of a connection are. */
export interface ConnectionFiles {
  readonly ca?: string;
  readonly clientCertificate?: string;
  readonly clientKey?: string;
}

export interface FileConnections {
  readonly send: HttpSend;
  /** Throws what stands in the way of a request before it is sent. */
  ready(): void;
  /** Reads the files again: what has changed holds from the next request on. */
  renew(): void;
  close(): void;
}

/**
 * Connections by files in PEM: of authorities, and of the certificate that is shown. They are read
 * with the first request, so that a file that is missing is a failure of this store and of no
 * other. Throws `store_unavailable` with the path.
 */
export function fileConnections(files: ConnectionFiles): FileConnections {
  let made: { readonly digest: string; readonly connections: Connections } | undefined;

  function make(): Connections {
    const { ca, clientCertificate, clientKey } = files;
    const trust = ca === undefined ? undefined : textOf(ca);
    const certificate = clientCertificate === undefined ? undefined : textOf(clientCertificate);
    const key = clientKey === undefined ? undefined : textOf(clientKey);
    const digest = createHash('sha256')
      .update(JSON.stringify([trust, certificate, key]))
      .digest('hex');
    if (made?.digest === digest) return made.connections;
    const client = certificate === undefined || key === undefined ? undefined : { certificate, key: new Secret(key) };
    // Those before are left to whoever waits for an answer over them.
    made = { digest, connections: connections(defined({ trust, client })) };
    return made.connections;
  }

  return {
    send: async (request, options) => (made?.connections ?? make()).send(request, options),
    ready() {
      if (made === undefined) make();
    },
    renew() {
      if (made !== undefined) make();
    },
    close: () => made?.connections.close(),
  };
}

/** Throws `store_unavailable`. */
export function textOf(path: string): string {
  try {
    return readTextFileSync(path, { maxBytes: limits.textFileBytes });
  } catch (cause) {
    throw new CodedError('store_unavailable', `${path} cannot be read (${whyUnreadable(path, cause)})`, {
      cause,
      fields: {
        path,
        remedy: `Put the file there, readable for this user, or correct its path in the configuration: ${path}`,
      },
    });
  }
}
