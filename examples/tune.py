"""Tune with Optuna: ask for settings, train, and stop early the trials whose evaluations fall behind.

Usage: python examples/tune.py; Optuna comes with `python -m pip install -e '.[examples]'`.
"""

import sys
from pathlib import Path

import lsp

try:
    import optuna
except ImportError:
    sys.exit("tune.py needs Optuna: python -m pip install optuna")

TRIALS, STEPS, EVERY = 4, 2_000, 500


class Prune(lsp.Callback):
    """Reports every evaluation to a trial, and ends it where Optuna says so."""

    def __init__(self, trial: optuna.Trial) -> None:
        """Of this trial."""
        self.trial = trial

    def on_evaluation(self, evaluation: lsp.Evaluation) -> None:
        """What this raises ends training, after a checkpoint, and is raised by `lsp.train`."""
        if evaluation.protocol == "mode":
            self.trial.report(evaluation.mean, evaluation.step)
            if self.trial.should_prune():
                raise optuna.TrialPruned


study = optuna.create_study(direction="maximize", pruner=optuna.pruners.MedianPruner(n_startup_trials=2))
for _ in range(TRIALS):
    trial = study.ask()
    settings = {
        "critic.learning_rate": trial.suggest_float("critic.learning_rate", 1e-4, 3e-3, log=True),
        "policy.learning_rate": trial.suggest_float("policy.learning_rate", 1e-4, 3e-3, log=True),
        "critic.tau": trial.suggest_float("critic.tau", 0.005, 0.05, log=True),
    }
    try:
        run = lsp.train(
            env="Pendulum-v1",
            steps=STEPS,
            learning_starts=500,
            name=f"tune_{study.study_name[-6:]}_{trial.number}",
            quiet=True,
            callbacks=[Prune(trial)],
            **settings,
            **{"evaluation.every": EVERY},
        )
        study.tell(trial, run.evaluate(episodes=20).mean)
    except optuna.TrialPruned:
        study.tell(trial, state=optuna.trial.TrialState.PRUNED)
    except lsp.Fault as error:  # it diverged, say
        study.tell(trial, state=optuna.trial.TrialState.FAIL)
        print(error)

for each in study.trials:
    print(each.number, each.state.name, each.value, each.params)
print("best:", study.best_params, "of", Path("runs").absolute())
