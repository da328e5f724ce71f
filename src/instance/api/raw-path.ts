/** The segments of a raw path; one slash at its end counts for nothing. */
export function segmentsOf(path: string): readonly string[] {
  return path.replace(/\/$/, '').split('/').slice(1);
}

/** A segment decoded once; empty, which nothing fits, if a percent sign begins no escape. */
export function decodeOnce(segment: string): string {
  try {
    return decodeURIComponent(segment);
  } catch {
    return '';
  }
}
