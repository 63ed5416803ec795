"""The app's own unit tests, and its types: what vitest and the TypeScript compiler say."""

from __future__ import annotations

from tests.app.node import install_packages, run

VITEST = "vitest/vitest.mjs"
TSC = "typescript/bin/tsc"


async def test_the_apps_unit_tests_pass() -> None:
    install_packages()
    await run(VITEST, "run", "--reporter=dot")


async def test_the_apps_types_hold() -> None:
    install_packages()
    await run(TSC, "--noEmit")
    await run(TSC, "--noEmit", "-p", "tsconfig.test.json")
