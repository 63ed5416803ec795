/** Waiting for something to happen, with a bound and without guessing how long it takes. */
const WAIT_MS = 300_000; // far above what anything takes on a slow, busy machine: only a hang runs into it
const POLL_MS = 10;

/** Polls until `condition` holds; rejects after `waitMs` with what it waited for. */
export async function until(condition: () => boolean, what: string, waitMs = WAIT_MS): Promise<void> {
  const endsAt = Date.now() + waitMs;
  while (!condition()) {
    if (Date.now() > endsAt) throw new Error(`did not happen in ${waitMs} ms: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
