"""Members of groups in order: RLlib collects who has stepped as a set, whose order is any."""

from __future__ import annotations

from typing import Any

from ray.rllib.connectors.common import AgentToModuleMapping
from ray.rllib.connectors.connector_v2 import ConnectorV2

from rllib_mec.errors import InputError
from rllib_mec.hmppo.groups import Members


def order_members(pipeline: Any, members: Members) -> None:
    """Puts the connector into an env-to-module pipeline, if there are groups.

    It comes before RLlib's ``AgentToModuleMapping``, which then takes up the rows of a module, and
    gives back what the module says of them, in that order.

    Raises:
        InputError: the pipeline lacks RLlib's own connectors.
    """
    if not members:
        return
    if not any(isinstance(own, AgentToModuleMapping) for own in pipeline.connectors):
        raise InputError(
            "add_default_connectors_to_env_to_module_pipeline = False: expected true with groups "
            "of agents"
        )
    pipeline.insert_before(AgentToModuleMapping, OrderMembers(members))


class OrderMembers(ConnectorV2):
    """Env-to-module connector: each episode's rows of a group in the order of its members."""

    def __init__(self, members: Members, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        order = [agent for ids in members.values() for agent in ids]
        self._position = {agent: index for index, agent in enumerate(order)}

    def __call__(self, *, batch: dict[str, Any], rl_module: Any, **kwargs: Any) -> dict[str, Any]:
        # What a connector of the user's has put under a module already has an order.
        modules = () if rl_module is None else rl_module
        return {
            column: rows if column in modules else self._ordered(rows)
            for column, rows in batch.items()
        }

    def _ordered(self, rows: Any) -> Any:
        """Rows by (episode, agent, module), as many as they were."""
        episodes = {key[0]: None for key in rows}
        number = {episode: index for index, episode in enumerate(episodes)}

        def place(key: Any) -> tuple[int, int]:
            return number[key[0]], self._position.get(key[1], -1)

        return {key: rows[key] for key in sorted(rows, key=place)}
