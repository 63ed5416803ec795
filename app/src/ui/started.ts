/** Whether the engine has read what is stored. Before that nobody knows whether there is a pairing, or a chat. */
import { signal } from "@preact/signals";

export const started = signal(false);
