import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import jsonwebtoken from 'jsonwebtoken';
import { exchangeToken } from '../support/instance.ts';
import { restClient } from './rest.ts';
import type { Pair } from './servers.ts';
import { clockMs, processorTime } from './statistics.ts';

interface Claims {
  readonly instance_crn: string;
  readonly certificates: readonly { readonly cert_crn: string }[];
}

/**
 * The function that people write from the provider's samples: for each event it fetches the public
 * key of the configured instance, verifies with `jsonwebtoken`, gets a token for each side,
 * downloads and reimports. Where its copies are it keeps in `copies`, which costs it nothing here:
 * deployed, it would need a table for that, or a listing. It keeps connections alive.
 */
export function straightforwardFunction({ primary, backup }: Pair, copies = new Map<string, string>()) {
  return async (body: string): Promise<void> => {
    const { data } = JSON.parse(body) as { readonly data: string };
    const keyUrl = `${primary.url}/api/v1/instances/${encodeURIComponent(primary.crn)}/notifications/publicKey`;
    const response = await fetch(`${keyUrl}?keyFormat=pem`);
    const { publicKey } = (await response.json()) as { readonly publicKey: string };
    const claims = jsonwebtoken.verify(data, publicKey, { algorithms: ['RS256'] }) as unknown as Claims;
    if (claims.instance_crn !== primary.crn) throw new Error('the event is of another instance');
    for (const { cert_crn } of claims.certificates) {
      const id = cert_crn.slice(cert_crn.lastIndexOf(':') + 1);
      const from = restClient(primary, await exchangeToken(primary.url, primary.apiKey));
      const { name, data: content } = await from.download(id);
      const to = restClient(backup, await exchangeToken(backup.url, backup.apiKey));
      const copy = copies.get(id);
      if (copy === undefined) copies.set(id, await to.import(name, content));
      else await to.reimport(copy, content);
    }
  };
}

/**
 * The process that hosts it: it answers when the function is through, with the moment when that
 * was.
 */
export function straightforwardHandlers() {
  const copies = new Map<string, string>();
  return {
    async start(pair: Pair): Promise<string> {
      const replicate = straightforwardFunction(pair, copies);
      const server = createServer((request, response) => {
        text(request)
          .then(replicate)
          .then(() => response.end(JSON.stringify({ at: clockMs() })))
          .catch((thrown: unknown) => response.writeHead(500).end(String(thrown)));
      });
      await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
      return `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
    },
    /** Tells it where copies are: certificate id, copy id. */
    know(known: readonly (readonly [string, string])[]): void {
      for (const [certificate, copy] of known) copies.set(certificate, copy);
    },
    copyOf: (certificate: string): string | undefined => copies.get(certificate),
    takeProcessorMs: processorTime(),
  };
}
