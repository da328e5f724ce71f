import { afterEach, beforeEach, expect, it } from 'vitest';
import { systemRuntime as runtime } from '../../../src/runtime.ts';
import { Secret } from '../../../src/secret.ts';
import { diagnosisOf } from '../../../src/services/kubernetes/diagnosis.ts';
import type { KubernetesConfig } from '../../../src/services/kubernetes/settings.ts';
import { type ScriptedServer, type Step, startScriptedServer } from '../../store/scripted-server.ts';
import { failure } from './objects.ts';

let server: ScriptedServer;
beforeEach(async () => {
  server = await startScriptedServer();
});
afterEach(() => server.close());

function diagnosis(more: Partial<KubernetesConfig> = {}) {
  const token = new Secret('the-token');
  const access = { by: 'token', server: server.url, token } as const;
  const config = { name: 'c', kind: 'kubernetes', region: 'r', id: 'c', namespaces: ['web'], access, ...more } as const;
  return diagnosisOf(config, { runtime, secret: () => token });
}

/** An API server that allows everything but these. */
const reviews = (...refused: readonly string[]): Step =>
  ((
    request: { readonly body: string },
    response: { writeHead: (...given: unknown[]) => { end(text: string): void } },
  ) => {
    const { verb, resource } = JSON.parse(request.body).spec.resourceAttributes;
    const allowed = !refused.includes(`${verb} ${resource}`);
    response.writeHead(201, { 'content-type': 'application/json' }).end(JSON.stringify({ status: { allowed } }));
  }) as never;
const all = (step: Step) => Array.from({ length: 40 }, () => step);

it('asks for each right that the part takes, of each namespace, and for no other', async () => {
  server.answers(...all(reviews()));
  const primary = await diagnosis().rights?.({ primary: true, backup: false });
  expect(primary?.map(({ what, granted }) => `${what}: ${granted}`)).toEqual([
    'get the namespace web: true',
    'get secrets of the namespace web: true',
    'list secrets of the namespace web: true',
    'watch secrets of the namespace web: true',
  ]);
  const two = await diagnosis({ namespaces: ['web', 'api'] }).rights?.({ primary: false, backup: true });
  expect(two).toHaveLength(12);
  const { namespaces: _all, ...whole } = { namespaces: undefined };
  const cluster = await diagnosis({ ...whole, namespaces: undefined as never }).rights?.({
    primary: true,
    backup: true,
  });
  expect(cluster?.map(({ what }) => what).at(0)).toBe('get any namespace');
  expect(cluster?.at(-1)?.remedy).toContain('ClusterRole');
});

it('says the line for each that is missing', async () => {
  server.answers(...all(reviews('update secrets', 'get namespaces')));
  const rights = await diagnosis().rights?.({ primary: false, backup: true });
  expect(rights?.filter(({ granted }) => !granted)).toMatchObject([
    { what: 'get the namespace web', remedy: expect.stringContaining('resources: [namespaces], verbs: [get]') },
    { what: 'update secrets of the namespace web', remedy: expect.stringContaining('verbs: [update]') },
  ]);
  expect(await diagnosis().mayImport()).toBe(false);
});

it('tells the clock of the server by an answer that takes no right, and failures as they are', async () => {
  server.answers({ headers: { date: 'Mon, 30 Nov 2026 12:00:00 GMT' }, body: { major: '1' } });
  expect(await diagnosis().clock()).toBe(Date.UTC(2026, 10, 30, 12));
  expect(server.requests[0]?.url).toBe('/version');
  server.answers(failure(401, 'Unauthorized', 'Unauthorized'), failure(401, 'Unauthorized', 'Unauthorized'));
  await expect(diagnosis().clock()).rejects.toMatchObject({ code: 'store_unauthorized' });
  expect(diagnosis().address).toBe(server.url);
});
