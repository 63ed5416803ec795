"""Compiles the core and the simulator's kernel with mypyc into a folder of their own, for long simulations.

    python scripts/compile_simulator.py [FOLDER]          FOLDER is build/compiled if not given
    python build/compiled/simulate.py --devices 1000 ...  takes what `moamesh simulate` takes
    python build/compiled/campaign.py --seeds 1..100000   fault seeds in every core, one JSON object as the answer

The folder can be carried to another machine of the same kind (processor, C library not older, CPython of the same
minor version): `campaign.py` needs nothing else there, since `packages` holds what it imports; `simulate.py` needs the
packages of the project.

The pure Python stays the source: the folder holds a copy of the package in which some modules are machine code. Runs
go the same way, event by event: tests/lab/simulator/test_compiled.py compares traces. The copy is for nothing else:
its records are not frozen and know no defaults of their fields, which settings files are read by, and no safeguard can
be taken away, since compiled calls do not look methods up.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import os
import shutil
import sys
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "build" / "compiled"
_COMPILED = (
    "core/**/*.py",
    "lab/simulator/checkers/*.py",
    "lab/simulator/cluster.py",
    "lab/simulator/complete_view.py",
    "lab/simulator/faults/actions.py",
    "lab/simulator/faults/broker.py",
    "lab/simulator/faults/disks.py",
    "lab/simulator/faults/engines.py",
    "lab/simulator/faults/hardware.py",
    "lab/simulator/faults/journal.py",
    "lab/simulator/faults/mesh.py",
    "lab/simulator/faults/plan.py",
    "lab/simulator/faults/post.py",
    "lab/simulator/faults/sizes.py",
    "lab/simulator/faults/transport.py",
    "lab/simulator/faults/users.py",
    "lab/simulator/network.py",
    "lab/simulator/service.py",
    "lab/simulator/trace.py",
    "lab/simulator/workload.py",
    "lab/simulator/load/measurement.py",
    "lab/simulator/load/run.py",
    "service_time.py",
    "speed_up.py",
)
"""What takes the time of a run. Ablations stay Python: they exchange methods."""
_PACKAGES = ("annotated_types", "pydantic", "pydantic_core", "typing_extensions", "typing_inspection")
"""What `wire.codec`, which says how large messages are, imports: carried along for machines without it."""

_LAUNCHER = """\
\"\"\"Runs `moamesh simulate` with the compiled copy beside this file.\"\"\"
import sys

from edge_agent.cli.main import run

if __name__ == "__main__":  # processes that it starts import this file as well
    sys.argv[1:1] = ["simulate"]
    run()
"""
_CAMPAIGN = """\
\"\"\"Runs fault seeds with the compiled copy beside this file, and the packages beside that.\"\"\"
import sys
from pathlib import Path

folder = Path(__file__).resolve().parent
sys.path[:0] = [str(folder)]
sys.path.append(str(folder / "packages"))

from edge_agent.lab.simulator.faults.__main__ import main

if __name__ == "__main__":  # processes that it starts import this file as well
    sys.exit(main(sys.argv[1:]))
"""


def with_constructors(source: str) -> str:
    """Returns a module in which each dataclass has its constructor written out.

    mypyc compiles methods that it sees. The one that `dataclass` makes stays interpreted, fifteen times as slow, and
    making records is the larger part of what the core does.
    """
    lines = source.splitlines()
    classes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ClassDef)]
    for node in sorted(classes, key=lambda node: node.lineno, reverse=True):  # from the end: line numbers stay true
        decorators = [one for one in node.decorator_list if ast.unparse(one).startswith("dataclass(")]
        if not decorators:
            continue
        lines[node.end_lineno : node.end_lineno] = ["", *_constructor(node)]
        for field in reversed(_fields(node)):  # defaults are the constructor's now
            lines[field.lineno - 1 : field.end_lineno] = [f"    {field.target.id}: {ast.unparse(field.annotation)}"]
        lines[decorators[0].lineno - 1] = f"@{_decorator(decorators[0])}"
    return "\n".join(lines) + "\n"


def _decorator(call: ast.Call) -> str:
    """The decorator without a constructor. A frozen one would keep ours from setting anything."""
    options = {word.arg: ast.literal_eval(word.value) for word in call.keywords}
    hashable = options.get("frozen", False)
    return f"dataclass(init=False, unsafe_hash={hashable}, eq={options.get('eq', True)})"


def _constructor(node: ast.ClassDef) -> list[str]:
    parameters, body = ["self"], []
    for field in _fields(node):
        name, kind, factory = field.target.id, ast.unparse(field.annotation), _factory(field)
        if factory:
            parameters.append(f"{name}: {kind} | None = None")
            body.append(f"self.{name} = {factory}() if {name} is None else {name}")
        else:
            parameters.append(f"{name}: {kind}" + (f" = {ast.unparse(field.value)}" if field.value else ""))
            body.append(f"self.{name} = {name}")
    if any(isinstance(method, ast.FunctionDef) and method.name == "__post_init__" for method in node.body):
        body.append("self.__post_init__()")
    return [f"    def __init__({', '.join(parameters)}) -> None:", *(f"        {line}" for line in body or ["pass"])]


def _fields(node: ast.ClassDef) -> list[ast.AnnAssign]:
    return [line for line in node.body if isinstance(line, ast.AnnAssign)]


def _factory(field: ast.AnnAssign) -> str:
    """What makes a field's default, "" if it has none or a plain one."""
    if isinstance(field.value, ast.Call) and ast.unparse(field.value.func) == "field":
        (word,) = field.value.keywords  # nothing but default_factory is in use
        return ast.unparse(word.value)
    return ""


def copy_package(folder: Path) -> list[str]:
    """Copies the package to `folder` with constructors written out; returns the modules to compile."""
    shutil.rmtree(folder / "edge_agent", ignore_errors=True)
    for left in (*folder.glob("*__mypyc*.so"), _stamp(folder)):
        left.unlink(missing_ok=True)
    shutil.copytree(ROOT / "edge_agent", folder / "edge_agent", ignore=shutil.ignore_patterns("__pycache__", "*.so"))
    modules = []
    for pattern in _COMPILED:
        for path in sorted((folder / "edge_agent").glob(pattern)):
            source = path.read_text(encoding="utf-8")
            if source.strip():
                path.write_text(with_constructors(source), encoding="utf-8")
                modules.append(str(path.relative_to(folder)))
    return modules


def compile_package(folder: Path) -> None:
    """Fills `folder`, or leaves it alone if it is of these very sources. Takes minutes and a C compiler."""
    from mypyc.build import mypycify  # not installed everywhere: a copy can be made without it
    from setuptools import setup

    if is_current(folder):
        return
    print("Compiling the simulator for this machine (3 minutes of one core)", flush=True)
    version = source_hash()
    modules = copy_package(folder)
    os.chdir(folder)  # where setuptools builds, and away from this project's own settings
    said = StringIO()  # only of interest if it fails: remarks on style otherwise
    try:
        with redirect_stdout(said):
            # A C file for each module: all in one takes the compiler three times as long and runs no faster.
            extensions = mypycify(modules, opt_level="3", debug_level="0", multi_file=True)
    except SystemExit:
        sys.exit(said.getvalue())
    setup(name="compiled", packages=[], ext_modules=extensions, script_args=["-q", "build_ext", "--inplace", "-j2"])
    shutil.rmtree(folder / "build")  # C and object files
    (folder / "simulate.py").write_text(_LAUNCHER, encoding="utf-8")
    (folder / "campaign.py").write_text(_CAMPAIGN, encoding="utf-8")
    _copy_packages(folder / "packages")
    _stamp(folder).write_text(version)


def _copy_packages(folder: Path) -> None:
    """Copies what a campaign imports beside this project, as it is installed here."""
    shutil.rmtree(folder, ignore_errors=True)
    for name in _PACKAGES:
        found = importlib.util.find_spec(name)
        if found is None or found.origin is None:
            sys.exit(f"{name} is not installed: run make install")
        source = Path(found.origin)
        if source.name == "__init__.py":
            shutil.copytree(source.parent, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            folder.mkdir(exist_ok=True)
            shutil.copy2(source, folder / source.name)


def is_current(folder: Path = FOLDER) -> bool:
    """Returns whether `folder` was compiled of these very sources."""
    return _stamp(folder).exists() and _stamp(folder).read_text() == source_hash()


def source_hash() -> str:
    """Returns a hash of all that the result depends on."""
    found = hashlib.sha256(sys.version.encode())
    for path in (Path(__file__), *sorted((ROOT / "edge_agent").rglob("*.py"))):
        found.update(str(path.relative_to(ROOT)).encode() + path.read_bytes())
    return found.hexdigest()


def _stamp(folder: Path) -> Path:
    return folder / "stamp"


if __name__ == "__main__":
    compile_package(Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else FOLDER)
