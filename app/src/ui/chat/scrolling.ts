/** How a conversation scrolls: it stays at its end while the reader is there; older exchanges come as they are reached. */
import { useCallback, useEffect, useLayoutEffect, useRef, useState } from "preact/hooks";
import type { RefObject } from "preact";

/** How many exchanges are drawn at first: about two screens of a desktop with short answers. */
export const DRAWN_FIRST = 12;
/** How many more each time: a step must fit between two frames or three, also with long answers on a slow phone. */
export const DRAWN_MORE = 4;
const NEAR_END_PX = 60; // about two lines: who has scrolled up no further means to stay at the end
const REACH_PX = 2_400; // three screens of a phone: older exchanges are there before a swipe gets to them
const APPENDED_MAX = 4; // more new exchanges at once than anyone asks are a history that has just been read

/** Returns how many of `total` exchanges to draw, counted from the end, and how to draw more. */
export function useShown(total: number): [shown: number, more: () => void] {
  const [limit, setLimit] = useState(DRAWN_FIRST);
  const seen = useRef({ total, appended: 0 });
  const fresh = total - seen.current.total;
  // What is new at the end must not push out what stands at the beginning: the page would jump.
  const appended = seen.current.appended + (fresh > 0 && fresh <= APPENDED_MAX ? fresh : 0);
  seen.current = { total, appended };
  const more = useCallback(() => setLimit((now) => now + DRAWN_MORE), []);
  return [Math.min(limit + appended, total), more];
}

/** Calls `more` whenever the element of the returned ref is nearly in sight; `step` changes with each page drawn. */
export function useReached(
  scroller: RefObject<HTMLElement | null>,
  more: () => void,
  step: number,
): RefObject<HTMLDivElement | null> {
  const mark = useRef<HTMLDivElement>(null);
  const height = useRef(0);
  useLayoutEffect(() => {
    // Where the browser does not keep the place itself (Safari), what was drawn above has moved it by its own height.
    const box = scroller.current;
    if (box === null) return;
    const grown = box.scrollHeight - height.current;
    if (height.current > 0 && grown > 0 && !CSS.supports("overflow-anchor: auto")) box.scrollTop += grown;
    height.current = 0;
  }, [step, scroller]);
  useEffect(() => {
    if (mark.current === null) return;
    const margin = `${REACH_PX}px 0px 0px 0px`;
    const observer = new IntersectionObserver(
      (entries) => {
        if (!entries.some((entry) => entry.isIntersecting)) return;
        height.current = scroller.current?.scrollHeight ?? 0;
        more();
      },
      { root: scroller.current, rootMargin: margin },
    );
    observer.observe(mark.current);
    return () => observer.disconnect();
  }, [step, more, scroller]);
  return mark;
}

export interface Sticky {
  scroller: RefObject<HTMLDivElement | null>;
  content: RefObject<HTMLDivElement | null>;
  /** Whether the reader has left the end. */
  away: boolean;
  toEnd: () => void;
}

/** Keeps the end in sight while the reader is there; a new `key` (a chat, a prompt just asked) goes there. */
export function useSticky(key: string): Sticky {
  const scroller = useRef<HTMLDivElement>(null);
  const content = useRef<HTMLDivElement>(null);
  const stick = useRef(true);
  const [away, setAway] = useState(false);
  const toEnd = useCallback(() => {
    stick.current = true;
    if (scroller.current !== null) scroller.current.scrollTop = scroller.current.scrollHeight;
  }, []);
  useLayoutEffect(toEnd, [key, toEnd]);
  useEffect(() => {
    const box = scroller.current;
    if (box === null || content.current === null) return;
    const onScroll = (): void => {
      stick.current = box.scrollHeight - box.scrollTop - box.clientHeight < NEAR_END_PX;
      setAway(!stick.current);
    };
    const observer = new ResizeObserver(() => stick.current && toEnd());
    observer.observe(content.current);
    observer.observe(box);
    box.addEventListener("scroll", onScroll, { passive: true });
    return () => {
      observer.disconnect();
      box.removeEventListener("scroll", onScroll);
    };
  }, [toEnd]);
  return { scroller, content, away, toEnd };
}
