/** A number without a unit, and what it is to be, if anybody said. */
export interface Ratio {
  readonly value: number;
  readonly atMost?: number;
  readonly atLeast?: number;
}

/** The plain text that the bench prints: one line for each measurement, its target beside it. */
export interface Report {
  heading(text: string): void;
  line(measurement: string, result: string, ratio?: Ratio): void;
  /** Something came out wrong, not slow: the run fails. */
  wrong(found: string): void;
  readonly failures: readonly string[];
}

const measurementWidth = 62;
const resultWidth = 52;

/** `write` gets whole lines. */
export function createReport(write: (text: string) => void): Report {
  const failures: string[] = [];
  return {
    failures,
    heading: (text) => write(`\n${text}\n`),
    line(measurement, result, ratio) {
      const columns = `  ${measurement.padEnd(measurementWidth)}${result.padEnd(resultWidth)}`;
      write(`${columns}${ratio === undefined ? '' : judged(ratio)}`.trimEnd().concat('\n'));
    },
    wrong(found) {
      failures.push(found);
      write(`  WRONG: ${found}\n`);
    },
  };
}

/** `1.32 x  target <= 1.5: met` */
function judged({ value, atMost, atLeast }: Ratio): string {
  const shown = `${value.toFixed(2).padStart(5)} x`;
  if (atMost !== undefined) return `${shown}  target <= ${atMost}: ${value <= atMost ? 'met' : 'missed'}`;
  if (atLeast !== undefined) return `${shown}  target >= ${atLeast}: ${value >= atLeast ? 'met' : 'missed'}`;
  return shown;
}
