import type { Screen } from './screen.ts';
import { clean, cut, duration, thousands } from './text.ts';

/** Long work that a person may watch. */
export interface Progress {
  /** So many more are done. */
  advance(by?: number): void;
  /** How many there will be, as soon as that is known. */
  expect(total: number): void;
  /** Takes the bar away. Safe to call twice: belongs into `finally`. */
  end(): void;
}

/** What a progress is drawn on. */
interface Canvas {
  readonly screen: Screen;
  /** `bar`: redrawn in place; `lines`: now and then a line; `none`: nobody watches. */
  readonly style: 'bar' | 'lines' | 'none';
  readonly columns: () => number;
  readonly now: () => number;
}

const redrawEveryMs = 100;
const lineEveryMs = 10_000;
const barCells = 24;

/**
 * A progress of which `erase` takes the bar off the screen, so that a line can be printed; it comes
 * back by itself.
 */
export function drawnProgress(what: string, total: number | undefined, canvas: Canvas): Progress & { erase(): void } {
  const { screen, style, columns, now } = canvas;
  const startedAt = now();
  let expected = total;
  let done = 0;
  let ended = false;
  let drawnAt = Number.NEGATIVE_INFINITY;
  let saidAt = startedAt;
  let shown = false;

  const numbers = () => {
    const count = thousands(done);
    if (expected === undefined || expected <= 0) return count;
    const leftMs = ((now() - startedAt) * (expected - done)) / done;
    const left = done > 0 && done < expected && leftMs >= 1_000 ? `, about ${duration(leftMs)} left` : '';
    return `${count} of ${thousands(expected)}${left}`;
  };
  const bar = () => {
    if (expected === undefined || expected <= 0) return '';
    const full = Math.min(barCells, Math.floor((barCells * done) / expected));
    return `${'█'.repeat(full)}${'░'.repeat(barCells - full)} `;
  };
  const draw = () => {
    if (ended || style === 'none') return;
    const moment = now();
    if (style === 'lines') {
      if (moment - saidAt < lineEveryMs) return;
      saidAt = moment;
      screen.write(`${clean(what)}: ${numbers()}\n`);
    } else if (moment - drawnAt >= redrawEveryMs) {
      drawnAt = moment;
      shown = true;
      screen.move('erase line');
      screen.write(cut(clean(`${what} ${bar()}${numbers()}`), columns() - 1));
    }
  };
  const erase = () => {
    if (shown) screen.move('erase line');
    shown = false;
    drawnAt = Number.NEGATIVE_INFINITY;
  };
  draw();
  return {
    advance(by = 1) {
      done += by;
      draw();
    },
    expect(total) {
      expected = total;
      draw();
    },
    erase,
    end() {
      erase();
      ended = true;
    },
  };
}
