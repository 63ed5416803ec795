"""The app in Chromium: how it starts, how soon a token is on the page, how a long history scrolls.

    python -m bench.page [--rounds 5] [--only start|tokens|scroll] [--json]

Tokens are compared with a bare page that gets the same tokens from the same broker, scrolling with a short history; the
start has no peer but itself on a fast network. Needs Debian's chromium, mosquitto and the built app (`make app`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, expect

from bench.page_load import load
from bench.page_tokens import measure_tokens
from edge_agent.fleet.local import LocalFleet
from edge_agent.fleet.plan import EngineKind, FleetPlan
from tests.support.browser import CHROMIUM, PHONE, WAIT_MS, AppPage, Pairing, chromium_is_here, launched, new_context
from tests.support.page_history import MESSAGES, fill
from tests.support.page_scroll import scroll

APP_FILES = Path(__file__).parents[1] / "edge_agent" / "gateway" / "static"
SHORT_MESSAGES = 60
SCROLL_PX = 12_000
AIM_MS = 30.0  # p50 from llama.cpp to the page, on loopback
PARTS = ("start", "tokens", "scroll")


async def measure_start(browser: Browser, fleet: LocalFleet) -> dict[str, Any]:
    """First visits: unpaired and paired, on this machine and as a slow phone."""
    pairing = Pairing(fleet.mesh, (fleet.web_url,), "bench-start", await fleet.add_user("bench-start"))
    return {
        name: asdict(await load(browser, fleet.gateway_url, who, slow=slow))
        for name, who, slow in (
            ("first run, this machine", None, False),
            ("first run, slow phone", None, True),
            ("paired, this machine", pairing, False),
            ("paired, slow phone", pairing, True),
        )
    }


async def measure_scroll(browser: Browser, fleet: LocalFleet) -> dict[str, Any]:
    """The same scroll through a short and a long history."""
    pairing = Pairing(fleet.mesh, (fleet.web_url,), "bench-scroll", await fleet.add_user("bench-scroll"))
    figures = {}
    for messages in (SHORT_MESSAGES, MESSAGES):
        context = await new_context(browser, PHONE)
        try:
            app = AppPage(await context.new_page(), fleet.gateway_url)
            await app.open(pairing)
            await app.choose(next(iter(fleet.devices)), layers=0)
            exchange = await app.ask("The last question.")
            await exchange.until("answered")
            await fill(app, exchange, messages)
            await expect(app.page.get_by_text("The last question.").last).to_be_visible(timeout=WAIT_MS)
            # up and down: up first meets what was never shown, down what was
            for way, pixels in (("up", SCROLL_PX), ("down", -SCROLL_PX)):
                done = await scroll(browser, app.page, '[role="log"]', pixels)
                figures[f"{messages} messages, {way}"] = asdict(done) | {"busy_ms_per_frame": done.busy_ms_per_frame}
        finally:
            await context.close()
    return figures


async def main() -> None:
    """Prints the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not chromium_is_here():
        raise SystemExit(f"{CHROMIUM} is not installed: apt-get install chromium")
    if not (APP_FILES / "index.html").exists():
        raise SystemExit("the app is not built: make app")
    wanted = (arguments.only,) if arguments.only else PARTS
    results: dict[str, Any] = {}
    plan = FleetPlan(1, EngineKind.SYNTHETIC, service="deterministic:0.05", gateway_port=0)
    async with LocalFleet(plan) as fleet, launched() as browser:
        if not fleet.web_url:
            raise SystemExit("this broker has no WebSockets listener: apt-get install mosquitto")
        results["chromium"] = browser.version
        if "start" in wanted:
            results["start"] = await measure_start(browser, fleet)
        if "tokens" in wanted:
            app, echo = await measure_tokens(browser, fleet, fleet.gateway_url, arguments.rounds)
            results["tokens"] = {"app": asdict(app), "bare page": asdict(echo)}
        if "scroll" in wanted:
            results["scroll"] = await measure_scroll(browser, fleet)
    if arguments.json:
        json.dump(results, sys.stdout)
        print()
    else:
        show(results)


def show(results: dict[str, Any]) -> None:
    """For people."""
    print(f"Chromium {results['chromium']}, phone {PHONE.width}x{PHONE.height}")
    if start := results.get("start"):
        print("\nstart (nothing cached; slow phone: 4 times slower processor, 150 ms, 1.6 Mbit/s)")
        print(
            f"{'':26} {'files':>5} {'KiB':>6} {'first':>7} {'largest':>8} {'interactive':>12}"
            f" {'blocked':>8} {'shift':>6}"
        )
        for name, row in start.items():
            times = " ".join(
                f"{row[key]:{width}.0f}"
                for key, width in (
                    ("first_paint_ms", 7),
                    ("largest_paint_ms", 8),
                    ("interactive_ms", 12),
                    ("blocked_ms", 8),
                )
            )
            print(f"{name:26} {row['requests']:>5} {row['bytes'] / 1024:6.0f} {times} {row['shift']:6.2f}")
    if tokens := results.get("tokens"):
        print("\nfrom llama.cpp to the page, ms of each token, in turns")
        print(f"{'':26} {'tokens':>6} {'in page p50':>12} {'p95':>7} {'drawn p50':>10} {'p95':>7}")
        for name, row in tokens.items():
            print(
                f"{name:26} {row['tokens']:>6} {row['in_page_p50_ms']:12.1f} {row['in_page_p95_ms']:7.1f}"
                f" {row['drawn_p50_ms']:10.1f} {row['drawn_p95_ms']:7.1f}"
            )
        app, echo = tokens["app"], tokens["bare page"]
        print(
            f"ratio p50: {app['in_page_p50_ms'] / echo['in_page_p50_ms']:.2f} in the page,"
            f" {app['drawn_p50_ms'] / echo['drawn_p50_ms']:.2f} drawn"
            f" (aim: the app's p50 in the page under {AIM_MS:.0f} ms)"
        )
    if rows := results.get("scroll"):
        print(f"\nscroll of {SCROLL_PX} pixels at 4000 a second")
        print(f"{'':26} {'frames':>6} {'dropped':>8} {'blank':>6} {'long tasks':>11} {'longest':>8} {'work/frame':>11}")
        for name, row in rows.items():
            print(
                f"{name:26} {row['frames']:>6} {row['dropped']:>8} {row['blank']:>6} {row['long_tasks']:>11}"
                f" {row['longest_task_ms']:5.1f} ms {row['busy_ms_per_frame']:8.2f} ms"
            )


if __name__ == "__main__":
    asyncio.run(main())
