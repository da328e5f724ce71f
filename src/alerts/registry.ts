/**
 * Every kind of channel, a line each: to add one takes its file and a line here. Loaded with the
 * configuration.
 */
export { webhook } from './channels/webhook.ts';
