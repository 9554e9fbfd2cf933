"""`lsp.train`: a run from its first step to its last, from Python."""

import sys
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from lsp import cli
from lsp.api.conduct import conduct
from lsp.api.flags import arguments
from lsp.api.run import Run
from lsp.config import Config, ConfigError
from lsp.envs.given import Given, callable_instead, read
from lsp.run import run_dir

if TYPE_CHECKING:
    from lsp.training.callbacks import Callback


def train(
    agent: str = "sac_lsp",
    *,
    env: Any = None,
    steps: float | str | None = None,
    seed: int | None = None,
    preset: str | None = None,
    name: str | None = None,
    runs_dir: str | None = None,
    callbacks: "Sequence[Callback]" = (),
    quiet: bool = False,
    **fields: Any,
) -> Run:
    """Train an agent, as `python -m lsp.run` does, into a new folder.

        run = lsp.train("distributed_prioritized", env="lsp/RllabAnt-v0", steps=300_000, seed=1)
        run = lsp.train(env="Pendulum-v1", steps=20_000, **{"critic.tau": 0.01, "evaluation.every": 5_000})

    An environment may be given as a Python object, too:

    - a callable that returns a new one each time, such as a class, makes as many as are needed;
    - an environment that `gymnasium.make` made is made again as its `spec` says, and is itself left alone;
    - any other environment is used itself, alone: there is no evaluation while it is trained on.

    The latter two, unless an id says all of a `spec`, and the first live in this process: there are no workers in
    others, and whoever wants to resume or evaluate the run later gives it again, `lsp.load(folder, env=...)`.

    Args:
      agent: `sac_lsp`, `prioritized`, `categorical`, `hindsight`, `distributed` or `distributed_prioritized`.
      env: a Gymnasium id, `module:id` or `module:Class`; an environment, or a callable that returns one.
      steps: environment steps.
      seed: of everything random.
      preset: `modern` (default) or `dissertation`, which every other argument refines.
      name: of the run's folder; by default one of environment, agent, seed and time.
      runs_dir: folder of all runs, `runs` by default.
      callbacks: objects with any of `on_step`, `on_evaluation` and `on_end`; see `lsp.Callback`.
      quiet: print no header and no progress; warnings are printed still.
      **fields: every other flag of `python -m lsp.run` by its name, with `_` for `-` and its dots as they are, such as
        `layers=2`, `seeds=8` or `**{"critic.tau": 0.01}`; `env_kwargs` may be a dictionary.

    Returns:
      The run. Its `finished` is False where a callback stopped it; `run.resume()` continues.

    Raises:
      ConfigError: what cannot run, in the words of the command line; it is a ValueError, and nothing is written.
      Fault: what went wrong on the way (an `EnvironmentFault` of the environment); what could be saved was.
      KeyboardInterrupt: after Ctrl-C, once a checkpoint is written; a second Ctrl-C does not wait for it.
    """
    given = None if env is None else read(env)
    named = {"env": None if given is None else given.name, "steps": steps, "seed": seed, "preset": preset}
    named |= {"agent": agent, "name": name, "runs_dir": runs_dir}
    command = cli.parse(arguments(named | _for_environment(given, fields)))
    folder = run_dir(command.options, command.config)
    if given is not None and given.make is not None:
        _check(command.config, given)
        _say_what_it_costs(given, quiet)
    run = Run(folder, given)
    from lsp.training import session  # JAX comes with it, and takes seconds

    place = folder.absolute()  # whatever environments do to the working folder
    conduct(
        run, given, callbacks, quiet,
        lambda stream, hooks: session.start(command.config, place, command.seeds, stream, hooks),
    )  # fmt: skip
    return run


def _for_environment(given: Given | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """`fields`, with what the environment needs: its constructor's arguments, or no evaluation of a single one."""
    fields = {name.replace("-", "_"): value for name, value in fields.items()}
    if given is None:
        return fields
    if given.kwargs:
        own = fields.get("env_kwargs") or {}
        if not isinstance(own, Mapping):
            raise ConfigError(f"--env-kwargs={own}: must be a dictionary beside an environment, which has some already")
        fields["env_kwargs"] = {**given.kwargs, **own}
    return fields | ({"evaluation.every": 0} if given.single else {})


def _check(config: Config, given: Given) -> None:
    if config.executors.engine != "inproc":
        remedy = "name its class, env='module:Class', or register it with Gymnasium in a module, env='module:id'"
        why = f"{given.name} is a Python object, which stays in this process"
        raise ConfigError(f"--executors.engine={config.executors.engine}: {why}; {remedy}")


def _say_what_it_costs(given: Given, quiet: bool) -> None:
    if quiet:
        return
    again = "to resume or evaluate the run in another process, give it again: lsp.load(FOLDER, env=...)"
    print(f"lsp: note: {given.name} is known in this process only; {again}", file=sys.stderr)
    if given.single:
        instead = callable_instead(given.name)
        print(f"lsp: note: there is a single {given.name}, so no evaluation while training; {instead}", file=sys.stderr)
