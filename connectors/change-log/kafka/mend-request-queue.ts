/** Guarantee: once called, no client of kafkajs in this process spins or sets a timer below zero, also one that is not ours. */
import RequestQueue from 'kafkajs/src/network/requestQueue/index.js';

/** Of requests that wait for one another; as in kafkajs. */
const CHECK_PENDING_MS = 10;

/**
 * kafkajs#1751, #1755, #1768: `scheduleCheckPendingRequests` sets its timer also when nothing is pending and nothing throttled, with
 * the negative time since 1970 as the delay. Node makes that 1 ms and warns; when it fires it sets itself again: one spin a
 * millisecond and connection. The mend: a timer only where there is something to wait for.
 */
export function mendRequestQueue(): void {
  RequestQueue.prototype.scheduleCheckPendingRequests = function scheduleCheckPendingRequests(this: RequestQueue): void {
    if (this.throttleCheckTimeoutId !== null || this.pending.length === 0) return;
    const throttledMs = this.throttledUntil - Date.now();
    this.throttleCheckTimeoutId = setTimeout(
      () => {
        this.throttleCheckTimeoutId = null;
        this.checkPendingRequests();
      },
      throttledMs > 0 ? throttledMs : CHECK_PENDING_MS,
    );
  };
}
