"""Policies of other packages, installed for real; the page's own example among them."""

from __future__ import annotations

import importlib
import random
import re
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from edge_agent.config import load_config
from edge_agent.core.errors import SettingsError
from edge_agent.core.policies import BUILT_IN, make_policies
from edge_agent.core.settings import AgentSettings
from edge_agent.policies_plugins import GROUP, installed_policies
from tests.core.policies.peers import OWN, ids, peer

PAGE = (Path(__file__).parents[1] / "docs" / "POLICIES.md").read_text(encoding="utf-8")

Install = Callable[[str, dict[str, str]], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Puts a package with entry points where Python looks for packages, as pip would."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def put(source: str, points: dict[str, str]) -> None:
        number = len(list(tmp_path.glob("*.dist-info")))
        info = tmp_path / f"others_{number}-0.1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: others-{number}\nVersion: 0.1.0\n")
        (info / "entry_points.txt").write_text(
            f"[{GROUP}]\n" + "".join(f"{name} = {value}\n" for name, value in points.items())
        )
        module = next(iter(points.values())).partition(":")[0]
        (tmp_path / f"{module}.py").write_text(source)
        monkeypatch.delitem(sys.modules, module, raising=False)
        importlib.invalidate_caches()

    return put


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_policy_on_the_page_works_as_it_stands_there_and_has_30_lines_at_most(
    install: Install, tmp_path: Path
) -> None:
    (source,) = blocks("python")
    project = next(block for block in blocks("toml") if "entry-points" in block)
    assert len((source + project).splitlines()) <= 30
    install(source, tomllib.loads(project)["project"]["entry-points"][GROUP])
    path = tmp_path / "agent.toml"
    path.write_text('[device]\nid = "d0"\n[agent]\npeer_selection = "nearest"\n')
    policies = make_policies(load_config(path).agent, installed_policies())
    view = [peer("far", home="there"), peer("near"), peer("asked")]
    chosen = policies.peer_selection.select(view, 1, ("asked",), OWN, random.Random(1))
    assert ids(chosen) == ["near"]
    assert ("peer_selection", "nearest") in policies.names


def test_the_settings_on_the_page_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "agent.toml"
    path.write_text('[device]\nid = "d0"\n' + blocks("toml")[0])
    assert load_config(path).agent.layer_plan == "adaptive"


def test_every_built_in_policy_is_on_the_page() -> None:
    for kind, factories in BUILT_IN.items():
        assert f"`{kind}`" in PAGE
        for name in factories:
            assert f"`{name}" in PAGE, f"docs/POLICIES.md does not mention {name}"


def test_a_package_that_does_not_load_breaks_only_those_who_use_it(install: Install) -> None:
    install("import does_not_exist", {"early_stop.odd": "broken_policies:make"})
    extra = installed_policies()
    assert make_policies(AgentSettings(), extra).names[0] == ("peer_selection", "uniform")
    with pytest.raises(SettingsError, match=r"entry point early_stop.odd of broken_policies:make: ModuleNotFoundError"):
        make_policies(AgentSettings(early_stop="odd"), extra)


def test_a_factory_that_makes_something_else_is_refused(install: Install) -> None:
    install("def make(argument): return 5", {"early_stop.five": "five_policies:make"})
    with pytest.raises(SettingsError, match="'five' is no such policy: it has no method 'stops'"):
        make_policies(AgentSettings(early_stop="five"), installed_policies())


def test_a_factory_gets_what_stands_in_the_brackets(install: Install) -> None:
    install(
        "class Every:\n"
        "    def __init__(self, argument): self.layer = int(argument)\n"
        "    def stops(self, layer, references): return layer >= self.layer\n",
        {"early_stop.after": "after_policies:Every"},
    )
    policies = make_policies(AgentSettings(early_stop="after(2)"), installed_policies())
    assert [policies.early_stop.stops(layer, ()) for layer in (1, 2)] == [False, True]
    with pytest.raises(SettingsError, match=r"early_stop: 'after\(x\)': invalid literal"):
        make_policies(AgentSettings(early_stop="after(x)"), installed_policies())


@pytest.mark.parametrize("name", ["nearest", "peers.nearest", "peer_selection.", "peer_selection.a(b"])
def test_an_entry_point_without_kind_and_name_is_refused(install: Install, name: str) -> None:
    install("make = None", {name: "nameless_policies:make"})
    with pytest.raises(SettingsError, match=r"must be named <kind>.<name>, the kind one of peer_selection"):
        installed_policies()


def test_a_built_in_or_taken_name_is_refused(install: Install) -> None:
    install("make = None", {"peer_selection.uniform": "greedy_policies:make"})
    with pytest.raises(SettingsError, match="there is another peer_selection policy 'uniform' already"):
        installed_policies()


def test_two_packages_with_the_same_name_are_refused(install: Install) -> None:
    install("make = None", {"join.mine": "one_policies:make"})
    install("make = None", {"join.mine": "two_policies:make"})
    with pytest.raises(SettingsError, match="there is another join policy 'mine' already"):
        installed_policies()
