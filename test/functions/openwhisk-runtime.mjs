// Runs an action as the Node runtime of Apache OpenWhisk does (apache/openwhisk-runtime-nodejs):
// POST /init with the code, then POST /run with the parameters of each activation. Tells the parent
// process the port on which it listens.
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { text } from 'node:stream/consumers';

const clockAheadMs = Number(process.env.ACTION_CLOCK_AHEAD_MS ?? 0);
if (clockAheadMs !== 0) {
  const { now } = Date;
  Date.now = () => now() + clockAheadMs;
}

/** @type {((params: unknown) => unknown) | undefined} */
let action;

/**
 * The code of a single file is a text, evaluated; what `main` names is a variable of it. Newer
 * runtimes look among its exports too: the older way is played here, because newer ones take
 * everything that it takes.
 */
function load(/** @type {{ code: string, main: string }} */ { code, main }) {
  const module = { exports: {} };
  const evaluate = new Function('module', 'exports', 'require', `${code}\nreturn ${main}`);
  const found = evaluate(module, module.exports, createRequire(import.meta.url));
  if (typeof found !== 'function') throw new Error(`the action has no function ${main}`);
  return found;
}

/** @param {Record<string, any>} message @returns {Promise<[number, unknown]>} */
async function answer(/** @type {string} */ path, message) {
  if (path === '/init') {
    if (action !== undefined) return [403, { error: 'Cannot initialize the action more than once.' }];
    Object.assign(process.env, message.value.env ?? {});
    action = load(message.value);
    return [200, { OK: true }];
  }
  if (action === undefined) return [500, { error: 'System not ready.' }];
  const { value, ...rest } = message;
  for (const [name, given] of Object.entries(rest)) process.env[`__OW_${name.toUpperCase()}`] = String(given);
  const result = await Promise.resolve(action(value)).catch((error) => ({ error: String(error) }));
  process.stdout.write('XXX_THE_END_OF_A_WHISK_ACTIVATION_XXX\n');
  if (typeof result !== 'object' || result === null) return [502, { error: 'The action did not return a dictionary.' }];
  return [200, result];
}

const server = createServer(async (request, response) => {
  /** @type {[number, unknown]} */
  let answered;
  try {
    answered = await answer(request.url ?? '', JSON.parse(await text(request)));
  } catch (error) {
    answered = [502, { error: `Initialization has failed due to: ${error}` }];
  }
  response.writeHead(answered[0], { 'content-type': 'application/json' }).end(JSON.stringify(answered[1]));
});
server.listen(0, '127.0.0.1', () => {
  const address = server.address();
  process.send?.({ port: typeof address === 'object' ? address?.port : undefined });
});
process.once('disconnect', () => process.exit());
