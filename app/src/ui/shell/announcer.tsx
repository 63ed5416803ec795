/** Says changes of state to screen readers, politely, one after the other; never tokens. */
import { signal } from "@preact/signals";
import type { VNode } from "preact";

const said = signal<{ text: string; at: number }>({ text: "", at: 0 });

/** Has `text` read out; the same text again is read again. */
export function announce(text: string): void {
  said.value = { text, at: said.value.at + 1 };
}

/** The region that is read out; put it on the page once, before anything is announced. */
export function Announcer(): VNode {
  return (
    <div class="visually-hidden" aria-live="polite" data-part="announcer">
      <p key={said.value.at}>{said.value.text}</p>
    </div>
  );
}
