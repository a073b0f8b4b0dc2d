"""An upper bound on the reward of an episode, all its draws known, for any number of UEs.

Costs are minus rewards. A step costs the perplexity of each UE's task and the energy it takes, and
the delay of the slowest UE, which alone ties the UEs together. Inequalities untie them. Let n UEs
have a task in a step, UE i of which uploads in u_i(k) seconds if k do so, gets its adapter back
in b_i(k) and sends it in v_i(k), keeps the server busy for q_i, trains locally in E c_i and
downloads in (E - O) a_i(d), a_i(d) = d a_i(1), if d download. O is what it owns of E: nothing, or
with ``emulator_download: missing`` the largest retention that it ever had; then it also trains
with any smaller E without a download. (With ``downlink_sharing: printed`` others do not slow a
download: a_i(1) / n then takes the place of a_i(1) in 2.)

1. On a link, a rate times the number k of those who share it never falls with k: on the downlink
   it stays, for bandwidth and power are both shared, so that the SNR stays; on the uplink, where
   bandwidth alone is shared, it grows. So u_i(k), v_i(k) and b_i(k) never fall with k, and divided
   by k they never rise. With S the set of the k UEs served, all of which wait for the queue,

       delay >= max_S (u_i(k) + b_i(k)) + sum_S q_i >= sum_S (u_i(k) + b_i(k)) / k + sum_S q_i
             >= sum_S ((u_i(n) + b_i(n)) / n + q_i),

   and with ``server_queue: none`` the same with q_i / n.
2. With D the set of the d UEs that download and E_i what UE i trains with,

       delay >= mean_D (d a_i(1) (E_i - O_i) + c_i E_i + v_i)
             >= sum_D (a_i(1) (E_i - O_i) + (c_i E_i + v_i(1)) / n).
3. The delay is at least what UE i takes by itself: u_i(1) + b_i(1) + q_i if it is served, else
   c_i E_i + v_i(1), and a_i(1) (E_i - O_i) more if it downloads.
4. So in each step the delay is at least any convex combination of these n + 2 sums. What a UE
   sends costs the energy of p u_i(1) or p v_i(1) at least.
5. Of a battery, local training takes what it holds at first at most: it never starts with less than
   it takes, and what is left never exceeds what was there less what was trained. With a price
   nu >= 0 on it, nu times the overdraft, which is not positive, is added to the cost.

Whatever the weights of 4 and the prices of 5 are, an episode then costs at least the sum over UEs
of the least cost of one UE alone, found by dynamic programming over the emulator that the UE has
cached. UEs without a task cost nothing and keep what they hold. Each choice of the weights gives a
bound, and the bound is concave in them, with the sums of 1 to 3 as its supergradient. The ascent
ends early, which costs nothing but tightness.

In ``layers``, E has a grid. Else the dynamic programming takes points, and there perplexities that
are lower than the curves by at most what chords of the curves lie above them, in the cells on both
sides. This is a bound, too. The line through the lowered points lies below the chord of each cell,
lowered for that cell, and so below the curve; to put it in the curve's place costs nothing but
tightness. Take any plan of the UE, keep what it does in each step (upload, train without a
download, download), and move the E's of its steps, each within its cell. The cost is then linear in
them: perplexities are, training is, and so are downloads, each a price times E - O, where O is 0 or
the E of an earlier step. So it is least at a vertex of what the E's may be.

- With whole emulators, all steps between two downloads have the same E, which has the ends of its
  cell as vertices.
- With missing layers, E is at most that of the last download where there is none, and at least that
  where there is one. Limits on single E's and on differences of two, all of them points of the grid
  or 0, have vertices on the grid: at any other plan, the E's off the grid that equal one of them
  could move up and down together. If a download becomes one of nothing there, the UE could as well
  train without, which costs no more.

So a plan on the grid costs no more than the one taken. (Curves are sampled within cells; what could
be missed between samples is below the margin taken, which their second derivatives widen where they
are large.) A UE's largest E is rounded up.
"""

from __future__ import annotations

import numpy as np

from rllib_mec.bounds.alone import CELLS, Alone
from rllib_mec.bounds.ascent import Ascent
from rllib_mec.errors import InputError
from rllib_mec.system import Scenario
from rllib_mec.system.emulator import highest_useful_retention
from rllib_mec.system.fixed import reward_of_fixed
from rllib_mec.system.radio import Floats
from rllib_mec.system.tasks import Episode

_CHUNK = 4_000_000
"""Numbers in the largest array, (steps, environments, UEs, emulators)."""


def upper_bound(scenario: Scenario, episode: Episode) -> Floats:
    """Returns what no policy's reward exceeds in each environment's episode, (B,).

    Args:
        episode: all draws, T and N being those of the scenario.

    Raises:
        InputError: the episode is not one of this scenario.
    """
    num_tasks, num_ues = scenario.num_tasks, scenario.num_ues
    steps, num_envs, ues = episode.tasks.gain.shape
    if (steps, ues) != (num_tasks + 1, num_ues):
        raise InputError(
            f"episode: {steps} tasks of {ues} UEs: expected {num_tasks + 1} of {num_ues}"
        )
    size = max(_CHUNK // (num_tasks * num_ues * (CELLS + 2)), 1)
    bounds = np.empty(num_envs)
    for start in range(0, num_envs, size):
        rows = slice(start, start + size)
        part = Episode(
            episode.tasks.take((slice(None, -1), rows)),
            episode.first_gain[rows],
            episode.devices.take(rows),
        )
        bounds[rows] = -least_cost(scenario, part)
    return bounds


def least_cost(scenario: Scenario, episode: Episode) -> Floats:
    """Returns the highest lower bound on the cost that the ascent finds, (B,)."""
    alone = Alone(scenario, episode)
    ascent = Ascent(alone.active, alone.battery_kj, _reached(scenario, episode))
    while ascent.goes_on:
        ascent.step(alone.solve(ascent.weights, ascent.per_kj))
    return ascent.highest


def _reached(scenario: Scenario, episode: Episode) -> Floats:
    """What the better of two policies costs, hold and all-server, (B,)."""
    shape = episode.first_gain.shape
    held = np.full(shape, highest_useful_retention(scenario))
    if episode.devices.most_retention is not None:
        held = np.minimum(held, episode.devices.most_retention)
    return np.minimum(
        *(
            -reward_of_fixed(scenario, episode, np.full(shape, server), held)
            for server in (False, True)
        )
    )
