import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { Secret } from '../src/secret.ts';

describe('a secret', () => {
  it('is shown to nobody who does not ask for it', () => {
    const secret = new Secret('do not tell');
    const shown = [
      String(secret),
      `${secret}`,
      JSON.stringify({ secret }),
      inspect(secret, { depth: 9, showHidden: true }),
    ];
    expect(shown).toEqual(['[secret]', '[secret]', '{"secret":"[secret]"}', '[secret]']);
    expect(secret.reveal()).toBe('do not tell');
    expect(secret.revealBytes().toString()).toBe('do not tell');
  });

  it('gives bytes that whoever has them may overwrite', () => {
    const secret = new Secret('do not tell');
    secret.revealBytes().fill(0);
    expect(secret.reveal()).toBe('do not tell');
  });

  it('gives nothing once it is wiped, and its copy still does', () => {
    const secret = new Secret('do not tell');
    const copy = secret.copy();
    expect(secret.wiped).toBe(false);
    secret.wipe();
    expect(secret.wiped).toBe(true);
    expect(() => secret.reveal()).toThrow('wiped');
    expect(() => secret.revealBytes()).toThrow('wiped');
    expect(() => secret.copy()).toThrow('wiped');
    expect(copy.reveal()).toBe('do not tell');
  });

  it('keeps bytes of its own', () => {
    const bytes = new TextEncoder().encode('do not tell');
    const secret = new Secret(bytes);
    bytes.fill(0);
    expect(secret.reveal()).toBe('do not tell');
  });
});
