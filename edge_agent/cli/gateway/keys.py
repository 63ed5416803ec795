"""API keys of a gateway from the command line."""

from __future__ import annotations

from pathlib import Path

from rich.table import Table

from edge_agent.cli.gateway.options import keys_file_of
from edge_agent.cli.terminal import console, print_json
from edge_agent.gateway.keys import add_key, load_keys, remove_key


def add(keys_file: Path | None, config: Path | None, name: str, *, json: bool) -> None:
    """Makes a key and shows it: the key alone goes to stdout.

    Raises:
        SettingsError: the name is taken or malformed, or the file cannot be written.
    """
    file = keys_file_of(keys_file, config)
    secret = add_key(file, name)
    if json:
        print_json({"name": name, "key": secret, "file": str(file)})
        return
    print(secret)
    console(stderr=True).print(f"the key of {name}, shown only once; {file} keeps its hash", style="quiet")


def show(keys_file: Path | None, config: Path | None, *, json: bool) -> None:
    """Shows whose keys there are.

    Raises:
        SettingsError: the file is damaged.
    """
    file = keys_file_of(keys_file, config)
    keys = load_keys(file)
    if json:
        print_json({"file": str(file), "keys": [key.model_dump(exclude={"sha256"}) for key in keys]})
        return
    if not keys:
        console(stderr=True).print(f"no keys in {file}: `moamesh gateway key add NAME` makes one", style="quiet")
        return
    table = Table("name", "created", "ends in", box=None)
    for key in keys:
        table.add_row(key.name, key.created, key.ending)
    console().print(table)


def remove(keys_file: Path | None, config: Path | None, name: str) -> None:
    """Removes a key.

    Raises:
        SettingsError: there is none of that name, or the file cannot be written.
    """
    file = keys_file_of(keys_file, config)
    remove_key(file, name)
    console(stderr=True).print(f"the key of {name} is removed from {file}", style="quiet")
