/** What theory expects of one more prompt, from the devices' own figures: what stands beside the sliders. */
import type { Device, Prediction } from "../model";
import { deviceUtilisations, harmonicNumber, itemsPerPrompt } from "./theory";

interface Figures {
  id: string;
  serviceTimeS: number | null;
  arrivalRateHz: number;
}

/**
 * Predicts for a prompt with M `layers` and k `fanout` at `deviceId`, if every prompt were asked so at today's rates.
 *
 * Utilisation is the most loaded device's. Latency is the paper's law with each device's own sojourn α/(1-ρ): layers
 * wait for the slowest of k+1 of mean sojourn, the aggregation is the asked device's. For equal devices it is the law.
 * A fanout above the number of peers counts as that number, as devices do.
 */
export function predict(
  devices: readonly Device[],
  rateOf: (id: string) => number,
  deviceId: string,
  layers: number,
  fanout: number,
): Prediction {
  const inferences = itemsPerPrompt(layers, fanout);
  const figures = devices.filter((device) => device.state === "online").map((device) => figuresOf(device, rateOf));
  const known = figures.flatMap(({ serviceTimeS }) => (serviceTimeS === null ? [] : [serviceTimeS]));
  const origin = figures.findIndex(({ id }) => id === deviceId);
  if (known.length === 0 || origin < 0) return { latencyS: null, utilisation: null, stable: true, inferences };
  const typicalS = known.reduce((sum, value) => sum + value, 0) / known.length;
  const serviceTimesS = figures.map(({ serviceTimeS }) => serviceTimeS ?? typicalS);
  const peersAsked = Math.min(fanout, figures.length - 1);
  const rates = figures.map(({ arrivalRateHz }) => arrivalRateHz);
  const loads = deviceUtilisations(serviceTimesS, rates, layers, peersAsked);
  const highest = Math.max(...loads);
  if (highest >= 1) return { latencyS: null, utilisation: highest, stable: false, inferences };
  const sojournsS = serviceTimesS.map((serviceTimeS, at) => serviceTimeS / (1 - loads[at]!));
  const meanS = sojournsS.reduce((sum, value) => sum + value, 0) / sojournsS.length;
  const latencyS = layers * harmonicNumber(peersAsked + 1) * meanS + sojournsS[origin]!;
  return { latencyS, utilisation: highest, stable: true, inferences };
}

function figuresOf(device: Device, rateOf: (id: string) => number): Figures {
  // 0 is what a device says before its first inference
  const measuredS = device.status?.service_time_s_mean || device.presence?.entry.service_time_s_mean || null;
  return { id: device.id, serviceTimeS: measuredS, arrivalRateHz: rateOf(device.id) };
}
