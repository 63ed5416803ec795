"""What a device's pip may install: the wheels of its seed, by version and checksum."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from provisioning.seed.errors import SeedError
from provisioning.seed.layout import resource
from provisioning.seed.requirements import pinned


def wheel_of(folder: Path, name: str, version: str = "1.0", *needs: str, tag: str = "py3-none-any") -> Path:
    """A wheel that pip installs."""
    file = name.replace("-", "_")
    path, info = folder / f"{file}-{version}-{tag}.whl", f"{file}-{version}.dist-info"
    requires = "".join(f"Requires-Dist: {need}\n" for need in needs)
    with zipfile.ZipFile(path, "w") as wheel:
        wheel.writestr(f"{file}.py", f"name = {name!r}\n")
        head = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nProvides-Extra: secure\n{requires}"
        wheel.writestr(f"{info}/METADATA", head)
        wheel.writestr(f"{info}/WHEEL", f"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: {tag}\n")
        wheel.writestr(f"{info}/RECORD", "")
    return path


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def install(folder: Path, requirements: str) -> subprocess.CompletedProcess[str]:
    """What `moamesh-setup` does, into a folder of its own."""
    (folder / "requirements.txt").write_text(requirements)
    return subprocess.run(
        [
            *(sys.executable, "-m", "pip", "install", "-q", "--no-index", "--find-links", str(folder)),
            *("--only-binary", ":all:", "--require-hashes", "-r", str(folder / "requirements.txt")),
            *("--target", str(folder / "there")),
        ],
        env={**os.environ, "PIP_CONFIG_FILE": "/dev/null", "PIP_FIND_LINKS": ""},
        capture_output=True,
        text=True,
        check=False,
    )


def test_every_wheel_is_pinned_by_version_and_checksum(tmp_path: Path) -> None:
    own = wheel_of(tmp_path, "moamesh", "0.2")
    one, other = (
        wheel_of(tmp_path, "pydantic-core", tag=f"cp311-abi3-{tag}") for tag in ("linux_x86_64", "linux_aarch64")
    )
    first, second = sorted((sha256(one), sha256(other)))
    assert pinned("moamesh[secure]", [own, one, other]) == (
        f"moamesh[secure]==0.2 --hash=sha256:{sha256(own)}\n"
        f"pydantic-core==1.0 --hash=sha256:{first} --hash=sha256:{second}\n"
    )


def test_what_is_pinned_is_installed_and_nothing_that_was_changed_or_left_out(tmp_path: Path) -> None:
    own = wheel_of(tmp_path, "moamesh", "0.2", "needed", 'guard ; extra == "secure"')
    others = [wheel_of(tmp_path, name) for name in ("needed", "guard")]
    text = pinned("moamesh[secure]", [own, *others])
    done = install(tmp_path, text)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "there").glob("*.py")} == {"moamesh.py", "needed.py", "guard.py"}
    for strange in ("evil", "needed"):  # another name's, and another file of the same name
        wheel_of(tmp_path, strange, "1.0", "nothing-more")
    changed = install(tmp_path, text)
    assert changed.returncode != 0
    assert "HASHES" in changed.stderr or "hash" in changed.stderr
    lacking = install(tmp_path, pinned("moamesh[secure]", [own]))
    assert lacking.returncode != 0
    assert "--require-hashes" in lacking.stderr or "hashes" in lacking.stderr


@pytest.mark.parametrize(
    ("names", "said"),
    [
        (("moamesh-0.1-py3-none-any.whl", "moamesh-0.2-py3-none-any.whl"), r"holds moamesh 0\.1 and 0\.2"),
        (("other-0.1-py3-none-any.whl",), "holds no moamesh wheel"),
        (("moamesh.whl",), "is not named like a wheel"),
        (("moamesh-0.1-py3-none-any.whl", "x y-1-py3-none-any.whl"), "is not named like a wheel"),
    ],
)
def test_what_can_not_be_pinned_is_one_line(tmp_path: Path, names: tuple[str, ...], said: str) -> None:
    for name in names:
        (tmp_path / name).write_bytes(b"wheel")
    with pytest.raises(SeedError, match=said) as refused:
        pinned("moamesh", [tmp_path / name for name in names])
    assert "\n" not in str(refused.value)


def test_a_device_goes_to_no_index_and_installs_nothing_without_checksums() -> None:
    script = resource("moamesh-setup").decode()
    installs = [line for line in script.splitlines() if "pip" in line and "install" in line]
    assert len(installs) == 1
    assert "--no-index" in installs[0]
    assert "--require-hashes" in script
    assert "this seed holds no packages" in script
