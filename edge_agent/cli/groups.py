"""Options that belong together: declared once as the fields of a dataclass, taken by a command as one value."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from dataclasses import MISSING, fields, is_dataclass
from typing import Any, get_type_hints


def takes_groups(command: Callable[..., None]) -> Callable[..., None]:
    """Gives a command the options of each of its parameters whose type is a dataclass, in that parameter's place.

    The command gets the dataclass; each field is annotated as the option that it is. No two options of a command may
    have one name, be they its own or of a group.
    """
    own = inspect.signature(command, eval_str=True)
    groups: dict[str, Any] = {
        one.name: one.annotation for one in own.parameters.values() if is_dataclass(one.annotation)
    }
    parameters: list[inspect.Parameter] = []
    for one in own.parameters.values():
        options = _options(groups[one.name]) if one.name in groups else [one]
        parameters += [option.replace(kind=inspect.Parameter.KEYWORD_ONLY) for option in options]

    @functools.wraps(command)
    def taken(**given: Any) -> None:
        values = {
            name: group(**{field.name: given.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        command(**given, **values)

    taken.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]  # as inspect documents it
    taken.__annotations__ = {one.name: one.annotation for one in parameters}
    return taken


def _options(group: type[Any]) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=hints[field.name],
        )
        for field in fields(group)
    ]
