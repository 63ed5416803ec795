/** What the page stands in: its width, its theme, the keyboard over it, the time. All as signals. */
import { effect, signal, type ReadonlySignal } from "@preact/signals";
import { useEffect, useState } from "preact/hooks";
import { preferences } from "./preferences";

const WIDE = "(min-width: 820px)"; // from here on a list of chats fits beside a conversation of 60 characters
const KEYBOARD_SHARE = 0.75; // of the window's height: what is left when an on-screen keyboard is up is less

function query(text: string): ReadonlySignal<boolean> {
  const list = matchMedia(text);
  const matches = signal(list.matches);
  list.addEventListener("change", () => (matches.value = list.matches));
  return matches;
}

/** Whether two columns fit. */
export const wide = query(WIDE);

const systemDark = query("(prefers-color-scheme: dark)");

const darkNow = signal(false);
/** Whether the page is dark now, by the user's choice or the system's. */
export const dark: ReadonlySignal<boolean> = darkNow;

/** Puts the theme on the page, and keeps it there as choices change. Call once, before the first drawing. */
export function applyTheme(): void {
  effect(() => {
    const { theme } = preferences.value;
    darkNow.value = theme === "dark" || (theme === "system" && systemDark.value);
    const root = document.documentElement;
    root.dataset["theme"] = darkNow.value ? "dark" : "light";
    const background = getComputedStyle(root).getPropertyValue("--background").trim();
    document.querySelector('meta[name="theme-color"]')?.setAttribute("content", background);
  });
}

/**
 * Fits the page into what an on-screen keyboard leaves of the window. Call once. Chromium shrinks the page by itself
 * (`interactive-widget=resizes-content`); Safari lays the keyboard over it and only tells the visual viewport.
 */
export function followKeyboard(): void {
  const viewport = window.visualViewport;
  if (viewport === null) return;
  const root = document.documentElement;
  let tallest = 0;
  let width = 0;
  const fit = (): void => {
    if (viewport.scale > 1.01) return; // zoomed in by hand: not a keyboard
    if (viewport.width !== width) tallest = 0; // turned or resized
    width = viewport.width;
    tallest = Math.max(tallest, viewport.height);
    if (viewport.offsetTop > 0) scrollTo(0, 0); // Safari pushes the page up to show the field, needlessly
    root.style.setProperty("--viewport-height", `${viewport.height}px`);
    const coarse = matchMedia("(pointer: coarse)").matches;
    root.classList.toggle("keyboard-up", coarse && viewport.height < tallest * KEYBOARD_SHARE);
  };
  viewport.addEventListener("resize", fit);
  fit();
}

/** Whether `condition` has held for `afterMs`: what passes sooner is not worth a word. */
export function useLasting(condition: boolean, afterMs: number): boolean {
  const [lasting, setLasting] = useState(false);
  useEffect(() => {
    setLasting(false);
    if (!condition) return;
    const timer = setTimeout(() => setLasting(true), afterMs);
    return () => clearTimeout(timer);
  }, [condition, afterMs]);
  return condition && lasting;
}

/** The time in ms of Date.now(), drawn anew every `everyMs` while `running`. */
export function useNow(running: boolean, everyMs = 1000): number {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    if (!running) return;
    setNow(Date.now());
    const timer = setInterval(() => setNow(Date.now()), everyMs);
    return () => clearInterval(timer);
  }, [running, everyMs]);
  return Math.max(now, Date.now()); // also when nothing runs any more: whoever draws then must not see the time before
}
