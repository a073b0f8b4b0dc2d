"""When an agent has ended, and when an episode has."""

import numpy as np
from toy_teams import CopyEnv

from rllib_mec.hmppo import Team
from rllib_mec.hmppo.sampling.ends import Ends
from rllib_mec.hmppo.sampling.whole_steps import WholeSteps


class Ending:
    """Two agents; what WholeSteps is told of the first environment."""

    def __init__(self):
        self.team = Team.of_env(CopyEnv())
        self.steps = WholeSteps(self.team, 1)

    def complete(self, observed, terminated=(), truncated=(), over=False):
        seen = {a: np.zeros(self.team.observation_size(a), np.float32) for a in observed}
        ends = [dict.fromkeys(own, True) | {"__all__": over} for own in (terminated, truncated)]
        ends[1]["__all__"] = False
        _, *found = self.steps.complete(0, seen, dict.fromkeys(observed, 1.0), *ends)
        return [own["__all__"] for own in found], {
            a for a, own in seen.items() if np.isnan(own).all()
        }


def test_an_episode_ends_when_each_agent_has_ended():
    one = Ending()
    every = ["leader", "painter", "tail"]
    assert one.complete(every) == ([False, False], set())
    assert one.complete(every, terminated=["leader"]) == ([False, False], {"leader"})
    assert one.complete(["painter", "tail"], terminated=["tail"]) == (
        [False, False],
        {"leader", "tail"},
    )
    # The last observations are there to bootstrap from.
    assert one.complete(["painter"], truncated=["painter"]) == ([False, True], {"leader", "tail"})
    two = Ending()
    assert two.complete(every, terminated=every) == ([True, False], set())


def test_an_agent_that_has_ended_may_come_again():
    one = Ending()
    every = ["leader", "painter", "tail"]
    one.complete(every, terminated=["leader", "painter"])
    assert one.complete(["leader", "tail"]) == ([False, False], {"painter"})
    assert one.complete(["leader", "tail"], terminated=["tail"]) == (
        [False, False],
        {"painter", "tail"},
    )


def test_who_came_again_has_not_ended():
    """Even if all were there in between, for whom nothing has to be filled in."""
    one = Ending()
    every = ["leader", "painter", "tail"]
    one.complete(every, terminated=["leader", "painter"])
    assert one.complete(every) == ([False, False], set())
    assert one.complete(["tail"], terminated=["tail"]) == ([False, False], set(every))


def test_what_ends_of_its_own_as_it_is_cut_off_has_ended_of_its_own():
    ends = Ends(["a", "b"])
    both = {"__all__": True}
    assert ends.step({"a", "b"}, both, both) == (True, False, set())
    ends.begin()
    assert ends.step({"a"}, {"b": True}, {"b": True}) == (False, False, {"b"})
    assert ends.step({"a"}, {"a": True}, {"a": True}) == (True, False, set())
    ends.begin()
    assert ends.step({"a"}, {"b": True}, {}) == (False, False, {"b"})
    assert ends.step({"a"}, {}, {"a": True}) == (False, True, set())
