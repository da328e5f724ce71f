/**
 * Every kind of channel, a line each: to add one takes its file and a line here. Loaded with the
 * configuration.
 */
export { email } from './channels/email.ts';
export { pagerduty } from './channels/pagerduty.ts';
export { slack } from './channels/slack.ts';
export { teams } from './channels/teams.ts';
export { webhook } from './channels/webhook.ts';
