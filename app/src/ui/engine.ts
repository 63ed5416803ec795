/** How a view gets at the engine: by context, so that a test can hand it another. */
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import type { Engine } from "../model";

const EngineContext = createContext<Engine | null>(null);

export const EngineProvider = EngineContext.Provider;

/** Returns the engine of the page; throws where no `EngineProvider` stands above. */
export function useEngine(): Engine {
  const engine = useContext(EngineContext);
  if (engine === null) throw new Error("a view needs an EngineProvider above it");
  return engine;
}
