/** What this browser keeps, whether it may throw it away, and how to have it forgotten. */
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { useEngine } from "../engine";
import { count } from "../format";
import { ask } from "../shell/question";

interface Kept {
  bytes: number | null;
  /** Whether the browser promises not to clear it by itself; null where it cannot be asked. */
  lasting: boolean | null;
}

export function StorageSettings(): VNode {
  const engine = useEngine();
  const [kept, setKept] = useState<Kept>({ bytes: null, lasting: null });
  const chats = engine.chats.value.length;
  useEffect(() => void measure().then(setKept), [chats]);
  const forget = async (): Promise<void> => {
    const text = "This browser forgets the secret and all chats. They cannot be recovered.";
    if (await ask("Forget everything?", text, "Forget everything")) await engine.unpair(true);
  };
  const persist = async (): Promise<void> => {
    await navigator.storage.persist();
    setKept(await measure());
  };
  return (
    <>
      <p>
        {engine.storageWorks.value
          ? `${count(chats, "chat")} in this browser${kept.bytes === null ? "" : `, about ${size(kept.bytes)}`}.`
          : "This browser keeps nothing (a private window?): chats are lost when the page is closed."}
      </p>
      {kept.lasting === false && (
        <button type="button" class="quiet" onClick={() => void persist()}>
          Ask the browser to keep them
        </button>
      )}
      <button type="button" class="danger quiet" onClick={() => void forget()}>
        Forget everything
      </button>
    </>
  );
}

/** Asks the browser; it does not tell a page over plain http. */
async function measure(): Promise<Kept> {
  try {
    const { usage } = await navigator.storage.estimate();
    return { bytes: usage ?? null, lasting: await navigator.storage.persisted() };
  } catch {
    return { bytes: null, lasting: null };
  }
}

function size(bytes: number): string {
  return bytes < 1e6 ? `${Math.ceil(bytes / 1e3)} kB` : `${(bytes / 1e6).toFixed(1)} MB`;
}
