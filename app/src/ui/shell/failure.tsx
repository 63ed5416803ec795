/** One line over the page about something that went wrong and has no place of its own, until it is put away. */
import { signal } from "@preact/signals";
import type { VNode } from "preact";

const failure = signal("");

/** Shows `text`; the next one takes its place. */
export function say(text: string): void {
  failure.value = text;
}

export function Failure(): VNode | null {
  if (failure.value === "") return null;
  return (
    <p class="notice" data-tone="bad" role="alert">
      {failure.value}{" "}
      <button type="button" class="quiet small" onClick={() => say("")}>
        Dismiss
      </button>
    </p>
  );
}
