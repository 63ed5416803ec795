/** A button that copies a text and says so. */
import type { VNode } from "preact";
import { useEffect, useState } from "preact/hooks";
import { announce } from "./shell/announcer";

const SAID_FOR_MS = 2_000; // long enough to be read

export function CopyButton({ text, label }: { text: string; label: string }): VNode {
  const [said, setSaid] = useState("");
  useEffect(() => {
    if (said === "") return;
    const timer = setTimeout(() => setSaid(""), SAID_FOR_MS);
    return () => clearTimeout(timer);
  }, [said]);
  const copy = async (): Promise<void> => {
    const word = (await copyText(text)) ? "Copied" : "Could not copy";
    setSaid(word);
    announce(word);
  };
  return (
    <button type="button" class="quiet small" aria-label={label} onClick={() => void copy()}>
      {said || "Copy"}
    </button>
  );
}

/** Puts a text on the clipboard; returns whether the browser did it. */
export async function copyText(text: string): Promise<boolean> {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return copyBySelection(text); // no clipboard on a page over plain http, unless it is this very host
  }
}

function copyBySelection(text: string): boolean {
  const focused = document.activeElement;
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  area.setAttribute("aria-hidden", "true");
  document.body.append(area);
  area.select();
  try {
    return document.execCommand("copy");
  } catch {
    return false;
  } finally {
    area.remove();
    if (focused instanceof HTMLElement) focused.focus();
  }
}
