/** What jsdom lacks of a browser, as far as the views need it: it lays nothing out, so nothing is ever observed. */
class Observer {
  observe(): void {}
  unobserve(): void {}
  disconnect(): void {}
}

/** Call before the views are imported. */
export function browserParts(): void {
  const media = (query: string) => ({
    matches: /min-width|pointer: fine/.test(query),
    addEventListener: () => undefined,
  });
  Object.assign(globalThis, {
    matchMedia: media,
    ResizeObserver: Observer,
    IntersectionObserver: Observer,
    CSS: { supports: () => true },
  });
}
