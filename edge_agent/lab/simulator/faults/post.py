"""What devices send, on its way: through their transports to the broker, and from there to devices and users.

Stands for transport and runtime together. A body over a limit never arrives: its sender is told, as the core is owed.
"""

from __future__ import annotations

from edge_agent.core import effects as fx
from edge_agent.core import events as ev
from edge_agent.core.messages import (
    Answer,
    AnswersPage,
    Presence,
    PromptReceipt,
    PromptRefusal,
    ProposalRequest,
    ProposalResponse,
)
from edge_agent.lab.simulator.checkers import Checker
from edge_agent.lab.simulator.cluster import FOREVER, Cluster
from edge_agent.lab.simulator.faults.broker import Broker
from edge_agent.lab.simulator.faults.kinds import FaultKind
from edge_agent.lab.simulator.faults.liars import Liars
from edge_agent.lab.simulator.faults.plan import FAULTS_S, Plan
from edge_agent.lab.simulator.faults.sizes import body_size, is_too_large, message_room
from edge_agent.lab.simulator.faults.transport import Outgoing, Transport
from edge_agent.lab.simulator.faults.users import Users
from edge_agent.lab.simulator.network import Network
from edge_agent.wire.codec import encode

_TAKEN_S = 0.02  # from sending something to a user to the broker's having it
_CONFIRMED_S = 0.05  # and to the device's knowing that


class Post:
    """The transports of all devices, and where what they send comes to."""

    def __init__(
        self,
        plan: Plan,
        cluster: Cluster,
        network: Network,
        broker: Broker,
        users: Users,
        checkers: list[Checker],
        liars: Liars,
    ) -> None:
        self.number = {name: device for device, name in reversed(list(enumerate(cluster.names)))}
        """The device that has an id; of two, the one that last took over the session."""
        self._plan = plan
        self._cluster = cluster
        self._network = network
        self._broker = broker
        self._users = users
        self._checkers = checkers
        self._liars = liars
        self._limited = FaultKind.SIZES in plan.kinds
        self.transports = [self._new(device) for device in range(cluster.size)]
        cluster.carry_out_with(fx.SendToDevice, self._to_device)
        cluster.carry_out_with(fx.SendToUser, self._to_user)
        cluster.carry_out_with(
            fx.PublishPresence, lambda device, effect: self.transports[device].greet(effect.presence)
        )

    def restarted(self, device: int) -> Transport:
        """A new process has a transport of its own, which has not started yet; what the former one held is lost."""
        self.transports[device] = transport = self._new(device)
        return transport

    def user_sends(self, device: int, event: ev.Event) -> None:
        """A user's word to a device sets out."""
        if self._broker.up:
            self._network.send(self._cluster.now, -1, self.number[self._cluster.names[device]], event)

    def _new(self, device: int) -> Transport:
        plan = self._plan
        return Transport(
            strict=FaultKind.TRANSPORT in plan.kinds,
            items_max=plan.outbox_max,
            keeps_peers=plan.network.outbox_keeps,
            hand_over=lambda item: self._hand_over(device, item),
            on_dropped=lambda item: self.dropped(device, item),
        )

    def _to_device(self, device: int, effect: fx.SendToDevice) -> None:
        self._cluster.messages += 1
        expires = effect.expires_in_s
        if effect.device_id in self.number and not (self._limited and self._refused(device, effect)):
            self.transports[device].send(
                Outgoing(effect, effect.message, FOREVER if expires is None else self._cluster.now + expires)
            )

    def _to_user(self, device: int, effect: fx.SendToUser) -> None:
        item = Outgoing(effect, effect.message)
        shut_out = effect.reply.principal == self._plan.shut_out and self._cluster.now < FAULTS_S
        if shut_out and isinstance(effect.message, Answer):
            self.dropped(device, item)
            return
        if self._limited and isinstance(effect.message, Answer):
            size = len(encode(effect.message, effect.reply.body_id))
            if is_too_large(size, self._broker.packet_bytes_max):
                self.dropped(device, item)
                return
        self.transports[device].send(item)

    def dropped(self, device: int, item: Outgoing) -> None:
        """The transport's word to the core on an answer that goes no further."""
        if isinstance(item.effect, fx.SendToUser) and isinstance(item.message, Answer):
            self._sent(device, item.message, item.effect.reply, delivered=False)

    def _sent(self, device: int, answer: Answer, reply: ev.ReplyRoute, *, delivered: bool) -> None:
        word = ev.AnswerSent(answer.prompt_id, reply, delivered)
        self._cluster.post(self._cluster.now, device, word)

    def _refused(self, device: int, effect: fx.SendToDevice) -> bool:
        """Whether a message is over a limit; then its sender is told."""
        size = body_size(effect.message)
        if not is_too_large(size, self._broker.packet_bytes_max):
            return False
        told = message_room(self._broker.packet_bytes_max) if self.transports[device].connected else None
        for checker in self._checkers:
            checker.too_large(device, effect, size, told)
        self.tell_refused(device, effect, size)
        return True

    def tell_refused(self, device: int, effect: fx.SendToDevice, size: int) -> None:
        """The transport's word to the core on a message that nobody can be sent."""
        if isinstance(effect.message, ProposalRequest | ProposalResponse):
            detail = f"a body of {size} bytes is more than the broker takes"
            event = ev.SendFailed(effect.device_id, effect.message.request_id, detail)
            self._cluster.post(self._cluster.now, device, event)

    # --- at the broker ----------------------------------------------------------------------------------------------

    def _hand_over(self, device: int, item: Outgoing) -> bool:
        effect, now = item.effect, self._cluster.now
        if isinstance(effect, fx.SendToDevice):
            left = None if item.expires_at == FOREVER else item.expires_at - now
            receiver = self.number[effect.device_id]
            message = self._liars.incoming(self._liars.outgoing(device, effect.message))
            if message is not None:
                self._network.send(now, device, receiver, ev.PeerMessageReceived(message), left)
        elif isinstance(effect, fx.SendToUser):
            if isinstance(effect.message, Answer | AnswersPage | PromptReceipt | PromptRefusal):
                self._on_its_way(device, item, effect)
                return True
        elif isinstance(item.message, Presence):
            presence = self._liars.incoming(self._liars.outgoing(device, item.message))
            if isinstance(presence, Presence):
                self._broker.publish(device, presence)
        return False

    def _on_its_way(self, device: int, item: Outgoing, effect: fx.SendToUser) -> None:
        """The broker has it a little later, and the device knows that later still, unless the connection is lost."""
        cluster, transport = self._cluster, self.transports[device]
        connections = transport.connections

        def holds() -> bool:
            return (
                self.transports[device] is transport
                and transport.connected
                and transport.connections == connections
                and cluster.agents[device] is not None
            )

        def taken() -> None:
            if holds():
                self._users.receive(device, effect.reply.inbox, effect.message)
                if isinstance(effect.message, Answer):
                    for checker in self._checkers:
                        checker.told(device, effect.reply.inbox, effect.message)

        def confirmed() -> None:
            if holds() and transport.confirmed(item.sequence) and isinstance(effect.message, Answer):
                for checker in self._checkers:
                    checker.delivered(device, effect.reply.inbox, effect.message.prompt_id)
                self._sent(device, effect.message, effect.reply, delivered=True)

        cluster.at(cluster.now + _TAKEN_S, taken)
        cluster.at(cluster.now + _CONFIRMED_S, confirmed)
