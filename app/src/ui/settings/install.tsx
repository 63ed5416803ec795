/** Installing the app from its own page, where the browser offers that. */
import { signal } from "@preact/signals";
import type { VNode } from "preact";

interface InstallEvent extends Event {
  prompt(): Promise<unknown>;
}

const offered = signal<InstallEvent | null>(null);

/** Keeps the browser's offer for the button. Call once, early: it comes only once. */
export function watchInstall(): void {
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault();
    offered.value = event as InstallEvent;
  });
  addEventListener("appinstalled", () => (offered.value = null));
}

export function InstallButton(): VNode | null {
  const event = offered.value;
  if (event !== null) {
    const install = (): void => void event.prompt().finally(() => (offered.value = null));
    return (
      <button type="button" class="quiet" onClick={install}>
        Install this app
      </button>
    );
  }
  if (window.isSecureContext) return null;
  return (
    <p class="muted">
      Installing, and opening without a network, need HTTPS: see <code>moamesh gateway --help</code>.
    </p>
  );
}
