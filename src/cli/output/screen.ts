import { randomUUID } from 'node:crypto';
import { styleText } from 'node:util';
import { visible } from '../../foreign-text.ts';

/**
 * The one way from commands to a terminal. What is written through it reaches the terminal as text:
 * every character that is not shown as itself comes out visible, from every author. Colours and the
 * movements of the cursor are no text, and have ways of their own.
 */

/** The part of a stream that is used here. */
export interface Terminal {
  write(text: string): unknown;
  readonly isTTY?: boolean;
  readonly columns?: number;
  readonly rows?: number;
  readonly hasColors?: () => boolean;
}

/** A stream that takes text, colours of `paintFor`, and movements of the cursor. */
export interface Screen extends Terminal {
  /**
   * Text in lines: line feeds end them, everything else that is not shown as itself comes out
   * visible.
   */
  write(text: string): void;
  /** Movements of the cursor, of this program alone. Nothing where no terminal is. */
  move(sequence: 'erase line' | { readonly up: number }): void;
}

/** Colours by what they mean. Without colours each is the text itself. */
export interface Paint {
  good(text: string): string;
  warning(text: string): string;
  bad(text: string): string;
  strong(text: string): string;
  faint(text: string): string;
}

const colours = { good: 'green', warning: 'yellow', bad: 'red', strong: 'bold', faint: 'dim' } as const;

/**
 * What stands for the beginning and the end of a colour until the screen puts the sequences of the
 * terminal in its place. Text of others cannot hold it: it is another one in each process.
 */
const secret = randomUUID();
const mark = (of: string): string => `<${secret}${of}>`;
const marks = new RegExp(`<${secret}(\\w+|/\\w+)>`, 'g');
const sequences = new Map(
  Object.entries(colours).flatMap(([meaning, colour]) => {
    const [begin = '', end = ''] = styleText(colour, '\n', { validateStream: false }).split('\n');
    return [
      [meaning, begin],
      [`/${meaning}`, end],
    ] as const;
  }),
);

/**
 * Colours for what is written to the screen of this stream, if it is a terminal that has some and
 * `NO_COLOR` does not forbid them.
 */
export function paintFor(stream: Terminal): Paint {
  // `hasColors` of Node looks at both.
  const coloured = stream.isTTY === true && stream.hasColors?.() === true;
  const as = (meaning: keyof Paint) => (text: string) =>
    coloured ? `${mark(meaning)}${text}${mark(`/${meaning}`)}` : text;
  return { good: as('good'), warning: as('warning'), bad: as('bad'), strong: as('strong'), faint: as('faint') };
}

const screens = new WeakMap<Terminal, Screen>();

/** The screen of a stream; a screen is its own. */
export function screenOf(stream: Terminal): Screen {
  const known = screens.get(stream);
  if (known !== undefined) return known;
  const screen: Screen = {
    write: (text) => void stream.write(onScreen(text)),
    move(to) {
      if (stream.isTTY === true) stream.write(to === 'erase line' ? '\r\u001b[K' : `\u001b[${to.up}A\u001b[0J`);
    },
    get isTTY() {
      return stream.isTTY === true;
    },
    get columns() {
      return stream.columns ?? 0;
    },
    get rows() {
      return stream.rows ?? 0;
    },
    hasColors: () => stream.hasColors?.() === true,
  };
  screens.set(stream, screen);
  screens.set(screen, screen);
  return screen;
}

function onScreen(text: string): string {
  const lines = (piece: string) => piece.split('\n').map(visible).join('\n');
  // Every second piece is the name of a mark.
  return text
    .split(marks)
    .map((piece, index) => (index % 2 === 0 ? lines(piece) : (sequences.get(piece) ?? '')))
    .join('');
}
