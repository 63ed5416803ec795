/** Light, dark, or as the system has it. */
import type { VNode } from "preact";
import { prefer, preferences, type Theme } from "../preferences";

const THEMES: [Theme, string][] = [
  ["system", "System"],
  ["light", "Light"],
  ["dark", "Dark"],
];

export function ThemeSettings(): VNode {
  return (
    <fieldset class="segments">
      <legend class="visually-hidden">Theme</legend>
      {THEMES.map(([theme, name]) => (
        <label key={theme}>
          <input
            type="radio"
            name="theme"
            value={theme}
            checked={preferences.value.theme === theme}
            onChange={() => prefer({ theme })}
          />
          <span>{name}</span>
        </label>
      ))}
    </fieldset>
  );
}
