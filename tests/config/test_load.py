from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from edge_agent.config import AgentConfig, SeedSection, load_config, write_config
from edge_agent.config.example import EXAMPLE_ID, make_example
from edge_agent.core.errors import SettingsError
from edge_agent.core.settings import AgentSettings

EXAMPLE = Path(__file__).parents[2] / "docs" / "agent.toml"
FULL = """\
[device]
id = "dev-1"
mesh = "lab"   # with a comment
data_dir = "state"

[broker]
urls = ["mqtts://broker.local:8883"]
username = "dev-1"
password_file = "broker-password"

[engine]
kind = "synthetic"
service = "gamma:2,1.0"

[agent]
layers = 1
fanout = 3
deadline_s = "none"
join = "quorum(2)"

[[seeds]]
device_id = "dev-2"
home_broker = "mqtt://10.0.0.2:1883"

[[seeds]]
device_id = "dev-3"
home_broker = "mqtt://10.0.0.3:1883"
"""


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in list(os.environ):
        if name.startswith("MOAMESH_"):
            monkeypatch.delenv(name)


@pytest.fixture
def write(tmp_path):
    def write_text(text: str) -> Path:
        path = tmp_path / "agent.toml"
        path.write_text(text)
        return path

    return write_text


def refusal(path: Path | None, overrides=None) -> str:
    with pytest.raises(SettingsError) as caught:
        load_config(path, overrides)
    message = str(caught.value)
    assert "\n" not in message
    return message.replace(f"{path.parent}/", "") if path else message


def test_a_file_sets_what_it_names_and_the_rest_are_defaults(write, tmp_path):
    config = load_config(write(FULL))
    assert (config.device.id, config.device.mesh) == ("dev-1", "lab")
    assert config.broker.urls == ("mqtts://broker.local:8883",)
    assert (config.engine.kind, config.engine.service) == ("synthetic", "gamma:2,1.0")
    assert config.agent == AgentSettings(layers=1, fanout=3, deadline_s=None, join="quorum(2)")
    assert isinstance(config.agent, AgentSettings)
    assert [seed.device_id for seed in config.seeds] == ["dev-2", "dev-3"]
    assert config.data_dir == tmp_path / "state"
    assert config.journal_path == tmp_path / "state" / "journal.sqlite3"
    assert config.telemetry_folder == tmp_path / "state" / "telemetry"


def test_the_environment_counts_over_the_file_and_given_values_over_both(write, monkeypatch):
    path = write(FULL)
    monkeypatch.setenv("MOAMESH_AGENT__LAYERS", "4")
    monkeypatch.setenv("MOAMESH_AGENT__FANOUT", "5")
    monkeypatch.setenv("MOAMESH_BROKER__USERNAME", "none")
    monkeypatch.setenv("MOAMESH_BROKER__PASSWORD_FILE", "none")
    config = load_config(path, {"agent.layers": 0, "device.mesh": "other", "agent.queue_capacity": None})
    assert (config.agent.layers, config.agent.fanout, config.agent.queue_capacity) == (0, 5, 32)
    assert (config.device.mesh, config.broker.username) == ("other", None)
    assert config.agent.join == "quorum(2)"


@pytest.mark.parametrize(
    ("text", "urls"),
    [
        ("urls = 'mqtt://a'", ("mqtt://a",)),
        ("urls = ['mqtt://a', 'mqtt://b:2']", ("mqtt://a", "mqtt://b:2")),
        ("urls = 'mqtt://a, mqtt://b:2'", ("mqtt://a", "mqtt://b:2")),
    ],
)
def test_a_home_broker_has_one_address_or_several(write, text, urls):
    broker = load_config(write(f"[device]\nid='a'\n[broker]\n{text}\n")).broker
    assert broker.urls == urls
    assert broker.home == ",".join(urls)


def test_the_environment_names_several_addresses_with_commas(monkeypatch):
    monkeypatch.setenv("MOAMESH_DEVICE__ID", "a")
    monkeypatch.setenv("MOAMESH_BROKER__URLS", "mqtts://a:1,mqtts://b:2")
    assert load_config(None).broker.urls == ("mqtts://a:1", "mqtts://b:2")


def test_addresses_that_no_message_can_carry_are_refused(write):
    urls = ",".join(f"mqtts://{'n' * 60}-{number}.example:8883" for number in range(4))
    with pytest.raises(SettingsError, match="urls: together at most 256 characters"):
        load_config(write(f"[device]\nid='a'\n[broker]\nurls = '{urls}'\n"))


def test_no_file_is_needed(monkeypatch):
    monkeypatch.setenv("MOAMESH_DEVICE__ID", "env-device")
    monkeypatch.setenv("MOAMESH_SEEDS", '[{"device_id": "dev-2", "home_broker": "mqtt://h:1"}]')
    config = load_config(None)
    assert config.device.id == "env-device"
    assert config.seeds == (SeedSection(device_id="dev-2", home_broker="mqtt://h:1"),)


def test_paths_in_a_file_count_from_the_file_and_given_ones_from_here(write, tmp_path, monkeypatch):
    path = write(FULL)
    monkeypatch.chdir("/")
    config = load_config(path, {"telemetry.folder": "elsewhere"})
    assert config.broker.password_file == tmp_path / "broker-password"
    assert config.telemetry_folder == Path("elsewhere")


def test_without_a_data_dir_each_device_has_its_own(write, monkeypatch):
    path = write('[device]\nid = "dev-1"\n')
    monkeypatch.setenv("MOAMESH_HOME", "/srv/moamesh")
    assert load_config(path).data_dir == Path("/srv/moamesh/devices/dev-1")
    monkeypatch.delenv("MOAMESH_HOME")
    monkeypatch.setenv("XDG_DATA_HOME", "/data")
    assert load_config(path).data_dir == Path("/data/moamesh/devices/dev-1")
    assert load_config(path, {"device.id": "dev-2"}).data_dir == Path("/data/moamesh/devices/dev-2")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[agent]\nfanuot = 2\n", "agent.toml:2: [agent] fanuot: unknown key; did you mean fanout?"),
        ("[device]\nid = 'a'\nlayers = 2\n", "agent.toml:3: [device] layers: unknown key; it belongs to [agent]"),
        ("layers = 2\n", "agent.toml:1: [layers]: unknown; it belongs to [agent]"),
        ("[agnet]\nlayers = 2\n", "agent.toml:1: [agnet]: unknown section; did you mean agent?"),
        (
            "[device]\nid = 'a'\n\n[agent]\nlayers = 'two'\n",
            'agent.toml:5: [agent] layers = "two": must be a whole number, unable to parse string as an integer',
        ),
        ("[device]\nid='a'\n[agent]\nlayers=true\n", "agent.toml:4: [agent] layers = true: must not be true or false"),
        ("[device]\nid='a'\n[agent]\nlayers=9\n", "agent.toml:4: [agent] layers: layers must be 0 to 8, not 9"),
        (
            "[device]\nid='a'\n[agent]\ndeadline_s = inf\n",
            "agent.toml:4: [agent] deadline_s: deadline_s must be finite, not inf",
        ),
        (
            "[device]\nid='a'\n[agent]\npeer_selection = 'unifrom'\n",
            "agent.toml:4: [agent] peer_selection: peer_selection: no policy 'unifrom'; there are: budget, choices, ",
        ),
        (
            "[device]\nid = 'Küche'\n",
            "agent.toml:2: [device] id = \"Küche\": id must be 1 to 64 of a-z, 0-9 and -, not 'Küche'",
        ),
        (
            "[device]\nmesh = 'lab'\n",
            "agent.toml:1: [device] id: is missing (or MOAMESH_DEVICE__ID in the environment)",
        ),
        (
            "[device]\nid='a'\n[engine]\nkind = 'lama'\n",
            "agent.toml:4: [engine] kind = \"lama\": must be 'llama', 'llama-server', 'openai' or 'synthetic'; "
            "did you mean 'llama'?",
        ),
        (
            "[device]\nid='a'\n[engine]\nservice = 'uniform:1'\n",
            "agent.toml:4: [engine] service = \"uniform:1\": service time 'uniform:1' is not of the form",
        ),
        (
            "[device]\nid='a'\n[engine]\nkind = 'openai'\n",
            'agent.toml:3: [engine]: kind = "openai" needs base_url and model',
        ),
        (
            "[device]\nid='a'\n[broker]\nurls = ['http://h']\n",
            'agent.toml:4: [broker] urls = ["http://h"]: must be mqtt://host:port or mqtts://host:port',
        ),
        (
            "[device]\nid='a'\n[broker]\nurl = 'mqtt://h'\n",
            "agent.toml:4: [broker] url: unknown key; did you mean urls?",
        ),
        ("[device]\nid='a'\n[broker]\nurls = []\n", "agent.toml:4: [broker] urls = []"),
        (
            "[device]\nid='a'\n[broker]\nmode = 'own'\nca_file = 'ca.pem'\n",
            'agent.toml:3: [broker]: mode = "own" needs ca_file, crl_file, cert_file and key_file',
        ),
        (
            "[device]\nid='a'\n[broker]\naddress = '10.0.0.1/24'\n",
            'agent.toml:4: [broker] address = "10.0.0.1/24"',
        ),
        (
            "[device]\nid='a'\n[[seeds]]\ndevice_id='b'\nhome_broker='mqtt://h'\n[[seeds]]\ndevice_id='B'\n"
            "home_broker='mqtt://h'\n",
            'agent.toml:7: [[seeds]] device_id = "B": id must be',
        ),
        (
            "[device]\nid='a'\n[[seeds]]\ndevice='b'\nhome_broker='mqtt://h'\n",
            "agent.toml:4: [[seeds]] device: unknown key; did you mean device_id?",
        ),
        ("agent = 3\n", "agent.toml:1: [agent]: must be a section with keys"),
        ("influx = 3\n", "agent.toml:1: [influx]: is a list of tables, in a file: write [[influx]]"),
        ("[device]\nid='a'\n[seeds]\n", "agent.toml:3: [seeds]: is a list of tables, in a file: write [[seeds]]"),
        (
            '[device]\nid="a"\n[engine]\nmodel="a\\u001b[2J"\n',
            'agent.toml:4: [engine] model = "a\\u001b[2J": must not hold line breaks or control characters',
        ),
        (
            '[device]\nid="a"\n[[influx]]\nurl="http://h"\ndatabase="a\\nb"\n',
            'agent.toml:5: [[influx]] database = "a\\nb": must not hold line breaks',
        ),
        ("a = " + "[" * 5000, "agent.toml: not valid TOML: a number is too long, or lists lie too deep"),
        ("[agent]\nlayers = " + "9" * 5000, "agent.toml: not valid TOML: a number is too long"),
        ("[device\nid = 'a'\n", "agent.toml:1: not valid TOML: Expected ']'"),
        ("[device]\nid = 'a'\nid = 'b'\n", "agent.toml:3: not valid TOML: Cannot overwrite a value"),
        (
            "[agent]\nfanuot = 2\nqueue_capacityy = 3\n",
            "agent.toml:2: [agent] fanuot: unknown key; did you mean fanout? (and 1 more)",
        ),
    ],
)
def test_a_wrong_file_is_one_line_with_its_place_and_what_is_allowed(write, text, message):
    assert refusal(write(text)).startswith(message)


def test_wrong_values_from_elsewhere_name_that_place(write, monkeypatch):
    path = write(FULL)
    assert refusal(path, {"agent.layers": "x"}).startswith('given agent.layers = "x": must be a whole number')
    assert refusal(path, {"agent.leyers": 1}) == "given agent.leyers: unknown key; did you mean layers?"
    assert refusal(path, {"agent.layers": 99}) == "given agent.layers: layers must be 0 to 8, not 99"
    monkeypatch.setenv("MOAMESH_AGENT__FANOUT", "many")
    assert refusal(path).startswith('environment MOAMESH_AGENT__FANOUT = "many": must be a whole number')
    monkeypatch.delenv("MOAMESH_AGENT__FANOUT")
    monkeypatch.setenv("MOAMESH_AGENT__FANUOT", "2")
    assert refusal(path) == "environment MOAMESH_AGENT__FANUOT: unknown key; did you mean fanout?"
    monkeypatch.delenv("MOAMESH_AGENT__FANUOT")
    monkeypatch.setenv("MOAMESH_ENGNE__KIND", "llama")
    assert refusal(path).startswith("environment MOAMESH_ENGNE: unknown section; did you mean engine?")


@pytest.mark.parametrize(
    ("variable", "value", "said"),
    [
        ("AGENT", "1", "environment MOAMESH_AGENT: must be a section with keys, in JSON"),
        ("AGENT", '{"layers":', "environment MOAMESH_AGENT: must be a section with keys, in JSON"),
        ("AGENT", '{"layers": 99}', "environment MOAMESH_AGENT__LAYERS: layers must be 0 to 8, not 99"),
        ("AGENT", '{"layerz": 1}', "environment MOAMESH_AGENT__LAYERZ: unknown key; did you mean layers?"),
        ("SEEDS", "[" * 5000, "environment MOAMESH_SEEDS: must be a list of sections, in JSON"),
        ("INFLUX", "{}", "environment MOAMESH_INFLUX: must be a list of sections, in JSON"),
        ("INFLUX", "[1]", "environment MOAMESH_INFLUX: must be a section with keys"),
        ("INFLUX", '[{"url": 1}]', "environment MOAMESH_INFLUX url = 1: must be a valid string"),
        ("INFLUX__URL", "http://h", "environment MOAMESH_INFLUX: is a list of tables"),
    ],
)
def test_a_section_in_the_environment_is_refused_in_one_line(variable, value, said, write, monkeypatch):
    monkeypatch.setenv(f"MOAMESH_{variable}", value)
    assert refusal(write("[device]\nid = 'a'\n")).startswith(said)


def test_a_file_that_begins_with_the_mark_of_windows_is_read(write):
    assert load_config(write("\ufeff[device]\nid = 'a'\n")).device.id == "a"


def test_files_that_are_none_are_said_to_be(tmp_path):
    assert refusal(tmp_path / "agent.toml") == "agent.toml: No such file or directory"
    path = tmp_path / "binary.toml"
    path.write_bytes(b"[device]\nid = '\xff'\n")
    assert refusal(path) == "binary.toml:2: not UTF-8 text"
    path.write_bytes(b"#" * (2 << 20))
    assert "too much for a configuration file" in refusal(path)


def test_secrets_never_print(write, tmp_path):
    (tmp_path / "broker-password").write_text("hunter2\nsecond line\n")
    config = load_config(write(FULL), {"engine.api_key": "sk-12345"})
    password = config.broker.read_password()
    assert password.get_secret_value() == "hunter2"
    assert config.engine.api_key.get_secret_value() == "sk-12345"
    assert "sk-12345" not in f"{config!r} {config} {config.model_dump_json()}"
    assert "hunter2" not in f"{password!r} {password}"


@pytest.mark.parametrize(
    "text",
    [
        "[engine]\napi_key = ['sk-12345']\n",
        "[broker]\npassword = 'sk-12345'\n",
        "[broker]\nurls = 'mqtt://me:sk-12345@host:1883'\n",
        "[engine]\nbase_url = 'http://me:sk-12345@host'\n",
        "[engine]\napikey = 'sk-12345'\n",
    ],
)
def test_a_refusal_does_not_repeat_a_secret(write, text):
    message = refusal(write("[device]\nid = 'a'\n" + text))
    assert "sk-12345" not in message
    assert "agent.toml:4" in message


def test_a_password_file_that_cannot_be_read_is_named(write, tmp_path):
    config = load_config(write(FULL))
    with pytest.raises(SettingsError, match=r"\[broker\] password_file .*broker-password: No such file"):
        config.broker.read_password()
    (tmp_path / "broker-password").write_text("x" * 5_000)
    with pytest.raises(SettingsError, match="too long for a secret"):
        config.broker.read_password()


def test_what_is_written_loads_as_the_same(write, tmp_path):
    odd = 'say "hi"\\ \x7f \t Ω 🙂\nnext'
    config = load_config(
        write(FULL), {"engine.api_key": "sk-1", "engine.instruction": odd, "agent.principal_share": 0.5}
    )
    path = tmp_path / "new" / "agent.toml"
    write_config(config, path)
    assert load_config(path) == config
    assert path.stat().st_mode & 0o777 == 0o600
    assert [file.name for file in path.parent.iterdir()] == ["agent.toml"]
    text = tomllib.loads(path.read_text())
    assert text["agent"] == {
        "layers": 1,
        "fanout": 3,
        "deadline_s": "none",
        "join": "quorum(2)",
        "principal_share": 0.5,
    }
    write_config(load_config(path, {"agent.layers": 2}), path)
    assert load_config(path).agent.layers == 2


def test_the_example_is_valid_complete_and_made_from_the_code():
    text = EXAMPLE.read_text()
    assert text == make_example(), "run: python -m edge_agent.config.example > docs/agent.toml"
    config = load_config(EXAMPLE)
    assert config == AgentConfig(device={"id": EXAMPLE_ID})
    values = tomllib.loads(text)
    assert list(values["agent"]) == [field.name for field in fields(AgentSettings)]
    for section in ("device", "broker", "engine", "telemetry"):
        assert set(values[section]) == set(type(getattr(config, section)).model_fields)
    assert "# M: small models in one round gain about nothing, in two a little" in text
    commented = text.replace("# [[seeds]]", "[[seeds]]").replace("# device_id", "device_id")
    assert tomllib.loads(commented.replace("# home_broker", "home_broker"))["seeds"][0]["device_id"] == "pantry"


def test_loading_a_configuration_leaves_an_agent_small():
    program = (
        "import asyncio, json, sqlite3, sys\n"
        "from edge_agent.config import load_config\n"
        "load_config(None, {'device.id': 'a'})\n"
        "status = open('/proc/self/status').read()\n"
        "kib = int(status.split('VmRSS:')[1].split()[0])\n"
        "heavy = [n for n in ('boto3', 'rich', 'typer', 'yaml', 'numpy', 'httpx') if n in sys.modules]\n"
        "print(json.dumps([kib / 1024, heavy]))\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    resident_mib, heavy = json.loads(done.stdout)
    assert heavy == []
    assert resident_mib < 50, "an agent process has 80 MB in all"


INFLUX = """\
[device]
id = "dev-1"

[[influx]]
url = "https://db.local:8086"
org = "home"
token_file = "token"

[[influx]]
url = "http://10.0.0.2:8086/"
kind = "influxdb-1"
username = "dev"
password_file = "none"
"""


def test_databases_are_tables_whose_files_count_from_the_configuration(write, tmp_path):
    config = load_config(write(INFLUX))
    first, second = config.influx
    assert (first.database, first.kind, first.token_file) == ("moamesh", "auto", tmp_path / "token")
    assert (second.username, second.password_file) == ("dev", None)
    write_config(config, tmp_path / "again.toml")
    assert load_config(tmp_path / "again.toml") == config


@pytest.mark.parametrize(
    ("table", "says"),
    [
        ('url = "db.local:8086"', '[[influx]] url = "db.local:8086": must be http://host:port'),
        ('database = "x"', "[[influx]] url: is missing"),
        ('url = "http://u:pw@h"', "[[influx]] url = (not shown): must be http://"),
        ('url = "http://h"\nkind = "influx"', '[[influx]] kind = "influx": must be'),
        ('url = "http://h"\npassword_file = "x"', "password_file needs a username"),
        ('url = "http://h"\nusername = "x"\ntoken_file = "y"', "give a token_file or a username, not both"),
        ('url = "http://h"\ntoken = "geheim"', "[[influx]] token: unknown key; did you mean token_file?"),
    ],
)
def test_a_wrong_database_is_told_in_one_line_without_secrets(write, table, says):
    with pytest.raises(SettingsError) as raised:
        load_config(write(f'[device]\nid = "a"\n[[influx]]\n{table}\n'))
    assert says in str(raised.value)
    assert "geheim" not in str(raised.value)


@pytest.mark.parametrize(
    ("content", "says"),
    [(None, "No such file"), ("\n", "its first line is empty"), ("x" * 5000, "too long for a secret")],
)
def test_a_token_file_that_holds_no_token_is_named(write, tmp_path, content, says):
    if content is not None:
        (tmp_path / "token").write_text(content)
    with pytest.raises(SettingsError, match=says):
        load_config(write(INFLUX)).influx[0].read_token()
