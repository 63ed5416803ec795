/** The views on `MemoryEngine`: `npm run dev`, then /src/ui/dev/index.html (?unpaired, ?long=1000). */
import { render } from "preact";
import "../../styles/index.css";
import { EngineProvider } from "../engine";
import { applyTheme } from "../media";
import { watchRoute } from "../route";
import { App } from "../shell/app";
import { started } from "../started";
import { MemoryEngine } from "./memory_engine";

const wanted = new URLSearchParams(location.search);
applyTheme();
watchRoute();
started.value = true;
const root = document.getElementById("app");
if (root === null) throw new Error("the page has no #app");
render(
  <EngineProvider value={new MemoryEngine(!wanted.has("unpaired"), Number(wanted.get("long") ?? 30))}>
    <App />
  </EngineProvider>,
  root,
);
