// Binds configuration and secrets to the actions, and alarms to the triggers. The parameters go in
// once the plugin has compiled the actions, from memory to the platform's API: what stands in
// serverless.yml is kept, printed and searched for variables by the framework.
const { readFileSync } = require('node:fs');
const { join } = require('node:path');

/**
 * What each action is given, and nothing else: callback and sweep never hold the secrets of the
 * stores.
 * @param {{ config: { secrets: { name: string }[] } }} deployment
 * @param {Record<string, string | undefined>} env
 * @returns {Record<string, { key: string, value: unknown }[]>}
 */
function parametersOf(deployment, env) {
  const fromEnv = (/** @type {string[]} */ names) =>
    [...new Set(names)].filter((name) => env[name]).map((name) => ({ key: name, value: env[name] }));
  const aws = ['AWS_ACCESS_KEY_ID', 'AWS_SECRET_ACCESS_KEY', 'AWS_SESSION_TOKEN'];
  const table = [{ key: 'config', value: deployment }, ...fromEnv(aws)];
  const secrets = deployment.config.secrets.map(({ name }) => name);
  const worker = [{ key: 'config', value: deployment }, ...fromEnv([...aws, ...secrets])];
  return { callback: table, replicate: worker, sweep: table, reconcile: worker };
}

/**
 * What is used of the framework, the plugin and its client.
 * @typedef {{ trigger: string, feedName: string, namespace: string, params: object }} Feed
 * @typedef {{ feeds: { create(feed: Feed): Promise<unknown>, delete(feed: Feed): Promise<unknown> } }} Client
 * @typedef {{ actions: Record<string, { action: { parameters: unknown } }>, triggers: Record<string, { feed?: Feed }> }} Service
 */

module.exports = class Bind {
  /** @param {{ service: Service, getProvider(name: string): { client(): Promise<Client> } }} serverless */
  constructor(serverless) {
    /** @type {Feed[]} */
    let feeds = [];
    this.hooks = {
      'after:package:compileFunctions': () => {
        const file = join(__dirname, '../../dist/openwhisk/certstandby.json');
        const parameters = parametersOf(JSON.parse(readFileSync(file, 'utf8')), process.env);
        for (const [name, { action }] of Object.entries(serverless.service.actions))
          action.parameters = parameters[name] ?? [];
      },
      // The plugin (0.18.4) forgets the feeds while it makes the triggers: they would never fire,
      // and nobody would be told.
      'before:deploy:deploy': () => {
        feeds = Object.values(serverless.service.triggers).flatMap(({ feed }) => feed ?? []);
      },
      'after:deploy:deploy': async () => {
        const { feeds: ofPlatform } = await serverless.getProvider('openwhisk').client();
        for (const feed of feeds) {
          // A feed that is there cannot be made again; one that is not there cannot be deleted.
          await ofPlatform.delete(feed).catch(() => undefined);
          await ofPlatform.create(feed);
        }
      },
    };
  }
};
