import { createServer, request as httpRequest } from 'node:http';
import { listen } from '../../src/http/listen.ts';
import type { Signer } from '../support/notifications.ts';
import type { CallbackPost } from './attack.ts';

/** Rows of a table in Markdown, printed at the end with ATTACKS_TABLE=1. */
export function printedTable(...columns: readonly string[]) {
  const rows = [columns, columns.map(() => '---')];
  return {
    add: (...cells: readonly string[]) => void rows.push(cells.map((cell) => cell.replaceAll('|', '\\|'))),
    print(): void {
      if (process.env.ATTACKS_TABLE !== '1') return;
      process.stdout.write(`\n${rows.map((cells) => `| ${cells.join(' | ')} |\n`).join('')}`);
    },
  };
}

/** One request as it is, and its answer. */
export function send(callbackUrl: string, { body, method = 'POST', path, headers }: CallbackPost) {
  const url = new URL(callbackUrl);
  return new Promise<{ readonly status: number; readonly body: string }>((resolve, reject) => {
    const request = httpRequest(
      {
        host: url.hostname,
        port: url.port,
        path: path ?? url.pathname,
        method,
        headers: { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body), ...headers },
      },
      (response) => {
        let text = '';
        response.setEncoding('utf8');
        response.on('data', (chunk: string) => {
          text += chunk;
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: text }));
      },
    );
    request.on('error', reject);
    request.end(body);
  });
}

/** The code of a refusal, else the status word. */
export const codeOf = (body: string): string => {
  const { code, status } = JSON.parse(body) as { readonly code?: string; readonly status?: string };
  return code ?? status ?? '';
};

/** A server of the attacker's that offers his key under every path. */
export async function startTrap(signer: Signer) {
  let requests = 0;
  const server = createServer((_request, response) => {
    requests += 1;
    response.setHeader('content-type', 'application/json').end(JSON.stringify({ publicKey: signer.publicKeyPem }));
  });
  const { url } = await listen(server, '127.0.0.1', 0, { nextFree: false });
  return { url, requests: () => requests, close: () => new Promise((resolve) => server.close(resolve)) };
}
