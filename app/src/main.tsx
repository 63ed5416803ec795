/** Starts the app: the engine, the theme, the pairing link if the page was opened by one, the views. */
import { render } from "preact";
import { createEngine } from "./engine/engine";
import type { Engine } from "./model";
import "./styles/index.css";
import { EngineProvider } from "./ui/engine";
import { applyTheme, followKeyboard } from "./ui/media";
import { go, watchRoute } from "./ui/route";
import { watchInstall } from "./ui/settings/install";
import { pairWith, takePairingLink } from "./ui/settings/pairing";
import { App } from "./ui/shell/app";
import { say } from "./ui/shell/failure";
import { registerServiceWorker } from "./ui/shell/update";
import { started } from "./ui/started";

async function pairByLink(engine: Engine, link: string | null): Promise<void> {
  if (link === null) return;
  try {
    if (await pairWith(engine, link)) go({ page: "chat", chatId: null }, true);
  } catch (cause) {
    say(cause instanceof Error ? cause.message : String(cause));
  }
}

async function start(): Promise<void> {
  const link = takePairingLink(); // before anything else could see it
  applyTheme();
  followKeyboard();
  watchInstall();
  watchRoute();
  const root = document.getElementById("app");
  if (root === null) throw new Error("the page has no #app");
  root.replaceChildren(); // the word that stood there while the script was on its way
  const engine = createEngine();
  render(
    <EngineProvider value={engine}>
      <App />
    </EngineProvider>,
    root,
  );
  registerServiceWorker();
  let pairing = engine
    .start()
    .catch((cause: unknown) => say(`The app could not start: ${String(cause)}`))
    .then(() => void (started.value = true))
    .then(() => pairByLink(engine, link));
  // A link scanned while the app is open only changes the hash. It is taken from the address at once, also while the
  // engine still reads what it has stored: a listener put up after that would miss it, and leave the secret standing.
  addEventListener("hashchange", () => {
    const another = takePairingLink();
    pairing = pairing.then(() => pairByLink(engine, another));
  });
  await pairing;
}

void start();
