/** Runs the engine against a real broker and real devices, which tests/app/test_engine_live.py has started. */
import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["test/live/**/*.live.ts"],
    environment: "node",
    setupFiles: ["test/setup.ts"],
    testTimeout: 600_000, // for one that hangs; each wait has a bound of its own
    fileParallelism: false, // they share one mesh
  },
});
