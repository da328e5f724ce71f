import { inspect } from 'node:util';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { CodedError } from '../../src/errors.ts';
import { type IamOptions, iamTokens } from '../../src/ibm-cloud/iam.ts';
import { systemRuntime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { type ScriptedServer, startScriptedServer } from '../store/scripted-server.ts';

const start = 1_700_000_000_000;
const apiKey = 'key+with/odd=characters & more';
const minute = 60_000;

let server: ScriptedServer;
beforeEach(async () => {
  server = await startScriptedServer();
});
afterEach(() => server.close());

function tokens(options: Partial<IamOptions> = {}) {
  const clock = { now: start };
  let over = 0;
  // A request waits for its time limit until it is over.
  const wait: typeof systemRuntime.wait = (...limit) =>
    systemRuntime.wait(...limit).finally(() => setImmediate(() => (over += 1)));
  const runtime = { ...systemRuntime, now: () => clock.now, wait };
  const iam = iamTokens({ url: server.url, apiKey: new Secret(apiKey), runtime, ...options });
  return {
    clock,
    iam,
    text: async () => (await iam.token()).reveal(),
    /** Until so many exchanges have arrived, and what came of them is known here. */
    exchanged: (count: number) => expect.poll(() => [server.exchanges.length, over]).toEqual([count, count]),
  };
}

describe('the exchange', () => {
  it('sends the API key as a form, percent-encoded, and nothing else of it', async () => {
    expect(await tokens().text()).toBe('token-1');
    const [request] = server.exchanges;
    expect(request).toMatchObject({ method: 'POST', url: '/identity/token' });
    expect(request?.headers['content-type']).toBe('application/x-www-form-urlencoded');
    expect(request?.headers.accept).toBe('application/json');
    expect(request?.headers.authorization).toBeUndefined();
    expect(request?.body).toBe(
      'grant_type=urn%3Aibm%3Aparams%3Aoauth%3Agrant-type%3Aapikey' +
        '&apikey=key%2Bwith%2Fodd%3Dcharacters+%26+more&response_type=cloud_iam',
    );
  });

  it('happens once for a hundred callers', async () => {
    const { text } = tokens();
    const all = await Promise.all(Array.from({ length: 100 }, text));
    expect(new Set(all)).toEqual(new Set(['token-1']));
    expect(server.exchanges).toHaveLength(1);
  });

  it('fails once for a hundred callers, and is tried again by the next', async () => {
    server.iam({ status: 500 });
    const { iam, text } = tokens();
    const all = await Promise.allSettled(Array.from({ length: 100 }, () => iam.token()));
    expect(all.every(({ status }) => status === 'rejected')).toBe(true);
    expect(server.exchanges).toHaveLength(1);
    expect(await text()).toBe('token-2');
  });
});

describe('an API key that is kept elsewhere', () => {
  it('is read anew for each exchange, and for no token that lives', async () => {
    let read = 0;
    const kept = async () => {
      read += 1;
      return new Secret(`key-${read}`);
    };
    const { clock, text } = tokens({ apiKey: kept });
    await Promise.all([text(), text()]);
    await text();
    clock.now = start + 60 * minute;
    await text();
    expect(server.exchanges.map(({ body }) => /apikey=([^&]+)/.exec(body)?.[1])).toEqual(['key-1', 'key-2']);
  });

  it('that cannot be read is told as that, and is read again by the next', async () => {
    let there = false;
    const kept = async () => {
      if (!there) throw new CodedError('secret_unavailable', 'nobody answers for the secret');
      return new Secret('key');
    };
    const { iam, text } = tokens({ apiKey: kept });
    await expect(iam.token()).rejects.toMatchObject({
      code: 'secret_unavailable',
      message: 'nobody answers for the secret',
    });
    there = true;
    expect(await text()).toBe('token-1');
  });
});

describe('the lifetime of a token', () => {
  it('is used up to the moment of renewal without asking again', async () => {
    const { clock, text, exchanged } = tokens();
    await text();
    clock.now = start + 48 * minute - 1;
    expect(await text()).toBe('token-1');
    await exchanged(1);
  });

  it('ends with a renewal in the background at 80 percent', async () => {
    const { clock, text, exchanged } = tokens();
    await text();
    clock.now = start + 48 * minute;
    expect(await Promise.all([text(), text(), text()])).toEqual(['token-1', 'token-1', 'token-1']);
    await exchanged(2);
    expect(await text()).toBe('token-2');
  });

  it('goes on after a failed renewal, which is tried again a minute later', async () => {
    const { clock, text, exchanged } = tokens();
    await text();
    server.iam({ status: 503 });
    clock.now = start + 48 * minute;
    expect(await text()).toBe('token-1');
    await exchanged(2);
    clock.now += minute - 1;
    expect(await text()).toBe('token-1');
    await exchanged(2);
    clock.now += 1;
    expect(await text()).toBe('token-1');
    await exchanged(3);
    expect(await text()).toBe('token-3');
  });

  it('is over ten seconds early', async () => {
    const { clock, iam, text, exchanged } = tokens();
    await text();
    server.iam({ status: 503 }, { status: 503 });
    clock.now = start + 60 * minute - 10_001;
    expect(await text()).toBe('token-1');
    await exchanged(2);
    clock.now += 1;
    await expect(iam.token()).rejects.toMatchObject({ code: 'store_unavailable', fields: { status: 503 } });
    expect(await text()).toBe('token-4');
  });

  it('counts by our clock, however wrong that of IAM is', async () => {
    server.iam({ body: { access_token: 'a', expires_in: 3600, expiration: 1 } });
    const { clock, text, exchanged } = tokens();
    await text();
    clock.now = start + 47 * minute;
    expect(await text()).toBe('a');
    await exchanged(1);
  });

  it('counts to the expiration where no span is given', async () => {
    server.iam({ body: { access_token: 'a', expiration: start / 1000 + 100 } });
    const { clock, text, exchanged } = tokens();
    await text();
    clock.now = start + 79_999;
    expect(await text()).toBe('a');
    await exchanged(1);
    clock.now = start + 90_000;
    expect(await text()).toBe('token-2');
  });
});

describe('a forced refresh', () => {
  it('exchanges at once, and once for all who were refused the same token', async () => {
    const { iam, text } = tokens();
    const rejected = await iam.token();
    const all = await Promise.all(Array.from({ length: 10 }, () => iam.refresh(rejected)));
    expect(new Set(all.map((token) => token.reveal()))).toEqual(new Set(['token-2']));
    expect(await text()).toBe('token-2');
    expect(server.exchanges).toHaveLength(2);
  });

  it('gives the newer token to whom an older one was refused', async () => {
    const { iam } = tokens();
    const rejected = await iam.token();
    await iam.refresh(rejected);
    expect((await iam.refresh(rejected)).reveal()).toBe('token-2');
    expect(server.exchanges).toHaveLength(2);
  });
});

describe('what goes wrong', () => {
  const nonsense = [
    ['a page', { headers: { 'content-type': 'text/html' }, body: '<html>apikey</html>' }],
    ['an empty body', { body: '' }],
    ['no token', { body: { expires_in: 3600 } }],
    ['a token that is no header value', { body: { access_token: 'a\nb', expires_in: 3600 } }],
    ['an empty token', { body: { access_token: '', expires_in: 3600 } }],
    ['no lifetime', { body: { access_token: 'a' } }],
    ['a lifetime of 0', { body: { access_token: 'a', expires_in: 0 } }],
    ['an expiration that has passed', { body: { access_token: 'a', expiration: start / 1000 } }],
    ['a redirect', { status: 302, headers: { location: '/identity/token' } }],
  ] as const;
  it.each(nonsense)('is store_nonsense for %s', async (_, step) => {
    server.iam(step);
    await expect(tokens().iam.token()).rejects.toMatchObject({ code: 'store_nonsense' });
    expect(server.exchanges).toHaveLength(1);
  });

  it.each([
    [400, 'store_unauthorized'],
    [401, 'store_unauthorized'],
    [403, 'store_unauthorized'],
    [429, 'store_limited'],
    [500, 'store_unavailable'],
    [503, 'store_unavailable'],
  ])('is by status: %d is %s', async (status, code) => {
    const body = { errorCode: 'BXNIM0415E', errorMessage: `no such key: ${apiKey}` };
    server.iam({ status, headers: { 'retry-after': '7' }, body });
    const error = await tokens()
      .iam.token()
      .catch((thrown: unknown) => thrown);
    expect(error).toMatchObject({ code, fields: { status, serviceCode: 'BXNIM0415E', retryAfterMs: 7000 } });
    expect(inspect(error, { depth: 10 })).not.toContain(apiKey);
  });

  it('is store_unavailable where nothing answers', async () => {
    const gone = await startScriptedServer();
    await gone.close();
    await expect(tokens({ url: gone.url }).iam.token()).rejects.toMatchObject({ code: 'store_unavailable' });
  });

  it('is store_unavailable when the connection drops and when no answer comes in time', async () => {
    server.iam((_, response) => void response.destroy());
    server.iam(() => {});
    const { iam } = tokens({ requestTimeoutMs: 50 });
    await expect(iam.token()).rejects.toMatchObject({ code: 'store_unavailable' });
    await expect(iam.token()).rejects.toMatchObject({ code: 'store_unavailable' });
  });

  it('ends only for the caller who ends its call', async () => {
    server.iam((_, response) => {
      setTimeout(() => response.end('{"access_token":"late","expires_in":3600}'), 50);
    });
    const { iam, text } = tokens();
    const ender = new AbortController();
    const ended = iam.token({ signal: ender.signal });
    const patient = text();
    ender.abort();
    await expect(ended).rejects.toMatchObject({ code: 'store_unavailable' });
    expect(await patient).toBe('late');
  });
});

it.each([301, 302, 307, 308])('a redirect (%i) is not followed: the API key goes nowhere else', async (status) => {
  const trap = await startScriptedServer();
  try {
    server.iam({ status, headers: { location: `${trap.url}/identity/token` } });
    await expect(tokens().text()).rejects.toMatchObject({ code: 'store_nonsense', fields: { status } });
    expect(trap.exchanges).toEqual([]);
  } finally {
    await trap.close();
  }
});

describe('the address', () => {
  const made = (url: string) => () => iamTokens({ url, apiKey: new Secret(apiKey), runtime: systemRuntime });
  it.each([
    'https://iam.cloud.ibm.com',
    'https://iam.test/',
    'http://127.0.0.1:1',
    'http://[::1]:1',
    'http://localhost:1',
  ])('may be %s', (url) => {
    expect(made(url)).not.toThrow();
  });
  it.each([
    'http://iam.cloud.ibm.com',
    'http://127.0.0.1.example.test',
    'ftp://127.0.0.1',
    'https://u:p@iam.test',
    'iam',
    '',
  ])('may not be %j', (url) => {
    expect(made(url)).toThrow(expect.objectContaining({ code: 'configuration_invalid' }));
  });
});
