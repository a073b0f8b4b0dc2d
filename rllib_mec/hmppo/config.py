"""The configuration of HMPPO."""

from __future__ import annotations

from typing import Any

from ray.rllib.algorithms.algorithm_config import NotProvided
from ray.rllib.algorithms.ppo import PPOConfig
from ray.rllib.connectors.learner import LearnerConnectorPipeline
from ray.rllib.policy.policy import PolicySpec
from typing_extensions import Self

from rllib_mec.hmppo.config_checks import (
    check_modules_are_ours,
    check_sample_ahead,
    check_settings,
)
from rllib_mec.hmppo.groups import AgentGroups, ModuleOfMember
from rllib_mec.hmppo.learning.episodes_to_team_batch import EpisodesToTeamBatch
from rllib_mec.hmppo.model_settings import MODEL_DEFAULTS, checked_networks
from rllib_mec.hmppo.module_specs import critic_plan, module_spec
from rllib_mec.hmppo.modules.actor import Actor
from rllib_mec.hmppo.modules.critic import Critic
from rllib_mec.hmppo.modules.critic_plan import CriticPlan
from rllib_mec.hmppo.per_module import check_overrides
from rllib_mec.hmppo.recording import settings as output_settings
from rllib_mec.hmppo.runner_choice import runner_class
from rllib_mec.hmppo.sampling.batched_env import single_env
from rllib_mec.hmppo.sampling.callbacks import EpisodeMetrics
from rllib_mec.hmppo.sampling.env_state import state_size
from rllib_mec.hmppo.sampling.order_members import order_members
from rllib_mec.hmppo.team import Team


class HMPPOConfig(PPOConfig):
    """Configures HMPPO: PPO for a team of agents that share a reward, with a centralised critic.

    It trains any cooperative ``MultiAgentEnv``; see :class:`~rllib_mec.hmppo.team.Team` for what an
    environment may declare. Policies are made from the environment, one actor for each agent under
    the agent's own id, and one for each group of agents under the group's name.

    What PPO's settings mean here: ``vf_clip_param``, ``use_critic`` and ``use_gae`` have no effect
    (value targets are normalised instead of clipped); ``grad_clip`` applies to each actor and
    critic on its own. Actors and critics may have learning rates, clips, networks and more of their
    own, see :mod:`rllib_mec.hmppo.per_module`.
    """

    env_runner_cls: type | None

    # Of the class, for configurations that were saved before there was a choice.
    agent_groups: AgentGroups = None
    critic_input: str | list[str] = "observations"
    rewards: str = "shared"

    settings_of_the_old_stack = ("observation_filter",)
    """Settings that RLlib's new stack has no use for, but that mean something here."""

    # What a subclass of this one may have of its own.
    actor_class: type[Actor] = Actor
    critic_class: type[Critic] = Critic
    model_defaults: dict[str, Any] = MODEL_DEFAULTS

    def __init__(self, algo_class: type | None = None) -> None:
        from rllib_mec.hmppo.algorithm import HMPPO

        super().__init__(algo_class=algo_class or HMPPO)
        self.critic: str = "decision_point"
        self.update: str = "simultaneous"
        self.entity_shared: bool = False
        self.ratio: str = "joint"
        self.case_head: str = "factorised"
        self.batched: bool | None = None
        self.compiled: bool = False
        self.mixed_precision: bool = False
        self.sample_ahead: int = 0
        self.num_env_runners = 0
        self.num_envs_per_env_runner = 8
        self.train_batch_size_per_learner = 400
        self.minibatch_size = 100
        self.num_epochs = 10
        self.lr = 1e-3
        self.gamma = 0.8
        self.lambda_ = 0.95
        self.clip_param = 0.2
        self.grad_clip = 0.5
        self.grad_clip_by = "global_norm"
        self.use_kl_loss = False
        self.add_default_connectors_to_learner_pipeline = False
        self.callbacks_class = EpisodeMetrics
        # RLlib waits a minute between restarts, which one bad episode would cost.
        self.delay_between_env_runner_restarts_s = 1.0
        for name, value in output_settings.DEFAULTS.items():
            setattr(self, name, value)

    def training(  # type: ignore[override]
        self,
        *,
        agent_groups: dict[str, list[str]] | str | None = NotProvided,
        critic: str = NotProvided,
        critic_input: str | list[str] = NotProvided,
        rewards: str = NotProvided,
        update: str = NotProvided,
        entity_shared: bool = NotProvided,
        ratio: str = NotProvided,
        case_head: str = NotProvided,
        batched: bool | None = NotProvided,
        compiled: bool = NotProvided,
        mixed_precision: bool = NotProvided,
        sample_ahead: int = NotProvided,
        **kwargs: Any,
    ) -> Self:
        """Sets training options; all of PPO's and HMPPO's own.

        Args:
            agent_groups: alike agents that share an actor, ``{group: [agents]}``, or ``alike``: all
                that observe and act in the same spaces; None (default): those that the environment
                declares; see :mod:`rllib_mec.hmppo.team_of_env`.
            critic: ``decision_point`` (default), ``joint_state`` or ``separate``; see
                :mod:`rllib_mec.hmppo.modules.critic_plan`.
            critic_input: what a central critic sees: ``observations`` (default), all agents';
                ``state``, what the environment's method ``state()`` returns (so that of its batched
                form); or a list of the agents and groups whose observations it sees.
            rewards: ``shared`` (default): all learn from the team's reward; ``individual`` (with
                ``critic: separate``): each agent, or member of a group, from its own, which an
                environment's batched form gives by a method ``rewards()``.
            update: ``simultaneous`` (default): all networks take each step together;
                ``sequential``: agents learn one after the other, each weighting its advantages by
                how the earlier ones have changed; see :mod:`rllib_mec.hmppo.learning.sequential`.
            entity_shared: one small network shared by all entities of an observation, for
                actors and critics, so that a policy runs with any number of entities; the
                environment must declare ``num_entities``, or groups of agents, whose members are
                the entities; a group's actor is one network for all members in any case.
            ratio: ``joint`` (default): PPO clips the probability ratio of an agent's whole action;
                ``entity`` (with ``entity_shared``): that of each entity's part, so that clipping
                means the same with any number of entities; ``branch``: that of each entry, be it a
                coin, a choice or a number. Members of a group have each their own.
            case_head: how an actor chooses whose action is one choice for each entity:
                ``factorised`` (default): independently given the observation;
                ``autoregressive``: entity after entity, each seeing the choices before it, which
                needs ``entity_shared``; see :mod:`rllib_mec.hmppo.modules.autoregressive`. Other
                actors stay as they are.
            batched: sample in batches of arrays, for environments that have such a form. None
                (default): where it is possible, see :mod:`rllib_mec.hmppo.runner_choice`;
                True: or else refuse the configuration; False: by RLlib's episodes.
            compiled: compile the update by ``torch.compile``, which takes seconds at the start and
                needs a C++ compiler on CPUs; without one, training goes on uncompiled and says so.
            mixed_precision: matrix products of the update in bfloat16.
            sample_ahead: 1: remote environment runners sample the next batch while the learners
                learn from this one, so that a batch is learned from by a policy that is one
                iteration newer than the one that has sampled it; 0 (default): they take turns.
        """
        super().training(**kwargs)
        own = {
            "agent_groups": agent_groups,
            "critic": critic,
            "critic_input": critic_input,
            "rewards": rewards,
            "update": update,
            "entity_shared": entity_shared,
            "ratio": ratio,
            "case_head": case_head,
            "batched": batched,
            "compiled": compiled,
            "mixed_precision": mixed_precision,
            "sample_ahead": sample_ahead,
        }
        for name, value in own.items():
            if value is not NotProvided:
                setattr(self, name, value)
        return self

    def offline_data(self, *, output: str | None = NotProvided, **kwargs: Any) -> Self:
        """Sets RLlib's options of offline data, of which two say what training records.

        Args:
            output: a directory or URI, where environment runners write all that they sample for
                training; see :mod:`rllib_mec.hmppo.recording.files`. On several machines: one
                that all of them reach.
            kwargs: ``output_max_rows_per_file`` bounds the files; by default each sample is one.
        """
        super().offline_data(**kwargs)
        if output is not NotProvided:
            self.output = output_settings.absolute(output)
        return self

    def validate(self) -> None:
        check_settings(self)
        if not self._is_frozen:
            # Evaluation has a copy of the training's settings.
            self.output = None if self.in_evaluation else output_settings.absolute(self.output)
        output_settings.check(self)
        check_sample_ahead(self)
        if not self._is_frozen:
            # Of sampling ahead this is a part of its own; see HMPPO.
            self._dont_auto_sync_env_runner_states = bool(self.sample_ahead)
        if self.env is not None and not self._is_frozen:
            env = single_env(self)
            self._set_modules(
                Team.of_env(env, self.agent_groups),
                state_size(env) if self.critic_input == "state" else None,
            )
            check_overrides(self, self.critic_plan())
            self.env_runner_cls = runner_class(self, env)
            env.close()
        super().validate()

    def team(self) -> Team:
        """The team of a validated configuration."""
        spec = self._rl_module_spec
        described = spec.model_config["team"]
        specs = spec.rl_module_specs
        return Team.from_dict(
            described,
            observation_spaces={a: specs[a].observation_space for a in described["agents"]},
            action_spaces={a: specs[a].action_space for a in described["agents"]},
        )

    def critic_plan(self) -> CriticPlan:
        """The critics of a validated configuration."""
        team, size = self.team(), self._rl_module_spec.model_config.get("state_size")
        return critic_plan(self, team, size)

    def _set_modules(self, team: Team, state_size: int | None = None) -> None:
        check_modules_are_ours(self, team)
        networks = self._checked_networks()
        self._rl_module_spec = spec = module_spec(self, team, networks, state_size)
        self.policies = {
            module_id: PolicySpec(None, own.observation_space, own.action_space, {})
            for module_id, own in spec.rl_module_specs.items()
        }
        self.policy_mapping_fn = ModuleOfMember(team.members) if team.members else module_of_agent

    def _checked_networks(self, model_config: Any = None) -> dict[str, Any]:
        """The checked ``model_config``, or another that takes its place for a single module."""
        given = self._model_config if model_config is None else model_config
        return checked_networks(given, self.model_defaults)

    @property
    def is_recurrent(self) -> bool:
        """Whether actors have a memory."""
        return bool(self._checked_networks().get("recurrent_layer"))

    def get_default_learner_class(self) -> type:
        from rllib_mec.hmppo.learning.learner import HMPPOTorchLearner

        return HMPPOTorchLearner

    def build_env_to_module_connector(self, *args: Any, **kwargs: Any) -> Any:
        pipeline = super().build_env_to_module_connector(*args, **kwargs)
        order_members(pipeline, self.team().members)
        return pipeline

    def build_learner_connector(
        self, input_observation_space: Any, input_action_space: Any, device: Any = None
    ) -> LearnerConnectorPipeline:
        pipeline = super().build_learner_connector(
            input_observation_space, input_action_space, device
        )
        individual = self.rewards == "individual"
        pipeline.append(EpisodesToTeamBatch(self.team(), self.critic_input == "state", individual))
        return pipeline


def module_of_agent(agent_id: str, episode: Any = None, **kwargs: Any) -> str:
    """Every agent has an actor of its own, under its own id."""
    return agent_id
