/** The few pictures of the interface, drawn on a 24-unit grid in the colour of the text. */
import type { VNode } from "preact";

const PATHS = {
  chat: "M4 5h16v11H9l-5 4z",
  mesh:
    "M12 4.5v5M12 14.5l-5 3.5M12 14.5l5 3.5" +
    "M12 2a2 2 0 1 0 0 4 2 2 0 0 0 0-4ZM12 9.5a2.5 2.5 0 1 0 0 5 2.5 2.5 0 0 0 0-5Z" +
    "M5.5 17a2 2 0 1 0 0 4 2 2 0 0 0 0-4ZM18.5 17a2 2 0 1 0 0 4 2 2 0 0 0 0-4Z",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 5a2 2 0 1 0 0 4 2 2 0 0 0 0-4ZM9 15a2 2 0 1 0 0 4 2 2 0 0 0 0-4Z",
  send: "M12 20V5M5.5 11.5 12 5l6.5 6.5",
  stop: "M7 7h10v10H7z",
  plus: "M12 5v14M5 12h14",
  back: "M15 5l-7 7 7 7",
  down: "M12 5v14M6 13l6 6 6-6",
  trash: "M5 7h14M10 7V4h4v3M7 7l1 13h8l1-13",
  pencil: "M4 20l1-4L16 5l3 3L8 19z",
  tune: "M6 4v9M6 17v3M12 4v3M12 11v9M18 4v7M18 15v5M4 15h4M10 9h4M16 13h4",
} as const;

export function Icon({ name }: { name: keyof typeof PATHS }): VNode {
  return (
    <svg class="icon" viewBox="0 0 24 24" width="24" height="24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The app's own icon, from the public folder. */
export const ICON_URL = `${import.meta.env.BASE_URL}icon.svg`;
