"""Disk images and cards: reading, writing, and putting a seed into the boot partition, all without mounting."""

from provisioning.image.cmdline import FirstBoot
from provisioning.image.errors import ImageError
from provisioning.image.flash import Flashed, Plan, flash, plan_flash
from provisioning.image.formats import Compression, compression_of
from provisioning.image.seeding import SeedPut, put_seed, read_seed_folder
from provisioning.image.writing import ProgressCallback
from provisioning.seed.files import SeedFiles

__all__ = [
    "Compression",
    "FirstBoot",
    "Flashed",
    "ImageError",
    "Plan",
    "ProgressCallback",
    "SeedFiles",
    "SeedPut",
    "compression_of",
    "flash",
    "plan_flash",
    "put_seed",
    "read_seed_folder",
]
