/** What needs attention now. Read out when it comes up. */
import type { VNode } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useEngine } from "../engine";
import { announce } from "../shell/announcer";

export function AlertList(): VNode {
  const alerts = useEngine().alerts.value;
  const known = useRef(new Set<string>());
  useEffect(() => {
    const fresh = alerts.filter((alert) => !known.current.has(alert.id));
    known.current = new Set(alerts.map((alert) => alert.id));
    if (fresh.length > 0) announce(fresh.map((alert) => alert.text).join(" "));
  }, [alerts]);
  return (
    <ul class="alerts" role="list" aria-label="Alerts">
      {alerts.map((alert) => (
        <li
          key={alert.id}
          class="notice"
          data-tone={alert.severity === "critical" ? "bad" : "warn"}
          data-device={alert.deviceId}
        >
          {alert.text}
        </li>
      ))}
      {alerts.length === 0 && <li class="muted all-well">Nothing needs attention.</li>}
    </ul>
  );
}
