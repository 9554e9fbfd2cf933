"""What a configuration may be, and that the study's never drifts."""

import ast
import dataclasses
import json
import math
from pathlib import Path
from typing import Annotated, Any, get_args, get_origin

import pytest

from lsp import config as config_module
from lsp.agents import presets
from lsp.config import (
    LATER,
    Config,
    ConfigError,
    CriticConfig,
    ExecutorsConfig,
    PolicyConfig,
    ReplayConfig,
    dissertation,
    from_dict,
    schema,
    stages,
    to_dict,
    validate,
)

# Sources: "code" is github.com/haarnoja/sac at ca39be1, which the study ran; "ours" is what it does not decide.
STUDY: dict[str, tuple[Any, str]] = {
    "agent": ("sac_lsp", "the baseline of the study"),
    "preset": ("dissertation", "ours"),
    "env": ("lsp/RllabAnt-v0", "code: examples/variants.py, ant is rllab's AntEnv"),
    "env_kwargs": ("{}", "code: AntEnv as it is"),
    "steps": (1_000_000, "ours: the study's 10,002 epochs of 1,000 steps are for --steps"),
    "seed": (0, "ours: the study ran seeds 1 to 5"),
    "gamma": (0.99, "code: examples/variants.py, discount"),
    "reward_scale": (10.0, "code: examples/variants.py, scale_reward of ant"),
    "n_step": (1, "code: sac/algos/sac.py, one-step target"),
    "utd": (1.0, "code: examples/variants.py, n_train_repeat"),
    "block": (1, "code: sac/algos/base.py, an update after every step"),
    "warmup_steps": (0, "code: the policy acts from the first step"),
    "learning_starts": (1_000, "code: examples/variants.py, min_pool_size"),
    "flow.kind": ("real_nvp", "code: sac/distributions/real_nvp_bijector.py"),
    "flow.num_couplings": (2, "code: examples/variants.py, policy_coupling_layers"),
    "flow.hidden_sizes": ((0,), "code: examples/variants.py, policy_s_t_units is the action dimension"),
    "flow.embedding_sizes": ((128, 128, 0), "code: examples/variants.py, preprocessing: twice the action dimension"),
    "flow.activation": ("tanh", "code: sac/distributions/real_nvp_bijector.py, hidden layers of s and t"),
    "flow.separate_nets": (True, "code: sac/distributions/real_nvp_bijector.py, s and t are two networks"),
    "flow.max_log_scale": (math.inf, "code: sac/distributions/real_nvp_bijector.py, exp(s) of a linear output"),
    "flow.num_bins": (8, "ours: unused in a real-NVP"),
    "flow.tail_bound": (5.0, "ours: unused in a real-NVP"),
    "flow.zero_init": (False, "code: sac/distributions/real_nvp_bijector.py, Xavier in every layer"),
    "flow.bias_std": (1.0, "code: sac/distributions/real_nvp_bijector.py, biases drawn from N(0, 1)"),
    "flow.log_det": ("approximate", "code: sac/policies/latent_space_policy.py, log(1 - tanh^2 + 1e-6)"),
    "flow.linear_embedding": (False, "code: examples/variants.py, preprocessing_output_nonlinearity of ant is relu"),
    "layers": (1, "ours: the study ran one layer, and a second in a run of its own"),
    "layer_rewards": (("env",), "code: the same environment and reward in both layers"),
    "layer_steps": ((0,), "ours: equal shares; the study's 10,002 epochs and 4,001 are for --layer-steps"),
    "from_layers": ("", "ours"),
    "growth.add_layer": (True, "code: examples/mujoco_all_sac_lsp_hierarchy.py, a policy on top of the old one"),
    "growth.train_layer": (True, "code: the same"),
    "growth.identity": (False, "code: the same, a new layer is initialized as the first"),
    "growth.linear_embedding": (True, "code: the same, the output's nonlinearity is not passed on"),
    "growth.keep_replay": (False, "code: the same, a new pool"),
    "growth.max_latent": (math.inf, "ours: unused where the replay is fresh"),
    "growth.keep_critics": (False, "code: the same, new Q and V"),
    "growth.critic_warmup": (0, "code: the same"),
    "growth.entropy": ("latent", "code: the same, log pi of the latent and its normal prior"),
    "growth.divergence_per_dim": (0.5, "ours: unused where the temperature is fixed"),
    "growth.reward_scale": (3.0, "code: the same, scale_reward of ant-resume-training"),
    "growth.prefix_observation": (False, "ours"),
    "critic.count": (1, "code: examples/mujoco_all_sac.py, one Q"),
    "critic.kind": ("scalar", "code: one output"),
    "critic.num_atoms": (101, "ours: unused where scalar"),
    "critic.support": ("adaptive", "ours: unused where scalar"),
    "critic.v_min": (-5.0, "ours: unused where scalar"),
    "critic.v_max": (5.0, "ours: unused where scalar"),
    "critic.distribution_target": ("soft", "ours: unused where scalar"),
    "critic.logit_scale": (0.1, "ours: unused where scalar"),
    "critic.hidden_sizes": ((128, 128), "code: examples/variants.py, layer_size"),
    "critic.layer_norm": (False, "code: sac/misc/mlp.py"),
    "critic.value_network": (True, "code: sac/algos/sac.py, V with a target copy"),
    "critic.space": ("layer", "code: sac/envs/hierarchy_proxy_env.py, Q of the latent in upper layers"),
    "critic.target": ("min", "ours: all the same with one Q"),
    "critic.target_min": (-math.inf, "code: targets are not clipped"),
    "critic.target_max": (math.inf, "code: targets are not clipped"),
    "critic.loss": ("mse", "code: sac/algos/sac.py, 0.5 mean(delta^2)"),
    "critic.huber_delta": (1.0, "no Huber loss there"),
    "critic.tau": (0.01, "code: examples/variants.py, tau"),
    "critic.learning_rate": (3e-4, "code: examples/variants.py, lr"),
    "policy.gradient": ("likelihood_ratio", "code: sac/algos/sac.py, reparameterize off"),
    "policy.q": ("first", "code: sac/algos/sac.py, the only Q"),
    "policy.prior": ("normal", "code: examples/mujoco_all_sac.py, action_prior"),
    "policy.learning_rate": (3e-4, "code: examples/variants.py, lr"),
    "temperature.learned": (False, "code: sac/algos/sac.py has none, scale_reward plays its part"),
    "temperature.initial": (1.0, "code: sac/algos/sac.py, log pi has weight 1"),
    "temperature.target_entropy_per_dim": (-0.5, "ours: unused where the temperature is fixed"),
    "temperature.learning_rate": (3e-4, "ours: unused where the temperature is fixed"),
    "normalize.observations": (False, "code: no normalizer of observations"),
    "normalize.rewards": (False, "code: no normalizer of rewards"),
    "replay.kind": ("uniform", "code: sac/replay_buffers/simple_replay_buffer.py"),
    "replay.capacity": (1_000_000, "code: examples/variants.py, max_size"),
    "replay.batch_size": (128, "code: examples/variants.py, batch_size"),
    "replay.scheme": ("proportional", "study: 4.2, Eq. 2.30"),
    "replay.priority": ("td", "study: Eq. 2.30"),
    "replay.alpha": (0.5, "study: 4.2"),
    "replay.epsilon": (1e-6, "its code; the text gives no number"),
    "replay.initial": ("max", "its code: a tree of maxima, filled with ones"),
    "replay.weights": ("q", "study: 3.2, on the TD error of Q"),
    "replay.beta": (0.4, "study: 4.2"),
    "replay.beta_final": (1.0, "study: 4.2"),
    "replay.beta_updates": (10_001_000, "its code: 10,001 epochs of 1,000 updates"),
    "replay.beta_schedule": ("epochs", "study: 4.2, at each new epoch"),
    "replay.beta_bug": (False, "study: 4.2, uniformly towards 1; its code had the bug"),
    "replay.policy_batch": ("same", "its code: one batch for all losses"),
    "replay.rank_refresh": (10_000, "ours: unused where proportional"),
    "goals.kind": ("none", "the baseline of the study"),
    "goals.strategy": ("future", "study: 3.5, a random state that the agent will reach in the future"),
    "goals.k": (4.0, "study: 3.5"),
    "goals.one_by_one": (False, "its rewards take batches"),
    "goals.include_own": (True, "its code: the index of the future begins at the row's own"),
    "executors.engine": ("inproc", "code: one process"),
    "executors.count": (1, "code: one environment"),
    "executors.workers": (0, "ours: unused in one process"),
    "executors.address": ("", "ours: unused in one process"),
    "executors.mode": ("sync", "study: 3.4, lock-step"),
    "executors.chunk": (16, "ours: unused in lock-step"),
    "executors.in_flight": (2, "ours: unused in lock-step"),
    "executors.publish_every": (50, "ours: unused in lock-step"),
    "executors.timeout": (300.0, "ours: unused in one process"),
    "executors.queue": ("none", "ours: its code had the bug"),
    "executors.exploration": (1.0, "study: 3.4, all executors have one policy"),
    "evaluation.every": (50_000, "ours: the study evaluated every 1,000 steps"),
    "evaluation.episodes": (10, "ours: the study evaluated one episode"),
    "evaluation.max_episode_steps": (10_000, "ours: beyond the ant's 1,000"),
    "evaluation.protocols": (("fixed_latent", "sampled", "mode"), "code: one latent a rollout; the others are ours"),
    "truncate_stuck": (0, "code: sac/envs, an episode ends by a fall or after 1,000 steps"),
    "log_every": (1_000, "code: examples/variants.py, epoch_length"),
    "track": (("none",), "ours"),
    "checkpoint_every": (100_000, "ours"),
    "milestone_every": (500_000, "ours"),
}


def test_the_dissertation_preset_never_drifts() -> None:
    found = schema.flatten(presets("sac_lsp", "dissertation"))
    assert found.keys() == STUDY.keys()
    assert {name: (found[name], *study) for name, study in STUDY.items() if found[name] != study[0]} == {}


def test_presets_are_valid_and_modern_is_the_default() -> None:
    assert presets() == presets("sac_lsp", "modern") == Config()
    assert presets("sac_lsp", "dissertation") == dissertation(Config())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("sac_lps",), "--agent=sac_lps: must be .*; did you mean sac_lsp[?]"),
        (("sac_lsp", "dissertatoin"), "--preset=dissertatoin: must be .*; did you mean dissertation[?]"),
    ],
)
def test_presets_name_the_nearest(arguments: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        presets(*arguments)


@pytest.mark.parametrize("preset", ["modern", "dissertation"])
def test_json_round_trip(preset: str) -> None:
    config = presets("sac_lsp", preset)
    assert from_dict(json.loads(json.dumps(to_dict(config), allow_nan=False))) == config


def test_from_dict_is_strict() -> None:
    values = to_dict(Config())
    with pytest.raises(ConfigError, match=r"missing fields: flow.log_det, gamma$"):
        from_dict({name: value for name, value in values.items() if name not in ("gamma", "flow.log_det")})
    with pytest.raises(ConfigError, match=r"unknown fields: gama, replay$"):
        from_dict(values | {"gama": 0.9, "replay": {}})
    with pytest.raises(ConfigError, match=r"^--critic.count=many: must be a whole number"):
        from_dict(values | {"critic.count": "many"})


def test_runs_of_earlier_versions_can_be_read() -> None:
    """Fields that came later have the values under which those ran, unless they are given."""
    values = to_dict(Config())
    assert from_dict({name: value for name, value in values.items() if name not in LATER}) == Config()
    assert from_dict(values | {"truncate_stuck": 200}).truncate_stuck == 200


def test_validate_gives_every_value_its_type() -> None:
    loose = Config(utd=1, critic=CriticConfig(hidden_sizes=[16, 16]))  # type: ignore[arg-type]
    config = validate(loose)
    assert config.critic.hidden_sizes == (16, 16)
    assert isinstance(config.utd, float)


def replaced(name: str, value: Any) -> Config:
    """The default configuration with one field of the given dotted name replaced, unchecked."""
    group, _, leaf = name.rpartition(".")
    if group:
        value = dataclasses.replace(getattr(Config(), group), **{leaf: value})
    return dataclasses.replace(Config(), **{group or leaf: value})


def base(kind: Any) -> Any:
    return get_args(kind)[0] if get_origin(kind) is Annotated else kind


NUMBERS = {name: base(kind) for name, kind in schema.kinds(Config).items() if base(kind) in (int, float)}


def complaint(name: str, value: object) -> str:
    """What is said of a configuration with another value of one field; nothing if it is valid."""
    try:
        validate(replaced(name, value))
    except ConfigError as error:
        return str(error)
    return ""


def test_no_number_is_unchecked() -> None:
    wrong = {name: -1 if kind is int else math.nan for name, kind in NUMBERS.items()}
    said = {name: complaint(name, value) for name, value in wrong.items()}
    prefixes = {name: f"{schema.flag(name)}={value}: must be " for name, value in wrong.items()}
    assert {name: text for name, text in said.items() if not text.startswith(prefixes[name])} == {}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("steps", 0),
        ("gamma", 1.0),
        ("critic.tau", 0.0),
        ("critic.tau", 1.1),
        ("utd", 0.0),
        ("reward_scale", math.inf),
        ("temperature.initial", 0.0),
        ("flow.hidden_sizes", ()),
        ("flow.hidden_sizes", (-1,)),
        ("critic.hidden_sizes", (16, 0)),
        ("evaluation.protocols", ()),
        ("evaluation.protocols", ("sampled", "median")),
        ("policy.q", "maximum"),
        ("replay.capacity", 100),
        ("env_kwargs", "[1]"),
        ("env_kwargs", "{'a': 1}"),
        ("learning_starts", 127),
        ("truncate_stuck", 99),
        ("policy.gradient", "likelihood_ratio"),
        ("critic.num_atoms", 1),
        ("critic.v_max", -5.0),
        ("critic.logit_scale", 0.0),
        ("critic.v_min", math.inf),
        ("critic.target", "cdf_max"),
        ("critic.target", "independent"),
        ("critic.distribution_target", "literal"),
        ("replay.priority", "kl"),
    ],
)
def test_one_value_refused(name: str, value: Any) -> None:
    with pytest.raises(ConfigError) as caught:
        validate(replaced(name, value))
    message = str(caught.value)
    assert message.startswith(schema.flag(name))
    assert "\n" not in message


def test_the_least_that_goes_together() -> None:
    small = Config(
        learning_starts=130,
        n_step=2,
        block=64,
        executors=ExecutorsConfig(count=2),
        replay=ReplayConfig(capacity=128),
        critic=CriticConfig(value_network=True),
        policy=PolicyConfig(gradient="likelihood_ratio"),
    )
    assert validate(small) == small
    with pytest.raises(ConfigError, match=r"--learning-starts=129: must be at least 130, the first full batch"):
        validate(dataclasses.replace(small, learning_starts=129))
    queued = dataclasses.replace(small, executors=ExecutorsConfig(count=2, queue="as-coded"), learning_starts=500)
    reason = "at least 5130, 5000 transitions that --executors.queue=as-coded holds back, and the first full batch"
    with pytest.raises(ConfigError, match=f"^--learning-starts=500: must be {reason} "):
        validate(queued)
    assert validate(dataclasses.replace(queued, learning_starts=5130))
    with pytest.raises(ConfigError, match=r"--replay.capacity=128: must be at least --block times .*, 130"):
        validate(dataclasses.replace(small, block=65))


def test_every_field_says_what_it_is() -> None:
    modules = [stages.__file__, *Path(config_module.__file__).parent.glob("*.py")]
    body = [node for module in modules for node in ast.parse(Path(module).read_text()).body]
    silent = []
    for record in (node for node in body if isinstance(node, ast.ClassDef) and node.name.endswith("Config")):
        assert ast.get_docstring(record)
        for statement, following in zip(record.body, [*record.body[1:], ast.Pass()], strict=True):
            if isinstance(statement, ast.AnnAssign) and "Config" not in ast.unparse(statement.annotation):
                says = isinstance(following, ast.Expr) and isinstance(following.value, ast.Constant)
                silent += [] if says else [ast.unparse(statement.target)]
    assert silent == []
