/** The offline shell: registers the service worker, and offers a new version when there is one. */
import { signal } from "@preact/signals";
import type { VNode } from "preact";

const CHECK_EVERY_MS = 60 * 60 * 1000; // an app that stays open for days learns of a new version within the hour

const waiting = signal<ServiceWorker | null>(null);

/**
 * Call once. Does nothing where the browser has no service worker: on plain http, unless from this very host. The app
 * then works as long as its server is there.
 */
export function registerServiceWorker(): void {
  if (!("serviceWorker" in navigator) || !import.meta.env.PROD) return;
  const known = navigator.serviceWorker.controller !== null; // the very first worker is no new version
  let leaving = false;
  navigator.serviceWorker.addEventListener("controllerchange", () => {
    if (!known || leaving || waiting.value === null) return;
    leaving = true;
    location.reload();
  });
  navigator.serviceWorker.register("./sw.js", { scope: "./" }).then(watch, () => undefined); // refused: as without
}

function watch(registration: ServiceWorkerRegistration): void {
  const offer = (worker: ServiceWorker | null): void => {
    if (worker !== null && navigator.serviceWorker.controller !== null) waiting.value = worker;
  };
  offer(registration.waiting);
  registration.addEventListener("updatefound", () => {
    const worker = registration.installing;
    worker?.addEventListener("statechange", () => worker.state === "installed" && offer(worker));
  });
  setInterval(() => void registration.update().catch(() => undefined), CHECK_EVERY_MS);
}

/** Offers the new version. Nothing is lost by it: chats and prompts under way are in IndexedDB. */
export function UpdatePrompt(): VNode | null {
  const worker = waiting.value;
  if (worker === null) return null;
  return (
    <p class="notice update" data-tone="calm" role="status" aria-label="Update">
      A new version of this app is ready.{" "}
      <button type="button" class="small" onClick={() => worker.postMessage({ type: "SKIP_WAITING" })}>
        Reload
      </button>
    </p>
  );
}
