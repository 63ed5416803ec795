/**
 * A clock for waiting, in seconds: it stands still without a connection and while the phone sleeps. A prompt must not
 * be given up because its page was asleep, or because the broker was away: its device works on, or gets it again.
 */
const GAP_MAX_S = 65; // browsers slow hidden pages' timers to one a minute; a longer gap is sleep

/** Advances only by `tick`. */
export class Patience {
  private seconds = 0;
  private lastAt: number | null = null;

  get now(): number {
    return this.seconds;
  }

  /** Counts the time since the last tick if there was a connection. `at` is milliseconds of Date.now(). */
  tick(at: number, isOnline: boolean): void {
    const gapS = this.lastAt === null ? 0 : (at - this.lastAt) / 1000;
    this.lastAt = at;
    if (isOnline && gapS > 0 && gapS <= GAP_MAX_S) this.seconds += gapS;
  }
}
