/**
 * The services of the program that is killed: those of every program, and one that there is in
 * tests alone.
 */
export * from '../../src/services/registry.ts';
export { cabinet } from '../services/cabinet/service.ts';
