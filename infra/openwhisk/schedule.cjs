// When sweep and reconcile run: what serverless.yml takes from the configuration,
// dist/openwhisk/certstandby.json, which infra/openwhisk/deploy.mjs writes once certstandby.yaml
// has been checked.
const { existsSync, readFileSync } = require('node:fs');
const { join } = require('node:path');

const file = join(__dirname, '../../dist/openwhisk/certstandby.json');
/** Removal wants only the names, and has no configuration. */
const { worker } = existsSync(file)
  ? JSON.parse(readFileSync(file, 'utf8')).config
  : { worker: { sweepEveryMs: 60_000, reconcileEveryMs: 3_600_000 } };

/**
 * A trigger that fires each so many minutes. The feed knows nothing shorter than one; cron could
 * not say 90.
 * @param {number} everyMs
 */
const each = (everyMs) => ({
  feed: '/whisk.system/alarms/interval',
  feed_parameters: { minutes: Math.max(1, Math.round(everyMs / 60_000)) },
});

/** @param {string} name */
const event = (name) => [{ trigger: { name: `certstandby-${name}`, rule: `certstandby-${name}` } }];

// Where the platform has no alarms, something else invokes sweep and reconcile.
const alarms = process.env.CERTSTANDBY_ALARMS !== 'false';

module.exports = {
  sweep: alarms ? event('sweep') : [],
  reconcile: alarms ? event('reconcile') : [],
  triggers: alarms
    ? { 'certstandby-sweep': each(worker.sweepEveryMs), 'certstandby-reconcile': each(worker.reconcileEveryMs) }
    : {},
};
