"""Boot seeds: what makes a blank system one device of a mesh at its first boot."""

from provisioning.seed.contents import Login, Membership, Model, Packages, SeedContents
from provisioning.seed.errors import SeedError
from provisioning.seed.files import SeedFiles
from provisioning.seed.network import Network, StaticAddress, Wifi, check_ssid
from provisioning.seed.render import render_seed, write_folder, write_iso

__all__ = [
    "Login",
    "Membership",
    "Model",
    "Network",
    "Packages",
    "SeedContents",
    "SeedError",
    "SeedFiles",
    "StaticAddress",
    "Wifi",
    "check_ssid",
    "render_seed",
    "write_folder",
    "write_iso",
]
