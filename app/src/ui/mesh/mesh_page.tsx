/** The devices of the mesh: their states and load now, their queues over time, and what needs attention. */
import type { VNode } from "preact";
import { useEngine } from "../engine";
import { count } from "../format";
import { AlertList } from "./alert_list";
import { DeviceCard } from "./device_card";
import { History } from "./history";

export function MeshPage(): VNode {
  const engine = useEngine();
  const devices = engine.devices.value;
  const online = devices.filter((device) => device.state === "online").length;
  const notAble = devices.filter((device) => device.state === "online" && !device.able).length;
  const unable = notAble === 0 ? "" : `, ${notAble} cannot answer`;
  return (
    <section class="mesh-page scroller">
      <header class="page-head">
        <h1 tabIndex={-1}>Mesh {engine.pairing.value?.mesh ?? ""}</h1>
        <p class="muted">{devices.length === 0 ? "" : `${online} of ${count(devices.length, "device")} online${unable}`}</p>
      </header>
      <AlertList />
      {devices.length === 0 && (
        <p class="empty muted">
          No device has been heard of yet. Is one running in this mesh? Start some with <code>moamesh up</code>.
        </p>
      )}
      <ul class="devices" role="list" aria-label="Devices">
        {devices.map((device) => (
          <li key={device.id}>
            <DeviceCard device={device} />
          </li>
        ))}
      </ul>
      {devices.length > 0 && <History />}
    </section>
  );
}
