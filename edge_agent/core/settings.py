"""What can be turned in the core, what moves when it is turned, and the bound of everything that could grow.

Every buffer of the core has its bound here, with the reason for its default.
"""

from __future__ import annotations

from dataclasses import dataclass

from edge_agent.core.errors import SettingsError
from edge_agent.core.messages import FANOUT_MAX, LAYERS_MAX, OUTPUT_TOKENS_MAX, Sampling

SLOTS_MAX = 64
"""Items that an engine works on at once, at most: beyond some dozen a small device gains nothing more."""
PARAMETERS_MAX = 10**13
"""Of a model, at most: ten times what the largest open ones have."""
UNBOUNDED = 2**31 - 1
"""A capacity that is never reached: for comparison with theory of unbounded queues, not for devices."""


@dataclass(frozen=True, slots=True)
class DeviceIdentity:
    """Who this device is, as others see it."""

    device_id: str
    home_broker: str = ""
    model: str = "unknown"
    model_family: str = "unknown"
    parameter_count: int | None = None
    """Of its model; `None` if that is not known."""
    synthetic: bool = False
    version: str = ""
    install: str = ""
    """What its installation is called where everybody reads it."""
    nonce: str = ""
    """Of this run of it alone: letters and digits, at most 16."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """How a device behaves. The defaults suit a mesh of Raspberry Pi class devices with small LLMs."""

    # What a prompt gets that does not say otherwise.
    layers: int = 2  # M: small models in one round gain about nothing, in two a little
    fanout: int = 2  # k: each step up costs M more proposals a prompt across the mesh
    deadline_s: float | None = 300.0  # None: never; only for simulations that must match theory

    # What one prompt may ask for. Lower: a user costs the mesh less; who asks for more is refused in words.
    prompt_layers_max: int = LAYERS_MAX  # a prompt is (k+1)M+1 inferences across the mesh; not below `layers`
    prompt_fanout_max: int = FANOUT_MAX  # not below `fanout`
    prompt_output_tokens_max: int = OUTPUT_TOKENS_MAX  # of each inference; not below 256, what prompts ask for unasked

    # The inference queue. More places: fewer refusals, longer waits.
    queue_capacity: int = 32  # items waiting and running; at 10 s an item already over 5 minutes of wait
    queue_bytes_max: int = 8 * 1024 * 1024  # of prompt and reference text held
    inference_attempts_max: int = 2  # a crash of the engine costs one retry, not the prompt
    queue_work_max: int = 128 * 1024  # output tokens that may still be asked of the engine: 32 places of 4,096
    # Of places, bytes and work: what each may have, and is kept free for others. Lower: fairer to many; 1: no shares.
    principal_share: float = 0.25  # and who has more is passed in line, but for one turn in eight (2 / 0.25)

    # How often each user and each other device may speak. Lower: a flood costs less, and a burst of work is cut sooner.
    message_rate_hz: float = 200.0  # messages a second in the long run; what is over it is refused unread
    message_burst: int = 1_000  # at once, after silence: of a peer that takes part in dozens of prompts a second

    # Talking to peers. Shorter timeouts: quicker substitutes, more false suspicion.
    receipt_timeout_s: float = 2.0  # at most and at first: far above a busy loop's delay, far below an inference
    receipt_timeout_min_s: float = 0.25  # at least, when receipts come quickly; as long as the line above: not learnt
    request_sends_max: int = 2  # one lost message is no reason to suspect a peer
    probe_interval_s: float = 15.0  # a queued request is asked after this often: finds peers that died in silence
    substitutes_max: int = 4  # per layer: bounds the messages of a prompt in a mesh where all are busy
    response_bytes_max: int = 32 * 1024  # a longer response is cut: 8,192 tokens of 4 bytes
    prompt_bytes_max: int = 128 * 1024  # prompt text; references get what it leaves of a message
    message_bytes_max: int = 256 * 1024  # on the wire; a broker that takes less says so and counts instead

    # Membership. Shorter: failures are seen sooner, more background traffic.
    gossip_interval_s: float | None = 2.0  # None: no gossip (a complete view is given)
    gossip_sample: int = 8  # entries in an exchange beside the sender's own
    suspect_after_s: float = 10.0  # five exchanges without news; views over gossip_sample wait longer in proportion
    dead_after_s: float = 30.0  # suspects are kept this long for a refutation
    view_size_max: int = 128  # peers known; up to this many devices selection is exactly uniform
    resume_grace_s: float = 5.0  # restored sessions wait this long for peers to show up

    session_restarts_max: int = 8  # a prompt that takes its device down each time must not do so for ever

    # Policies by name, some with an argument in brackets: docs/POLICIES.md. Installed packages may bring more.
    peer_selection: str = "uniform"  # two-choices, choices(d), latency-threshold(share), budget(s), diverse, same-model
    response_selection: str = "all"  # consensus(s), judge(s), scored(s): s responses of a layer stay
    join: str = "wait-for-all"  # quorum(r): go on with r responses and cancel the rest
    early_stop: str = "never"  # agreement(similarity), judge: no more layers than needed
    layer_plan: str = "fixed"  # adaptive: fewer layers and peers under overload

    # Memory of what is over.
    responses_kept_max: int = 256  # for repeats of finished requests
    answers_kept_s: float = 3_600.0  # for repeats of finished prompts
    answers_bytes_max: int = 8 * 1024 * 1024  # of kept answers, those of who keeps most go first: 2,000 of 4 KiB

    journal: bool = True  # False: nothing is kept over a restart and receipts say so; for simulations of load

    # Telemetry.
    status_interval_s: float | None = 5.0  # None: no status (simulations that count for themselves)
    stability_target: float = 1.0  # utilisation at which the margin is zero

    def __post_init__(self) -> None:
        positive = (
            "message_rate_hz message_burst"
            " queue_capacity queue_bytes_max queue_work_max receipt_timeout_s receipt_timeout_min_s request_sends_max"
            " probe_interval_s response_bytes_max prompt_bytes_max message_bytes_max gossip_sample suspect_after_s"
            " dead_after_s view_size_max"
            " responses_kept_max answers_bytes_max answers_kept_s session_restarts_max inference_attempts_max"
            " stability_target"
        )
        for name in positive.split():
            if not getattr(self, name) > 0:
                raise SettingsError(f"{name} must be above 0, not {getattr(self, name)}")
        for name in ("deadline_s", "gossip_interval_s", "status_interval_s"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise SettingsError(f"{name} must be above 0, not {value}")
        if not 0 <= self.layers <= LAYERS_MAX:
            raise SettingsError(f"layers must be 0 to {LAYERS_MAX}, not {self.layers}")
        if not 0 <= self.fanout <= FANOUT_MAX:
            raise SettingsError(f"fanout must be 0 to {FANOUT_MAX}, not {self.fanout}")
        for name, least, most in (
            ("prompt_layers_max", self.layers, LAYERS_MAX),
            ("prompt_fanout_max", self.fanout, FANOUT_MAX),
            ("prompt_output_tokens_max", Sampling().max_output_tokens, OUTPUT_TOKENS_MAX),
        ):
            if not least <= getattr(self, name) <= most:
                raise SettingsError(f"{name} must be {least} to {most}, not {getattr(self, name)}")
        if not 0 < self.principal_share <= 1:
            raise SettingsError(f"principal_share must be above 0 and at most 1, not {self.principal_share}")
        if self.substitutes_max < 0 or self.resume_grace_s < 0:
            raise SettingsError("substitutes_max and resume_grace_s must not be negative")
