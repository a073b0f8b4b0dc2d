"""Worlds of particles, B at once: the physics of MPE (Lowe et al., arXiv 1706.02275), as in mpe2.

In a step of 0.1 s a particle of mass 1 first moves with the velocity it has, then loses a quarter
of that, then is accelerated by what drives it and by the particles that it touches.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

STEP_S = 0.1
DAMPING = 0.25
CONTACT_FORCE = 100.0
CONTACT_MARGIN = 1e-3
DRIVE = 5.0
"""Force of an agent that moves."""

# Nothing, left, right, down, up.
_DIRECTIONS = np.array([[0.0, 0.0], [-1.0, 0.0], [1.0, 0.0], [0.0, -1.0], [0.0, 1.0]])


class Particles:
    """A agents in each of B worlds, which push each other apart if they have a radius.

    Attributes:
        position, velocity: (B, A, 2). landmarks: which do not move, (B, L, 2).
    """

    def __init__(self, position: Floats, landmarks: Floats, radius: float | None = None) -> None:
        self.position, self.landmarks, self.radius = position, landmarks, radius
        self.velocity = np.zeros_like(position)

    def step(self, force: Floats) -> None:
        """Moves all agents, which are driven by this force, (B, A, 2)."""
        if self.radius is not None:
            force = force + self._contact()
        self.position = self.coming()
        self.velocity = self.velocity * (1 - DAMPING) + force * STEP_S

    def coming(self) -> Floats:
        """Where agents will be after the next step, whatever drives them in it, (B, A, 2)."""
        return self.position + self.velocity * STEP_S

    def touching(self, position: Floats) -> NDArray[np.bool_]:
        """Which agents would overlap which others at these positions, (B, A, A)."""
        if self.radius is None:
            return np.zeros((*position.shape[:2], position.shape[1]), dtype=bool)
        _, distance = self._apart(position)
        return distance < 2 * self.radius

    @staticmethod
    def _apart(position: Floats) -> tuple[Floats, Floats]:
        """Vectors from agent j to agent i and their lengths, (B, A, A, 2) and (B, A, A)."""
        apart = position[:, :, None] - position[:, None]
        distance = np.sqrt(np.square(apart).sum(axis=-1))
        own = np.arange(distance.shape[-1])
        distance[:, own, own] = np.inf  # nobody touches itself
        return apart, distance

    def _contact(self) -> Floats:
        """Force of all others on each agent: a soft wall where two of them begin to overlap."""
        assert self.radius is not None
        apart, distance = self._apart(self.position)
        depth = np.logaddexp(0, (2 * self.radius - distance) / CONTACT_MARGIN) * CONTACT_MARGIN
        return ((CONTACT_FORCE * depth / distance)[..., None] * apart).sum(axis=2)


def relative(positions: Floats, to: Floats) -> Floats:
    """``positions``, (B, M, 2), as seen from each of ``to``, (B, A, 2), flat: (B, A, 2 M)."""
    seen = positions[:, None] - to[:, :, None]
    return seen.reshape(*seen.shape[:2], -1)


def drive(actions: Floats, continuous: bool) -> Floats:
    """The force of agents that choose a direction, (B, A) or (B, A, 5), as (B, A, 2).

    >>> drive(np.array([[2, 3]]), continuous=False).tolist()
    [[[5.0, 0.0], [0.0, -5.0]]]
    """
    chosen = actions @ _DIRECTIONS if continuous else _DIRECTIONS[actions.astype(np.intp)]
    return DRIVE * chosen
