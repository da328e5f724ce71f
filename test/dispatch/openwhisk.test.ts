import { inspect } from 'node:util';
import { afterAll, beforeAll, beforeEach, expect, it } from 'vitest';
import { openwhiskContinuation, openwhiskDispatch } from '../../src/dispatch/openwhisk.ts';
import { asWakes } from '../../src/dispatch/wake-message.ts';
import { asCodedError } from '../../src/errors.ts';
import { systemRuntime as runtime } from '../../src/runtime.ts';
import { Secret } from '../../src/secret.ts';
import { type OpenwhiskApi, startOpenwhiskApi } from '../functions/openwhisk-api.ts';

let api: OpenwhiskApi;
beforeAll(async () => {
  api = await startOpenwhiskApi();
});
afterAll(() => api.close());
beforeEach(() => {
  api.invocations.length = 0;
  api.refuses = undefined;
});

const options = () => ({
  apiHost: api.host,
  apiKey: new Secret('user-1:very-secret'),
  action: '/guest/certstandby/replicate',
  runtime,
});
const wakes = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ link: 'shop', certificate: `id-${index}` }));

it('invokes the action and does not wait for it, some tens of wake-ups at a time', async () => {
  for (const count of [0, 1, 40, 41, 250]) {
    api.invocations.length = 0;
    await openwhiskDispatch(options()).dispatch(wakes(count));
    const sent = api.invocations.flatMap(({ params }) => asWakes(params.wakes));
    expect(sent.map(({ certificate }) => certificate).toSorted()).toEqual(
      wakes(count)
        .map(({ certificate }) => certificate)
        .toSorted(),
    );
    expect(api.invocations).toHaveLength(Math.ceil(count / 40));
  }
  const [first] = api.invocations;
  expect(first?.url).toMatch(/^\/api\/v1\/namespaces\/guest\/actions\/certstandby\/replicate(\?blocking=false)?$/);
  expect(first?.authorization).toBe(`Basic ${Buffer.from('user-1:very-secret').toString('base64')}`);
});

it('leaves what is to come later to the sweep', async () => {
  await openwhiskDispatch(options()).dispatch(wakes(3), { delayMs: 1 });
  expect(api.invocations).toEqual([]);
});

it.each([
  [429, 'HTTP 429'],
  [500, 'HTTP 500'],
  [401, 'HTTP 401'],
  ['silence', 'no answer within 200 ms'],
] as const)('says when it was not taken (%s), and nothing of the credentials', async (refuses, reason) => {
  api.refuses = refuses;
  const error = asCodedError(
    await openwhiskDispatch({ ...options(), ...(refuses === 'silence' && { answerTimeoutMs: 200 }) })
      .dispatch(wakes(1))
      .catch((thrown: unknown) => thrown),
  );
  expect(error).toMatchObject({ code: 'dispatch_unavailable', fields: { action: options().action, reason } });
  const shown = inspect(error, { depth: 20, showHidden: true });
  expect(shown).not.toContain('very-secret');
  expect(shown).not.toContain(Buffer.from('user-1:very-secret').toString('base64'));
});

it('goes on in a new invocation, with what is left, or begins what was asked for', async () => {
  const continuation = openwhiskContinuation({ ...options(), action: '/guest/certstandby/reconcile' });
  await continuation.goOn({ links: ['shop'], continuation: 3 });
  await continuation.beginAsked();
  expect(api.invocations).toMatchObject([
    { params: { links: ['shop'], continuation: 3 } },
    { params: { asked: true } },
  ]);
  expect(api.invocations[0]?.url).toContain('/namespaces/guest/actions/certstandby/reconcile');
});
