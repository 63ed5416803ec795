import { expect, test } from "vitest";
import { predict } from "../../src/mesh/prediction";
import * as theory from "../../src/mesh/theory";
import type { Device } from "../../src/model";
import cases from "../cases.json";
import { presence, status } from "../support/samples";

type Formula = (...values: never[]) => number | number[];

test.each(Object.keys(theory))("%s agrees with the devices' own code to 1e-9", (name) => {
  const own = cases.theory.filter((one) => one.name === name);
  expect(own.length).toBeGreaterThan(0);
  for (const { arguments: values, value } of own) {
    const formula = (theory as unknown as Record<string, Formula>)[name]!;
    const [got, wanted] = [[formula(...(values as never[]))].flat(), [value ?? Infinity].flat() as number[]];
    expect(got).toHaveLength(wanted.length);
    got.forEach((number, at) => {
      if (wanted[at] === Infinity) expect(number).toBe(Infinity);
      else expect(Math.abs(number - wanted[at]!)).toBeLessThanOrEqual(1e-9 * Math.max(1, Math.abs(wanted[at]!)));
    });
  }
});

function device(id: string, serviceTimeS: number, state: Device["state"] = "online"): Device {
  return { id, state, presence: presence(id), status: status(id, { service_time_s_mean: serviceTimeS }), able: true, troubles: [], history: [] };
}

test("for equal devices the prediction is the paper's law", () => {
  const devices = ["a", "b", "c", "d"].map((id) => device(id, 2));
  const rateHz = 0.02;
  const { latencyS, utilisation, stable, inferences } = predict(devices, () => rateHz, "a", 2, 2);
  expect(utilisation).toBeCloseTo(theory.utilisation(2, 2, 2, rateHz), 9);
  expect(latencyS).toBeCloseTo(theory.endToEndLatencyS(2, theory.utilisation(2, 2, 2, rateHz), 2, 2), 9);
  expect([stable, inferences]).toEqual([true, 7]);
});

test("the most loaded device says whether the mesh is stable", () => {
  const devices = [device("a", 1), device("b", 1), device("slow", 40)];
  const prediction = predict(devices, () => 0.02, "a", 2, 2);
  expect(prediction.stable).toBe(false);
  expect(prediction.utilisation).toBeGreaterThan(1);
  expect(prediction.latencyS).toBeNull();
});

test("without measured service times nothing is predicted; one that is known stands for the others", () => {
  const unknown = [device("a", 0), device("b", 0)];
  expect(predict(unknown, () => 1, "a", 1, 1)).toEqual({
    latencyS: null,
    utilisation: null,
    stable: true,
    inferences: 3,
  });
  expect(predict([device("a", 0), device("b", 3)], () => 0, "a", 0, 0).latencyS).toBe(3);
});

test("more peers than there are count as those there are, and devices that are away as none", () => {
  const devices = [device("a", 2), device("b", 2), device("c", 2, "offline")];
  expect(predict(devices, () => 0, "a", 1, 5).latencyS).toBe(predict(devices, () => 0, "a", 1, 1).latencyS);
  expect(predict(devices, () => 0, "c", 1, 1).latencyS).toBeNull();
});
