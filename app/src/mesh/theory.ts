/**
 * How much a mesh can bear, and what latency to expect: what the app needs of `edge_agent/core/stability/`, where the
 * sources and the limits of each formula stand. test/theory_cases.json, made from there, holds both to the same values.
 *
 * M is `layers`, k is `fanout`, α a mean service time, λ the prompts per second that users bring to one device.
 */

/** Inferences that one prompt costs the whole mesh: (k+1)M + 1. */
export function itemsPerPrompt(layers: number, fanout: number): number {
  return (fanout + 1) * layers + 1;
}

/** The fraction of time each of equal devices infers: α((k+1)M+1)λ. The mesh is stable below 1. */
export function utilisation(serviceTimeS: number, layers: number, fanout: number, arrivalRateHz: number): number {
  return serviceTimeS * itemsPerPrompt(layers, fanout) * arrivalRateHz;
}

/**
 * Utilisation of each device, for unequal devices and arrival rates: α_i [(M+1) λ_i + Mk/(n-1) Σ_{j≠i} λ_j].
 * `fanout` must be below the number of devices where there are layers.
 */
export function deviceUtilisations(
  serviceTimesS: readonly number[],
  arrivalRatesHz: readonly number[],
  layers: number,
  fanout: number,
): number[] {
  const count = serviceTimesS.length;
  const totalRateHz = arrivalRatesHz.reduce((sum, rate) => sum + rate, 0);
  const askedShare = count > 1 ? fanout / (count - 1) : 0;
  return serviceTimesS.map((serviceTimeS, at) => {
    const rateHz = arrivalRatesHz[at]!;
    const ownS = serviceTimeS + layers * serviceTimeS;
    const forAnotherS = layers > 0 ? serviceTimeS + (layers - 1) * serviceTimeS : 0;
    return rateHz * ownS + askedShare * (totalRateHz - rateHz) * forAnotherS;
  });
}

/** Time-average number waiting: ρ²(1+C²) / (2(1-ρ)), C² the squared variation of service times; infinite at ρ >= 1. */
export function meanRequestsWaiting(load: number, squaredVariation = 1): number {
  return load >= 1 ? Infinity : (load ** 2 * (1 + squaredVariation)) / (2 * (1 - load));
}

/** Mean time from prompt to answer: about α/(1-ρ) · (M·H_{k+1} + 1); infinite at ρ >= 1. */
export function endToEndLatencyS(serviceTimeS: number, load: number, layers: number, fanout: number): number {
  if (load >= 1) return Infinity;
  return (serviceTimeS / (1 - load)) * (layers * harmonicNumber(fanout + 1) + 1);
}

/** H_n = 1 + 1/2 + ... + 1/n, the mean of the largest of n independent exponentials of mean 1. */
export function harmonicNumber(count: number): number {
  let sum = 0;
  for (let i = count; i >= 1; i--) sum += 1 / i; // the small ones first: they add up before they could be lost
  return sum;
}
