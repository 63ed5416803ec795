"""Makes a seed's files, and writes them into a folder or an ISO image."""

from __future__ import annotations

import io
import os
from contextlib import closing, suppress
from pathlib import Path

from provisioning.files import PRIVATE, make_folder, write_atomically
from provisioning.seed.cloud_init import meta_data, network_config, user_data
from provisioning.seed.contents import SeedContents
from provisioning.seed.errors import SeedError
from provisioning.seed.files import FIRSTRUN, META_DATA, NETWORK_CONFIG, PAYLOAD, USER_DATA, SeedFiles
from provisioning.seed.firstrun import firstrun_script
from provisioning.seed.layout import payload_files

ISO_LABEL = "cidata"  # by which cloud-init finds it
_JOLIET_NAME_MAX = 64  # longer names (of wheels) are there for Linux, which reads Rock Ridge, and not for Windows
_SEED_NAMES = frozenset({USER_DATA, META_DATA, NETWORK_CONFIG, FIRSTRUN, PAYLOAD})


def render_seed(contents: SeedContents) -> SeedFiles:
    """Returns a seed for both kinds of system: those with cloud-init, and Raspberry Pi OS before it.

    Raises:
        SeedError: a wheel or the model is not there.
    """
    files: dict[str, bytes | Path] = {
        USER_DATA: user_data(contents),
        META_DATA: meta_data(contents),
        NETWORK_CONFIG: network_config(contents),
        FIRSTRUN: firstrun_script(contents),
        **payload_files(contents),
    }
    files.update({f"{PAYLOAD}/wheelhouse/{wheel.name}": wheel for wheel in contents.packages.wheels})
    if contents.model.file is not None:
        files[f"{PAYLOAD}/model/{contents.model.file.name}"] = contents.model.file
    for content in files.values():
        if isinstance(content, Path) and not content.is_file():
            raise SeedError(f"{content}: no such file")
    return SeedFiles(files, contents.instance_id)


def write_folder(seed: SeedFiles, folder: Path) -> None:
    """Writes a seed into a folder, readable by its owner alone. `meta-data`, without which it is none, comes last.

    Raises:
        SeedError: there is something in the folder that belongs to no seed.
        ProvisioningError: a file can't be written.
    """
    if folder.exists() and (strange := sorted(set(os.listdir(folder)) - _SEED_NAMES)):
        raise SeedError(f"{folder} holds {strange[0]}, which does not belong to a seed: give a new or empty folder")
    make_folder(folder)
    with suppress(OSError):
        (folder / META_DATA).unlink()
    old = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    for name in sorted(old - seed.files.keys()):
        (folder / name).unlink()
    for name in sorted(seed.files, key=lambda name: (name == META_DATA, name)):
        content = seed.files[name]
        make_folder((folder / name).parent)
        write_atomically(folder / name, content if isinstance(content, bytes) else content.read_bytes(), PRIVATE)


def write_iso(seed: SeedFiles, path: Path) -> None:
    """Writes a seed as an ISO 9660 image with the label that cloud-init looks for, readable by its owner alone.

    Raises:
        ProvisioningError: the file can't be written.
    """
    from pycdlib import PyCdlib  # only here: it takes a while

    iso = PyCdlib()
    iso.new(interchange_level=4, joliet=3, rock_ridge="1.09", vol_ident=ISO_LABEL)
    with closing(iso):
        folders: set[str] = set()
        for name, content in sorted(seed.files.items()):
            parts = name.split("/")
            for depth in range(1, len(parts)):
                parent = "/" + "/".join(parts[:depth])
                if parent not in folders:
                    folders.add(parent)
                    iso.add_directory(parent, rr_name=parts[depth - 1], joliet_path=parent)
            data = content if isinstance(content, bytes) else content.read_bytes()
            joliet = f"/{name}" if len(parts[-1]) <= _JOLIET_NAME_MAX else None
            iso.add_fp(io.BytesIO(data), len(data), f"/{name}", rr_name=parts[-1], joliet_path=joliet)
        image = io.BytesIO()
        iso.write_fp(image)
    write_atomically(path, image.getvalue(), PRIVATE)
