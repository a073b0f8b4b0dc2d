"""Names of RLlib's old API stack and what takes their place.

Many YAML files in the wild are written for the old stack; RLlib itself accepts most of its names
and then ignores them.
"""

from __future__ import annotations

_MODEL = "config.model_config"
_SCHEDULE = "itself, as [[timestep, value], …]"

SETTINGS = {
    "callbacks": "config.callbacks_class",
    "create_env_on_driver": "config.create_local_env_runner",
    "entropy_coeff_schedule": f"config.entropy_coeff {_SCHEDULE}",
    "evaluation_num_workers": "config.evaluation_num_env_runners",
    "evaluation_num_episodes": "config.evaluation_duration",
    "ignore_worker_failures": "config.ignore_env_runner_failures",
    "recreate_failed_workers": "config.restart_failed_env_runners",
    "recreate_failed_env_runners": "config.restart_failed_env_runners",
    "lr_schedule": f"config.lr {_SCHEDULE}",
    "metrics_smoothing_episodes": "config.metrics_num_episodes_for_smoothing",
    "min_iter_time_s": "config.min_time_s_per_iteration",
    "model": _MODEL,
    "custom_model": "config.rl_module_spec",
    "multiagent": "config.policies and config.policy_mapping_fn",
    "num_cpus_for_driver": "config.num_cpus_for_main_process",
    "num_cpus_for_local_worker": "config.num_cpus_for_main_process",
    "num_cpus_per_worker": "config.num_cpus_per_env_runner",
    "num_cpus_per_learner_worker": "config.num_cpus_per_learner",
    "num_envs_per_worker": "config.num_envs_per_env_runner",
    "num_gpus": "config.num_gpus_per_learner",
    "num_gpus_per_worker": "config.num_gpus_per_env_runner",
    "num_gpus_per_learner_worker": "config.num_gpus_per_learner",
    "custom_resources_per_worker": "config.custom_resources_per_env_runner",
    "num_learner_workers": "config.num_learners",
    "num_rollout_workers": "config.num_env_runners",
    "num_sgd_iter": "config.num_epochs",
    "num_workers": "config.num_env_runners",
    "observation_filter": "config.env_to_module_connector, with a MeanStdFilter",
    "preprocessor_pref": "config.env_to_module_connector",
    "remote_worker_envs": "config.gym_env_vectorize_mode",
    "rollout_fragment_len": "config.rollout_fragment_length",
    "sample_batch_size": "config.rollout_fragment_length",
    "sgd_minibatch_size": "config.minibatch_size",
    "train_batch_size": "config.train_batch_size_per_learner",
    "timesteps_per_iteration": "config.min_sample_timesteps_per_iteration",
    "vf_share_layers": f"{_MODEL}.vf_share_layers",
}
"""Names inside ``config`` that have changed."""

GONE = {
    "enable_env_runner_and_connector_v2": "the new stack is always used",
    "enable_rl_module_and_learner": "the new stack is always used",
    "env": "it stands beside config",
    "exploration_config": "the RLModule's distribution explores; see config.explore",
    "framework": "torch is always used",
    "horizon": "end the episode in the environment, by truncation",
    "no_done_at_end": "the environment says whether an episode is terminated or truncated",
    "soft_horizon": "end the episode in the environment, by truncation",
}
"""Names inside ``config`` that have nothing in their place, and why."""

RESULTS = {
    "agent_timesteps_total": "num_env_steps_sampled_lifetime",
    "episode_len_mean": "env_runners/episode_len_mean",
    "episode_return_max": "env_runners/episode_return_max",
    "episode_return_mean": "env_runners/episode_return_mean",
    "episode_reward_max": "env_runners/episode_return_max",
    "episode_reward_mean": "env_runners/episode_return_mean",
    "episode_reward_min": "env_runners/episode_return_min",
    "episodes_total": "env_runners/num_episodes_lifetime",
    "num_env_steps_sampled": "num_env_steps_sampled_lifetime",
    "num_env_steps_trained": "num_env_steps_sampled_lifetime",
    "sampler_results/episode_reward_mean": "env_runners/episode_return_mean",
    "timesteps_total": "num_env_steps_sampled_lifetime",
    "time_total": "time_total_s",
    "iterations": "training_iteration",
}
"""Keys of training results, as ``stop``, ``metric`` and checkpoint scores name them."""

EXPERIMENT = {
    "algo": "run",
    "algorithm": "run",
    "checkpoint_at_end": "checkpoint_config.checkpoint_at_end",
    "checkpoint_freq": "checkpoint_config.checkpoint_frequency",
    "checkpoint_frequency": "checkpoint_config.checkpoint_frequency",
    "checkpoint_score_attr": "checkpoint_config.checkpoint_score_attribute",
    "checkpoint_score_attribute": "checkpoint_config.checkpoint_score_attribute",
    "env_config": "config.env_config",
    "keep_checkpoints_num": "checkpoint_config.num_to_keep",
    "local_dir": "storage_path",
    "max_concurrent_trials": "tune_config.max_concurrent_trials",
    "metric": "tune_config.metric",
    "mode": "tune_config.mode",
    "num_to_keep": "checkpoint_config.num_to_keep",
    "scheduler": "tune_config.scheduler",
    "stopping_criteria": "stop",
    "time_budget_s": "tune_config.time_budget_s",
}
"""Keys of an experiment, beside ``run``."""

CHECKPOINT = {
    "checkpoint_freq": "checkpoint_frequency",
    "checkpoint_score_attr": "checkpoint_score_attribute",
    "keep_checkpoints_num": "num_to_keep",
}
"""Keys inside ``checkpoint_config``."""
