"""Policies that other installed packages bring along, by entry points of the group `moamesh.policies`.

An entry point's name is `<kind>.<name>`, such as `peer_selection.nearest`; it points to a factory that takes the text
between the brackets behind the name (`edge_agent.core.policies.PolicyFactory`). docs/POLICIES.md has a whole one.
"""

from __future__ import annotations

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points

from edge_agent.core.errors import SettingsError
from edge_agent.core.policies import BUILT_IN, PolicyFactory

GROUP = "moamesh.policies"


def installed_policies(found: Iterable[EntryPoint] | None = None) -> dict[str, dict[str, PolicyFactory]]:
    """Returns the factories of installed packages by kind and name, for `make_policies`.

    Nobody's code is imported before a policy of it is made: a broken package that nobody uses breaks nothing.

    Args:
        found: entry points to take instead of the installed ones.

    Raises:
        SettingsError: an entry point's name is not `<kind>.<name>`, or is taken: by the project or by another package.
    """
    factories: dict[str, dict[str, PolicyFactory]] = {}
    for point in entry_points(group=GROUP) if found is None else found:
        kind, _, name = point.name.partition(".")
        where = f"entry point {point.name} of {point.value}"
        if kind not in BUILT_IN or not name or "(" in name:
            raise SettingsError(f"{where}: must be named <kind>.<name>, the kind one of {', '.join(BUILT_IN)}")
        if name in BUILT_IN[kind] or name in factories.get(kind, {}):
            raise SettingsError(f"{where}: there is another {kind} policy {name!r} already")
        factories.setdefault(kind, {})[name] = _load_when_made(point, where)
    return factories


def _load_when_made(point: EntryPoint, where: str) -> PolicyFactory:
    def make(argument: str) -> object:
        try:
            factory = point.load()
        except Exception as error:  # other people's code: whatever it raises is a wrong setting of ours
            raise SettingsError(f"{where}: {type(error).__name__}: {error}") from error
        return factory(argument)

    return make
