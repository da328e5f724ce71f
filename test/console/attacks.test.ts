import { Agent, get } from 'node:http';
import { connect } from 'node:net';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { limits } from '../../src/limits.ts';
import { sendRaw } from '../receiver/raw-http.ts';
import { type Setup, setup } from '../support/replication.ts';
import { type Asking, consoleOf, type TestConsole } from './world.ts';

// What an enemy sends over HTTP, and what each gets.

let world: Setup;
let made: TestConsole;
let cookie: string;
beforeAll(async () => {
  world = await setup();
  made = await consoleOf(world);
  cookie = await made.signIn();
});
afterAll(() => made.server.close());

const foreign = 'http://evil.example';
const formType = 'application/x-www-form-urlencoded';
const cookieName = () => cookie.split('=')[0] ?? '';
/** A link that nobody has used. */
const token = async () => (await made.links.make()).token;
const form = (fields: Readonly<Record<string, string>>, headers: Asking['headers'] = {}) =>
  made.form(fields, { cookie, ...headers });

interface Attack {
  readonly path?: string;
  readonly asking: () => Promise<Asking> | Asking;
  readonly gets: number;
}

const attacks: Readonly<Record<string, Attack>> = {
  'no session': { asking: () => ({}), gets: 401 },
  'no session, a path that is there': { path: '/link/main', asking: () => ({}), gets: 401 },
  'no session, a path that is not': { path: '/nothing', asking: () => ({}), gets: 401 },
  'a forged cookie': { asking: () => ({ headers: { cookie: `${cookieName()}=${'A'.repeat(43)}` } }), gets: 401 },
  'a cookie of another name': {
    asking: () => ({ headers: { cookie: cookie.replace(/^[^=]*/, 'certstandby-console-1') } }),
    gets: 401,
  },
  'a cookie with more behind it': { asking: () => ({ headers: { cookie: `${cookie}=x` } }), gets: 401 },
  'an empty cookie': { asking: () => ({ headers: { cookie: `${cookieName()}=` } }), gets: 401 },
  'a name of somebody else that leads here': {
    asking: () => ({ headers: { cookie, host: 'evil.example' } }),
    gets: 421,
  },
  'such a name, with the port': {
    asking: () => ({ headers: { cookie, host: `evil.example:${made.server.port}` } }),
    gets: 421,
  },
  'such a name that begins like ours': {
    asking: () => ({ headers: { cookie, host: '127.0.0.1.evil.example' } }),
    gets: 421,
  },
  'such a name that ends like ours': { asking: () => ({ headers: { cookie, host: 'evil.localhost' } }), gets: 421 },
  'such a name with ours before an @': {
    asking: () => ({ headers: { cookie, host: '127.0.0.1@evil.example' } }),
    gets: 421,
  },
  'an address of another network': { asking: () => ({ headers: { cookie, host: '192.168.0.1' } }), gets: 421 },
  'such a name that wants to sign in': {
    path: '/enter',
    asking: async () => made.form({ token: await token() }, { host: 'evil.example', origin: foreign }),
    gets: 421,
  },
  'such a name that asks for the style': {
    path: '/console.css',
    asking: () => ({ headers: { host: 'evil.example' } }),
    gets: 421,
  },
  'a page of another origin that reads': {
    asking: () => ({ headers: { cookie, 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'cors' } }),
    gets: 403,
  },
  'a page of another port of this machine that reads': {
    asking: () => ({ headers: { cookie, 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'no-cors' } }),
    gets: 403,
  },
  'a page of another origin that frames': {
    asking: () => ({
      headers: { cookie, 'sec-fetch-site': 'same-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'iframe' },
    }),
    gets: 403,
  },
  'a form of another origin': { path: '/leave', asking: () => form({ token: 'x' }, { origin: foreign }), gets: 403 },
  'a form of another port of this machine': {
    path: '/leave',
    asking: () => form({ token: 'x' }, { origin: 'http://127.0.0.1:1' }),
    gets: 403,
  },
  'a form of no origin': { path: '/leave', asking: () => form({ token: 'x' }, { origin: 'null' }), gets: 403 },
  'a form that does not say from where': {
    path: '/leave',
    asking: () => ({ method: 'POST', headers: { cookie, 'content-type': formType }, body: 'token=x' }),
    gets: 403,
  },
  'a form without the token of the session': { path: '/leave', asking: () => form({}), gets: 403 },
  'a form with the token of another session': {
    path: '/leave',
    asking: async () => {
      const other = await made.page('/', await made.signIn());
      const [, of = ''] = /name="token" value="([^"]+)"/.exec(other.body) ?? [];
      return form({ token: of });
    },
    gets: 403,
  },
  'a form without a session': { path: '/leave', asking: () => made.form({ token: 'x' }), gets: 401 },
  'JSON in the place of a form': {
    path: '/enter',
    asking: () => ({ ...form({ token: 'x' }), headers: { origin: made.origin, 'content-type': 'application/json' } }),
    gets: 415,
  },
  'a form that is too long': {
    path: '/enter',
    asking: () => form({ token: 'x'.repeat(limits.consoleFormBytes) }),
    gets: 413,
  },
  'a link that was never made': {
    path: '/enter',
    asking: () => form({ token: `${'0'.repeat(16)}.${'A'.repeat(43)}` }),
    gets: 403,
  },
  'a link that was used': {
    path: '/enter',
    asking: async () => {
      const used = await token();
      expect(await made.ask('/enter', form({ token: used }))).toMatchObject({ status: 303 });
      return form({ token: used });
    },
    gets: 403,
  },
  'a link that is too old': {
    path: '/enter',
    asking: async () => {
      const old = await token();
      await world.later(limits.consoleLinkMs);
      return form({ token: old });
    },
    gets: 403,
  },
  'a link in the address in the place of a form': {
    path: '/enter?token=0000000000000000.AAAA',
    asking: () => ({ headers: {} }),
    gets: 401,
  },
  PUT: { asking: () => ({ method: 'PUT', headers: { cookie } }), gets: 405 },
  DELETE: { path: '/link/main', asking: () => ({ method: 'DELETE', headers: { cookie } }), gets: 405 },
  OPTIONS: { asking: () => ({ method: 'OPTIONS', headers: { cookie, origin: foreign } }), gets: 405 },
  TRACE: { asking: () => ({ method: 'TRACE', headers: { cookie } }), gets: 405 },
  'POST to a page': { path: '/link/main', asking: () => form({}), gets: 405 },
  'a path out of the folder': { path: '/../../etc/passwd', asking: () => ({ headers: { cookie } }), gets: 404 },
  'the same, encoded': { path: '/%2e%2e/%2e%2e/etc/passwd', asking: () => ({ headers: { cookie } }), gets: 404 },
  'a link that is encoded': { path: '/link/%6dain', asking: () => ({ headers: { cookie } }), gets: 404 },
  'a link that there is not': { path: '/link/other', asking: () => ({ headers: { cookie } }), gets: 404 },
  'a name of the language': { path: '/link/constructor', asking: () => ({ headers: { cookie } }), gets: 404 },
  'two slashes': { path: '//evil.example/', asking: () => ({ headers: { cookie } }), gets: 404 },
  'an address in the place of a path': {
    path: 'http://127.0.0.1/',
    asking: () => ({ headers: { cookie } }),
    gets: 400,
  },
  'a zero byte': { path: '/%00', asking: () => ({ headers: { cookie } }), gets: 404 },
  'a certificate that there is not': {
    path: '/certificate/main?id=%3Cscript%3E',
    asking: () => ({ headers: { cookie } }),
    gets: 404,
  },
  'a certificate whose id fits no table': {
    path: `/certificate/main?id=${'x'.repeat(4_000)}`,
    asking: () => ({ headers: { cookie } }),
    gets: 404,
  },
  'a certificate without an id': { path: '/certificate/main', asking: () => ({ headers: { cookie } }), gets: 404 },
  'headers that are too long': {
    asking: () => ({ headers: { cookie, 'x-long': 'x'.repeat(limits.consoleHeaderBytes) } }),
    gets: 431,
  },
};

test.each(Object.entries(attacks))('%s', async (_, { path = '/', asking, gets }) => {
  const got = await made.ask(path, await asking());
  expect(got.status).toBe(gets);
  expect(got.headers['set-cookie']).toBeUndefined();
  expect(got.body.replaceAll('<script src="/console.js" defer>', '')).not.toMatch(/<script/);
  // Whatever was tried, who has signed in is still there, and looks.
  expect((await made.page('/', cookie)).status).toBe(200);
});

test('two hosts, or none, are no name of this machine', async () => {
  const { port } = made.server;
  const both = `GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nHost: evil.example\r\nCookie: ${cookie}\r\n\r\n`;
  expect((await sendRaw(port, [both])).status).toBe(421);
  expect((await sendRaw(port, [`GET / HTTP/1.1\r\nCookie: ${cookie}\r\n\r\n`])).status).toBe(400);
  expect((await sendRaw(port, [`GET / HTTP/1.0\r\nCookie: ${cookie}\r\n\r\n`])).status).toBe(421);
});

test('the names of this machine are taken, with any port: a tunnel has another one', async () => {
  for (const host of ['127.0.0.1', 'localhost:8080', '[::1]:9480', 'LOCALHOST', '127.0.0.2:1'])
    expect((await made.ask('/', { headers: { cookie, host } })).status).toBe(200);
});

test('to come by a link of another page is no harm: the browser sends no cookie, and the page asks to sign in', async () => {
  const headers = { 'sec-fetch-site': 'cross-site', 'sec-fetch-mode': 'navigate', 'sec-fetch-dest': 'document' };
  expect((await made.ask('/', { headers })).status).toBe(401);
  expect((await made.ask(`/enter/${await token()}`, { headers })).status).toBe(200);
});

test('looking at a link uses nothing up: who previews it signs nobody in', async () => {
  const mine = await token();
  for (const method of ['GET', 'HEAD', 'GET']) {
    const got = await made.ask(`/enter/${mine}`, { method });
    expect([got.status, got.headers['set-cookie']]).toEqual([200, undefined]);
  }
  const got = await made.ask('/enter', made.form({ token: mine }));
  expect(got).toMatchObject({ status: 303, headers: { location: '/' }, body: '' });
  expect(got.headers['set-cookie']).toEqual([
    expect.stringMatching(
      new RegExp(`^certstandby-console-${made.server.port}=[\\w-]{43}; Path=/; HttpOnly; SameSite=Strict$`),
    ),
  ]);
});

test('who signs out has no session, on any page that is still open', async () => {
  const mine = await made.signIn();
  const { body } = await made.page('/', mine);
  const [, formToken = ''] = /name="token" value="([^"]+)"/.exec(body) ?? [];
  const left = await made.ask('/leave', made.form({ token: formToken }, { cookie: mine }));
  expect([left.status, left.headers.location]).toEqual([303, '/']);
  expect(left.headers['set-cookie']?.[0]).toContain('Max-Age=0');
  expect((await made.page('/', mine)).status).toBe(401);
});

test('a session ends after its time, whatever is open', async () => {
  const mine = await made.signIn();
  await world.later(limits.consoleSessionMs - 1);
  expect((await made.page('/', mine)).status).toBe(200);
  await world.later(1);
  expect((await made.page('/', mine)).status).toBe(401);
  cookie = await made.signIn();
});

test('every answer says that nothing is to be kept, framed, guessed or loaded from elsewhere', async () => {
  for (const path of ['/', '/nothing', '/console.css', `/enter/${await token()}`]) {
    const { headers } = await made.ask(path);
    expect(headers).toMatchObject({
      'cache-control': 'no-store',
      'x-frame-options': 'DENY',
      'x-content-type-options': 'nosniff',
      'referrer-policy': 'same-origin',
      'cross-origin-resource-policy': 'same-origin',
    });
    const policy = String(headers['content-security-policy']);
    expect(policy).toContain("default-src 'none'");
    expect(policy).toContain("frame-ancestors 'none'");
    expect(policy).not.toMatch(/unsafe|\*|https?:|data:/);
    expect(headers['access-control-allow-origin']).toBeUndefined();
  }
});

test('what is logged of all this holds no link and no cookie', async () => {
  const mine = await token();
  await made.ask('/enter', made.form({ token: mine }));
  await made.ask('/enter', made.form({ token: mine }));
  const logged = JSON.stringify(made.lines);
  expect(logged).toContain('console_sign_in_refused');
  expect(logged).not.toContain(mine.split('.')[1]);
  expect(logged).not.toContain(cookie.split('=')[1]);
});

test('who asks on without reading an answer is cut off, and who sends them one by one is not', async () => {
  const many = 'GET /console.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n'.repeat(limits.consolePipelined + 1);
  expect(await sendRaw(made.server.port, [many])).toMatchObject({ status: 0, closed: true });
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const sockets = new Set<unknown>();
  for (let at = 0; at <= limits.consolePipelined; at += 1)
    await new Promise<void>((resolve, reject) => {
      const asked = get({ host: '127.0.0.1', port: made.server.port, path: '/console.css', agent }, (answer) => {
        sockets.add(answer.socket);
        answer.resume().on('end', resolve);
      });
      asked.on('error', reject);
    });
  agent.destroy();
  expect(sockets.size).toBe(1);
});

test('strangers fill no log: refused links are told of once a minute, with their number, and a form that is broken off never', async () => {
  await world.later(60_000);
  cookie = await made.signIn();
  made.lines.length = 0;
  const refused = () => made.ask('/enter', made.form({ token: 'x' }));
  for (let at = 0; at < 5; at += 1) await refused();
  await world.later(60_000);
  await refused();
  const told = made.lines.map(({ event, fields }) => [event, fields.refused]);
  expect(told).toEqual([
    ['console_sign_in_refused', 1],
    ['console_sign_in_refused', 5],
  ]);
  const { port, origin } = { port: made.server.port, origin: made.origin };
  const broken = connect(port, '127.0.0.1');
  const head = `POST /enter HTTP/1.1\r\nHost: 127.0.0.1:${port}\r\nOrigin: ${origin}\r\nContent-Type: ${formType}\r\n`;
  await new Promise<void>((resolve) => broken.write(`${head}Content-Length: 100\r\n\r\ntoken=`, () => resolve()));
  broken.end();
  await new Promise((resolve) => broken.resume().once('close', resolve));
  expect((await made.page('/', cookie)).status).toBe(200);
  expect(made.lines).toHaveLength(2);
});
