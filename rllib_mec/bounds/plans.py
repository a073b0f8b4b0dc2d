"""What is best for a UE alone, by dynamic programming over the emulator that it has cached.

Axes: t step, b environment, i UE, e emulator. Where one is cached, the last e is none.
"""

from __future__ import annotations

import abc
import dataclasses
from typing import NamedTuple

import numpy as np

from rllib_mec.system.radio import Bools, Floats, Ints


@dataclasses.dataclass(frozen=True)
class Priced:
    """What each UE pays, [t, b, i]; those named ``_of_e`` are per unit of E.

    active: which have a task; the others do nothing and pay nothing. retention: E, [e].
    served: training on the server. local, local_of_e: training locally, beside ``quality``, the
    cost of its perplexity, [t, b, i, e]. load, load_of_e: the download of an emulator. owned_of_e:
    what it costs less for each unit of E that is owned.
    """

    active: Bools
    retention: Floats
    quality: Floats
    served: Floats
    local: Floats
    local_of_e: Floats
    load: Floats
    load_of_e: Floats
    owned_of_e: Floats

    def local_cost(self, t: int) -> Floats:
        """Cost of training locally with each emulator in a step, [b, i, e]."""
        cost: Floats = self.quality[t] + self.local_of_e[t, ..., None] * self.retention
        cost += self.local[t, ..., None]
        return cost


class Done(NamedTuple):
    """What the UEs do in a step, [b, i] each.

    uploads, downloads: which UEs do so. size: E that they train with locally, or 0. saved: E that
    those owned who download. cached: index of what is cached then.
    """

    uploads: Bools
    downloads: Bools
    size: Floats
    saved: Floats
    cached: Ints


class Plan(abc.ABC):
    """What is best for each UE in each step.

    Attributes:
        cost: the least costs of all UEs, [b]. first: what is cached at first, nothing, [b, i].
    """

    def __init__(self, priced: Priced) -> None:
        shape, num = priced.served.shape, len(priced.retention)
        self._priced, self._num = priced, num
        # The least cost from each step on with each emulator cached.
        self._ahead = np.zeros((shape[0] + 1, *shape[1:], num + 1))
        self._sizes = np.append(priced.retention, 0.0)
        self._at = tuple(np.ogrid[: shape[1], : shape[2]])
        for t in reversed(range(shape[0])):
            self._step_back(t)
        self.first: Ints = np.full(shape[1:], num)
        self.cost: Floats = self._ahead[0, ..., num].sum(axis=-1)

    @abc.abstractmethod
    def _step_back(self, t: int) -> None:
        """Fills in ``_ahead[t]``."""

    @abc.abstractmethod
    def follow(self, t: int, cached: Ints) -> Done:
        """Returns what is best in a step, given what is cached, [b, i]."""


class WholeEmulators(Plan):
    """UEs that download whole emulators, and train with the one they have cached."""

    def __init__(self, priced: Priced) -> None:
        # The least cost from each step on with a download there, and which.
        self._new = np.empty(priced.served.shape)
        self._chosen = np.empty(priced.served.shape, dtype=np.intp)
        super().__init__(priced)

    def _step_back(self, t: int) -> None:
        priced, following = self._priced, self._ahead[t + 1]
        here = priced.local_cost(t)
        here += following[..., :-1]
        loaded = here + priced.load_of_e[t, ..., None] * priced.retention
        chosen = loaded.argmin(axis=-1)
        new = np.take_along_axis(loaded, chosen[..., None], axis=-1)[..., 0] + priced.load[t]
        self._chosen[t], self._new[t] = chosen, new
        now = self._ahead[t]
        np.minimum(priced.served[t, ..., None] + following, new[..., None], out=now)
        np.minimum(now[..., :-1], here, out=now[..., :-1])
        np.copyto(now, following, where=~priced.active[t, ..., None])

    def follow(self, t: int, cached: Ints) -> Done:
        priced, num, at = self._priced, self._num, self._at
        later = self._ahead[t + 1][(*at, cached)]
        quality = priced.quality[t][(*at, np.minimum(cached, num - 1))]
        keep = quality + priced.local[t] + priced.local_of_e[t] * self._sizes[cached] + later
        keep = np.where(cached < num, keep, np.inf)
        serve, new, active = priced.served[t] + later, self._new[t], priced.active[t]
        uploads = active & (serve < np.minimum(keep, new))
        downloads = active & ~uploads & (new < keep)
        cached = np.where(downloads, self._chosen[t], cached)
        size = (active & ~uploads) * self._sizes[cached]
        return Done(uploads, downloads, size, np.zeros(size.shape), cached)


class MissingLayers(Plan):
    """UEs that download what is missing, and train with any emulator up to the one cached."""

    def _with_download(self, t: int, local: Floats) -> Floats:
        """Costs of training with each emulator, downloaded by a UE that owns nothing, and later."""
        priced = self._priced
        loaded = local + priced.load_of_e[t, ..., None] * priced.retention
        loaded += priced.load[t, ..., None]
        loaded += self._ahead[t + 1][..., :-1]
        return loaded

    def _step_back(self, t: int) -> None:
        priced, following, now = self._priced, self._ahead[t + 1], self._ahead[t]
        local = priced.local_cost(t)
        loaded = self._with_download(t, local)
        # Of each emulator: the best up to it, and, of each that is cached, the best beyond it.
        cut = np.minimum.accumulate(local, axis=-1)
        larger = np.minimum.accumulate(loaded[..., ::-1], axis=-1)[..., ::-1]
        np.add(priced.served[t, ..., None], following, out=now)
        np.minimum(now[..., :-1], cut + following[..., :-1], out=now[..., :-1])
        saved = priced.owned_of_e[t, ..., None] * priced.retention[:-1]
        np.minimum(now[..., :-2], larger[..., 1:] - saved, out=now[..., :-2])
        np.minimum(now[..., -1], larger[..., 0], out=now[..., -1])
        np.copyto(now, following, where=~priced.active[t, ..., None])

    def follow(self, t: int, cached: Ints) -> Done:
        priced, num, at = self._priced, self._num, self._at
        later, owned = self._ahead[t + 1][(*at, cached)], self._sizes[cached]
        local = priced.local_cost(t)
        loaded = self._with_download(t, local)
        loaded -= (priced.owned_of_e[t] * owned)[..., None]
        largest = np.where(cached < num, cached, -1)
        local += later[..., None]
        costs = np.where(np.arange(num) <= largest[..., None], local, loaded)
        chosen = costs.argmin(axis=-1)
        best = np.take_along_axis(costs, chosen[..., None], axis=-1)[..., 0]
        active = priced.active[t]
        uploads = active & (priced.served[t] + later < best)
        downloads = active & ~uploads & (chosen > largest)
        size = (active & ~uploads) * self._sizes[chosen]
        return Done(
            uploads, downloads, size, downloads * owned, np.where(downloads, chosen, cached)
        )
