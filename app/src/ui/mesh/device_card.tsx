/** One device: how it is, what it runs, how busy it is. */
import type { VNode } from "preact";
import type { Device } from "../../model";
import type { DeviceStatus } from "../../wire/messages";
import { percent, rate, seconds } from "../format";
import { memo } from "../memo";
import { prefer } from "../preferences";
import { go } from "../route";
import { deviceWords, type Tone } from "../words";
import { Meter } from "./meter";

const TARGET_SHOWN_MAX = 0.995; // the sum of load and margin may miss 1 by what rounding left
const FULL_SHARE = 0.8; // of its places: from here on the alert for long queues goes off too

export const DeviceCard = memo(({ device }: { device: Device }): VNode => {
  const { tone, title } = deviceWords(device);
  const { status, presence } = device;
  const isThere = device.state === "online" || device.state === "silent";
  const ask = (): void => {
    prefer({ device: device.id });
    go({ page: "chat", chatId: null });
  };
  return (
    <article class="device" data-device={device.id} data-state={device.state} aria-label={device.id}>
      <header>
        <h2>{device.id}</h2>
        <span class="device-state">
          <span class="dot" data-tone={tone} aria-hidden="true" />
          {title}
        </span>
      </header>
      <p class="muted device-model">
        {status?.model ?? presence?.entry.model ?? "model unknown"}
        {status?.synthetic === true && (
          <span class="tag" title="Declared service times: no language model is asked">
            synthetic
          </span>
        )}
        {presence !== null && <span>version {presence.version}</span>}
      </p>
      {isThere &&
        device.troubles.map((line) => (
          <p key={line} class="device-trouble" data-tone={device.able ? "warn" : "bad"}>
            {line}
          </p>
        ))}
      {status === null ? <p class="muted">No figures yet.</p> : <Figures status={status} />}
      {status !== null && device.state !== "online" && <p class="muted last-told">Last reported figures.</p>}
      <button type="button" class="quiet small" disabled={device.state !== "online" || !device.able} onClick={ask}>
        Ask {device.id}
      </button>
    </article>
  );
});

function Figures({ status }: { status: DeviceStatus }): VNode {
  const { requests_waiting: waiting, requests_running: running, queue_capacity: capacity, slots } = status;
  const atOnce = slots > 1 ? ` (${slots} at once)` : "";
  const taken = capacity > 0 ? (waiting + running) / capacity : 0;
  const target = status.offered_load + status.stability_margin; // the margin is the target less the load
  return (
    <>
      <Meter
        label="Queue"
        value={taken}
        text={`${waiting} waiting, ${running} running${atOnce}, of ${capacity}`}
        tone={taken > FULL_SHARE ? "warn" : "good"}
      />
      <Meter
        label="Load ρ"
        value={status.offered_load}
        text={`${percent(status.offered_load)}, margin ${percent(status.stability_margin)}`}
        tone={loadTone(status)}
        mark={target > 0 && target < TARGET_SHOWN_MAX ? target : undefined}
      />
      <dl class="figures-row">
        <Figure name="Service" value={status.service_time_s_mean > 0 ? seconds(status.service_time_s_mean) : "–"} />
        <Figure name="Arrivals" value={rate(status.arrival_rate_hz)} />
        <Figure name="Answered" value={String(status.completed)} />
        <Figure name="Rejected" value={String(status.rejected)} />
        {status.failed > 0 && <Figure name="Failed" value={String(status.failed)} />}
      </dl>
    </>
  );
}

function Figure({ name, value }: { name: string; value: string }): VNode {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function loadTone(status: DeviceStatus): Tone {
  if (status.offered_load >= 1) return "bad";
  return status.stability_margin < 0 ? "warn" : "good";
}
