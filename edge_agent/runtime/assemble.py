"""Puts a device together from its configuration. The only place that knows every adapter by name."""

from __future__ import annotations

import logging
import os
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from edge_agent import __version__
from edge_agent.adapters.journal import SqliteJournal
from edge_agent.adapters.mqtt import MqttSettings, MqttTransport
from edge_agent.adapters.telemetry import FileTelemetrySink
from edge_agent.config import AgentConfig
from edge_agent.config.sections import EngineSection
from edge_agent.core.agent import Agent
from edge_agent.core.aggregation import AGGREGATION_INSTRUCTION
from edge_agent.core.context import RandomStreams
from edge_agent.core.errors import SettingsError
from edge_agent.core.health import Part
from edge_agent.core.policies import make_policies
from edge_agent.core.settings import DeviceIdentity
from edge_agent.mqtt import TlsFiles, parse_home
from edge_agent.policies_plugins import installed_policies
from edge_agent.ports import Discovery, Engine, Notary, Transport
from edge_agent.runtime.databases import telemetry_servers
from edge_agent.runtime.home import Home, discovery_module
from edge_agent.runtime.host import AgentHost
from edge_agent.runtime.installation import installation
from edge_agent.runtime.reports import HealthReports
from edge_agent.service_time import parse_service
from edge_agent.speed_up import parse_speed_up
from edge_agent.tasks import ProblemListener
from edge_agent.tls import TlsFileError, client_context
from edge_agent.wire import client_ids

log = logging.getLogger(__name__)

AUTO_SLOTS = 4  # where settings leave it to us: most of the gain, and an answer is not yet four times slower


def make_host(config: AgentConfig, home: Home, transport: Transport, reports: HealthReports | None = None) -> AgentHost:
    """Returns the device that `config` describes, at home where `home` says, not yet running.

    `transport` is what `make_transport` makes of the same two. `reports` hears how the parts around the core are.

    Raises:
        SettingsError: something that the configuration names is missing, with the command that mends it.
    """
    engine = make_engine(config.engine, config.device.id)
    card = engine.card
    identity = DeviceIdentity(
        device_id=config.device.id,
        home_broker=home.advertised,
        model=card.name,
        model_family=card.family,
        parameter_count=_parameter_count(config.engine),
        synthetic=card.synthetic,
        version=__version__,
        install=client_ids.install_tag(installation(config.data_dir)),
        nonce=secrets.token_hex(4),
    )
    streams = RandomStreams(
        ids=random.SystemRandom(),  # request ids are capabilities: whoever knows one can respond to it
        peer_selection=random.Random(),  # noqa: S311 - whom a device asks is nobody's secret
        gossip=random.Random(),  # noqa: S311 - nor is whom it gossips with
    )
    seeds = tuple((seed.device_id, seed.home_broker) for seed in config.seeds)
    config.data_dir.mkdir(parents=True, exist_ok=True)
    return AgentHost(
        agent=Agent(
            identity,
            config.agent,
            streams,
            make_policies(config.agent, installed_policies()),
            seeds,
            slots=engine.slots,
        ),
        engine=engine,
        transport=transport,
        journal=SqliteJournal(
            config.journal_path,
            answers_kept_s=config.agent.answers_kept_s,
            answers_bytes_max=config.agent.answers_bytes_max,
            device_id=config.device.id,
        ),
        telemetry=FileTelemetrySink(
            config.telemetry_folder,
            mesh=config.device.mesh,
            device_id=config.device.id,
            model=card.name,
            file_bytes_max=config.telemetry.file_bytes_max,
            files_max=config.telemetry.files_max,
            servers=telemetry_servers(config),
        ),
        discovery=_make_discovery(config, home, (reports or HealthReports()).teller(Part.DISCOVERY)),
    )


def make_engine(section: EngineSection, device_id: str) -> Engine:
    """Returns the engine that `section` describes, not yet started. Only the kind that is asked for is imported.

    Raises:
        SettingsError: its model is not on this device.
    """
    instruction = section.instruction or AGGREGATION_INSTRUCTION
    if section.kind == "synthetic":
        from edge_agent.adapters.synthetic import SyntheticEngine

        return SyntheticEngine(
            parse_service(section.service),
            aggregation_factor=section.aggregation_factor,
            seed=int.from_bytes(device_id.encode()),  # devices differ, and a device repeats itself
            name=section.model,
            family=section.family or "synthetic",
            slots=_slots(section, AUTO_SLOTS),
            speed_up=parse_speed_up(section.speed_up),
        )
    if section.kind == "openai":
        from edge_agent.adapters.openai_engine import OpenAIEngine

        return OpenAIEngine(
            section.base_url,
            section.model,
            section.api_key.get_secret_value() if section.api_key else None,
            family=section.family or "unknown",
            context_tokens=section.context_tokens,
            instruction=instruction,
            slots=_slots(section, 1),  # how many such a server has, nobody knows
        )
    if section.kind == "llama-server":
        return _make_llama_server(section, instruction)
    return _make_llama(section, instruction)


def _parameter_count(section: EngineSection) -> int | None:
    """Returns how many parameters the model has, by the settings, else by its file; `None` if neither says it."""
    if section.parameters_b is not None:
        return round(section.parameters_b * 1e9)
    if section.kind in ("openai", "synthetic"):
        return None
    from edge_agent.models import DEFAULT_MODEL, resolve
    from edge_agent.models.gguf import read_header

    try:
        return read_header(resolve(section.model or DEFAULT_MODEL)).parameter_count or None
    except (OSError, ValueError):
        return None  # the engine will say what is wrong with it


def _slots(section: EngineSection, auto: int) -> int:
    return auto if section.slots == "auto" else section.slots


def _make_llama(section: EngineSection, instruction: str) -> Engine:
    from edge_agent.adapters.llama import LlamaEngine

    model = _find_model(section)
    return LlamaEngine(
        model.path,
        threads=_threads(section),
        context_tokens=section.context_tokens,
        name=model.name,
        family=model.family,
        instruction=instruction,
        verify=model.verify,
        slots=_slots(section, AUTO_SLOTS),
    )


def _make_llama_server(section: EngineSection, instruction: str) -> Engine:
    from edge_agent.adapters.llama_server import LlamaServerEngine, find_server

    program = find_server(section.server_program)
    model = _find_model(section)
    return LlamaServerEngine(
        model.path,
        program,
        threads=_threads(section),
        context_tokens=section.context_tokens,
        slots=_slots(section, AUTO_SLOTS),
        name=model.name,
        family=model.family,
        instruction=instruction,
        verify=model.verify,
    )


def _threads(section: EngineSection) -> int:
    return section.threads or len(os.sched_getaffinity(0))


@dataclass(frozen=True, slots=True)
class _Model:
    """A model file on this device; of a file of one's own nobody knows a checksum."""

    path: Path
    name: str
    family: str
    verify: Callable[[Callable[[], bool]], None] | None = None


def _find_model(section: EngineSection) -> _Model:
    from edge_agent.models import DEFAULT_MODEL, find, resolve, verify

    wanted = section.model or DEFAULT_MODEL
    path = resolve(wanted)
    if wanted.endswith(".gguf"):
        return _Model(path, Path(wanted).stem, section.family or "unknown")
    known = find(wanted)
    return _Model(path, known.name, section.family or known.family, partial(verify, known))


def _make_discovery(config: AgentConfig, home: Home, on_problem: ProblemListener) -> Discovery | None:
    if config.broker.mode == "shared" or not config.broker.mdns:
        return None
    discovery: Discovery = discovery_module().MdnsDiscovery(
        config.device.id, config.device.mesh, home.advertised, on_problem
    )
    return discovery


def make_transport(config: AgentConfig, home: Home) -> MqttTransport:
    """Returns the device's connection to its mesh, not yet started.

    Raises:
        SettingsError: as `transport_settings`.
    """
    return MqttTransport(transport_settings(config, home, installation(config.data_dir)), notary=make_notary(config))


def make_notary(config: AgentConfig) -> Notary | None:
    """Returns who signs what this device says of itself; `None` in a mesh without certificates of moamesh's own.

    Raises:
        SettingsError: the device's certificate is of such a mesh, and cannot be used.
    """
    broker = config.broker
    if broker.ca_file is None or broker.cert_file is None:
        return None
    # here, not above: only members need cryptography
    from edge_agent.adapters.notary import FileNotary, MemberFiles
    from provisioning.errors import ProvisioningError
    from provisioning.trust import TrustBundle

    try:
        TrustBundle.read(broker.ca_file)
    except ProvisioningError as error:
        log.warning("entries of this mesh are not signed, because its authority was not made by moamesh: %s", error)
        return None
    files = MemberFiles(broker.ca_file, broker.crl_file, broker.cert_file, broker.key_file or broker.cert_file)
    try:
        return FileNotary(config.device.mesh, config.device.id, files)
    except ProvisioningError as error:
        raise SettingsError(f"[broker] {error}") from None


def transport_settings(config: AgentConfig, home: Home, install: str) -> MqttSettings:
    """Returns how the device reaches its brokers.

    Raises:
        SettingsError: the password file, a certificate, key or revocation list cannot be used; one line that names it.
    """
    broker = config.broker
    password = broker.read_password()
    tls = None
    if broker.ca_file or broker.cert_file:
        files = (broker.ca_file, broker.cert_file, broker.key_file, broker.crl_file)
        tls = TlsFiles(*(str(file) if file else None for file in files))
        try:
            client_context(tls.ca, tls.certificate, tls.key, tls.revoked)
        except TlsFileError as error:
            raise SettingsError(f"[broker] {error}") from None
    return MqttSettings(
        device_id=config.device.id,
        mesh=config.device.mesh,
        home=home.connect,
        install=install,
        home_aliases=(home.advertised, *home.aliases),
        hosts=_hosts(config),
        seeds=tuple((seed.device_id, seed.home_broker) for seed in config.seeds),
        username=broker.username,
        password=password.get_secret_value() if password else None,
        tls=tls,
        message_rate_hz=config.agent.message_rate_hz,
        message_burst=config.agent.message_burst,
        entries_max=config.agent.gossip_sample + 1,
    )


def _hosts(config: AgentConfig) -> tuple[str, ...]:
    """Every host that the settings name, besides those of the home: where the mesh has brokers that many share."""
    homes = (config.broker.home, *(seed.home_broker for seed in config.seeds))
    named = (url.host for home in homes for url in parse_home(home))
    return tuple(dict.fromkeys((*config.broker.hosts, *named)))
