"""What must hold whatever happens, one promise in each file. A broken one is raised as `Violation`."""

from __future__ import annotations

from edge_agent.core.settings import AgentSettings
from edge_agent.lab.simulator.checkers.answers_kept import AnswersKept
from edge_agent.lab.simulator.checkers.base import Checker, Violation
from edge_agent.lab.simulator.checkers.bounds import Bounds
from edge_agent.lab.simulator.checkers.durable import Durable
from edge_agent.lab.simulator.checkers.ends_once import EndsOnce
from edge_agent.lab.simulator.checkers.fair import FairShares
from edge_agent.lab.simulator.checkers.first_come import FirstCome
from edge_agent.lab.simulator.checkers.in_time import InTime
from edge_agent.lab.simulator.checkers.lost_origins import LostOrigins
from edge_agent.lab.simulator.checkers.nothing_left import NothingLeft
from edge_agent.lab.simulator.checkers.one_end import OneEnd
from edge_agent.lab.simulator.checkers.only_wanted import OnlyWanted
from edge_agent.lab.simulator.checkers.owed import Owed
from edge_agent.lab.simulator.checkers.own_answers import OwnAnswers
from edge_agent.lab.simulator.checkers.own_words import OwnWords
from edge_agent.lab.simulator.checkers.runs_in_time import RunsInTime
from edge_agent.lab.simulator.checkers.served_once import ServedOnce
from edge_agent.lab.simulator.checkers.sizes import Sizes
from edge_agent.lab.simulator.checkers.twins import Twins
from edge_agent.lab.simulator.checkers.unable import Unable
from edge_agent.lab.simulator.checkers.views_converge import ViewsConverge

__all__ = ["Checker", "EndsOnce", "Violation", "all_checkers"]


def all_checkers(settings: AgentSettings) -> list[Checker]:
    """Returns one of each, for devices with these settings. `EndsOnce` comes first."""
    of_ends = [EndsOnce(), OneEnd(), Owed()]
    return [
        *of_ends,
        Durable(),
        AnswersKept(settings, of_ends),
        OwnAnswers(),
        Bounds(settings),
        FairShares(settings),
        FirstCome(),
        ServedOnce(),
        OnlyWanted(),
        InTime(),
        RunsInTime(),
        LostOrigins(),
        Unable(),
        Twins(),
        Sizes(),
        OwnWords(),
        NothingLeft(),
        ViewsConverge(settings.view_size_max),
    ]
