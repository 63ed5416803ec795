/** How deep a prompt is thought about: layers M and fanout k, with what theory expects of them. */
import type { VNode } from "preact";
import { useEffect, useId } from "preact/hooks";
import type { Prediction } from "../../model";
import { useEngine } from "../engine";
import { count, percent, seconds } from "../format";
import { FANOUT_MAX, LAYERS_MAX, prefer, preferences } from "../preferences";
import { announce } from "../shell/announcer";

/** M and k as they will be asked for: what is preferred, as far as the mesh has that many devices. */
export function useDepth(): { layers: number; fanout: number; fanoutMax: number } {
  const { layers, fanout } = preferences.value;
  const known = useEngine().devices.value.length;
  const fanoutMax = known < 2 ? Math.max(fanout, 1) : Math.min(known - 1, FANOUT_MAX); // k distinct peers at most
  return { layers, fanout: Math.min(fanout, fanoutMax), fanoutMax };
}

/** The expected latency, load and cost of a prompt, in a line; says when the mesh could not keep up. */
export function usePrediction(deviceId: string): Prediction {
  const { layers, fanout } = useDepth();
  const prediction = useEngine().predict(deviceId, layers, fanout);
  useEffect(() => {
    if (!prediction.stable) announce(UNSTABLE);
  }, [prediction.stable]);
  return prediction;
}

const UNSTABLE = "The mesh could not keep up with this many inferences: queues would grow without end.";

/** `brief`: the latency alone, for a narrow screen. */
export function predictionLine(prediction: Prediction, brief: boolean): string {
  const latency = prediction.latencyS === null ? "" : `≈ ${seconds(prediction.latencyS)}`;
  const load = prediction.utilisation === null ? "" : `load ${percent(prediction.utilisation)}`;
  if (brief) return latency;
  return [latency, load, count(prediction.inferences, "inference")].filter(Boolean).join(" · ");
}

export function AskOptions({ deviceId }: { deviceId: string }): VNode {
  const { layers, fanout, fanoutMax } = useDepth();
  const prediction = usePrediction(deviceId);
  const alone = layers === 0;
  return (
    <div class="ask-options" id="ask-options">
      <Slider
        label="Layers"
        value={layers}
        max={LAYERS_MAX}
        hint={alone ? `${deviceId || "the device"} alone` : "rounds of proposals"}
        onChange={(value) => prefer({ layers: value })}
      />
      <Slider
        label="Fanout"
        value={fanout}
        max={fanoutMax}
        disabled={alone}
        hint={alone ? "no peers without layers" : "peers in each layer"}
        onChange={(value) => prefer({ fanout: value })}
      />
      <PredictionView prediction={prediction} />
    </div>
  );
}

interface SliderProps {
  label: string;
  value: number;
  max: number;
  hint: string;
  disabled?: boolean;
  onChange: (value: number) => void;
}

function Slider({ label, value, max, hint, disabled = false, onChange }: SliderProps): VNode {
  const id = useId();
  return (
    <div class="slider">
      <label for={id}>{label}</label>
      <output for={id}>{value}</output>
      <input
        id={id}
        type="range"
        min={0}
        max={max}
        step={1}
        value={value}
        disabled={disabled}
        aria-describedby={`${id}-hint`}
        onInput={(event) => onChange(event.currentTarget.valueAsNumber)}
      />
      <span class="muted" id={`${id}-hint`}>
        {hint}
      </span>
    </div>
  );
}

function PredictionView({ prediction }: { prediction: Prediction }): VNode {
  const { latencyS, utilisation, inferences, stable } = prediction;
  return (
    <div class="prediction" data-part="prediction" data-stable={stable}>
      <dl>
        <div>
          <dt>Expected</dt>
          <dd>{latencyS === null ? "–" : `≈ ${seconds(latencyS)}`}</dd>
        </div>
        <div>
          <dt>Load ρ</dt>
          <dd>{percent(utilisation)}</dd>
        </div>
        <div>
          <dt>Inferences</dt>
          <dd>{inferences}</dd>
        </div>
      </dl>
      {!stable && (
        <p class="warning" data-part="unstable">
          {UNSTABLE} Choose fewer layers or a smaller fanout.
        </p>
      )}
      {stable && utilisation === null && <p class="muted">No figures yet: the devices have not reported a service time.</p>}
    </div>
  );
}
