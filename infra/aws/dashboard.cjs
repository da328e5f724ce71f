// The dashboard of a deployment, as CloudWatch takes it (CloudWatch API reference, "Dashboard body
// structure and syntax").

/** @typedef {{ title: string, metrics: unknown[][], stat: string }} Graph */

/** What CloudFormation fills in. @param {string} name */
const filledIn = (name) => `\${${name}}`;

const functions = ['callback', 'replicate', 'sweep', 'reconcile'];

/**
 * @param {string} stage
 * @param {readonly string[]} links
 * @returns {Graph[]}
 */
function graphs(stage, links) {
  const ofLinks = (/** @type {string} */ metric) =>
    links.map((link) => ['certstandby', metric, 'Stage', stage, 'Link', link, { label: link }]);
  const ofFunctions = (/** @type {string} */ metric) =>
    functions.map((name) => ['AWS/Lambda', metric, 'FunctionName', `certstandby-${stage}-${name}`, { label: name }]);
  return [
    { title: 'Lag of copies (s)', metrics: ofLinks('LagSeconds'), stat: 'Maximum' },
    { title: 'Certificates that fail', metrics: ofLinks('FailingCount'), stat: 'Maximum' },
    { title: 'Since the last reconcile that succeeded (s)', metrics: ofLinks('ReconcileAgeSeconds'), stat: 'Maximum' },
    { title: 'Oldest that waits for its look (s)', metrics: ofLinks('OldestPendingSeconds'), stat: 'Maximum' },
    { title: 'Waiting for a look', metrics: ofLinks('PendingCount'), stat: 'Maximum' },
    {
      title: 'Notifications refused',
      metrics: [['certstandby', 'RefusedCount', 'Stage', stage, { label: 'refused' }]],
      stat: 'Sum',
    },
    {
      title: 'Queues',
      metrics: [
        ['AWS/SQS', 'ApproximateNumberOfMessagesVisible', 'QueueName', filledIn('Queue'), { label: 'wake-ups' }],
        [
          'AWS/SQS',
          'ApproximateNumberOfMessagesVisible',
          'QueueName',
          filledIn('DeadLetters'),
          { label: 'dead letters' },
        ],
      ],
      stat: 'Maximum',
    },
    { title: 'Invocations', metrics: ofFunctions('Invocations'), stat: 'Sum' },
    { title: 'Errors', metrics: ofFunctions('Errors'), stat: 'Sum' },
    { title: 'Duration (ms)', metrics: ofFunctions('Duration'), stat: 'p99' },
  ];
}

const columns = 3;
const width = 24 / columns;
const height = 6;

/**
 * @param {string} stage
 * @param {readonly string[]} links
 * @returns {string}
 */
exports.dashboard = (stage, links) =>
  JSON.stringify({
    widgets: graphs(stage, links).map(({ title, metrics, stat }, index) => ({
      type: 'metric',
      x: (index % columns) * width,
      y: Math.floor(index / columns) * height,
      width,
      height,
      properties: { title, metrics, stat, region: filledIn('AWS::Region'), period: 300, view: 'timeSeries' },
    })),
  });
