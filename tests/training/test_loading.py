"""A run is read back as it was written."""

import shutil
from pathlib import Path

import jax
import numpy as np
import pytest

from lsp import envs
from lsp.config import ConfigError
from lsp.storage import checkpoint
from lsp.storage.run_folder import read_config
from lsp.training.loading import load_run
from tests.support.policies import untrained


@pytest.mark.parametrize("layers", [1, 2])
def test_is_what_the_folder_holds(layers: int, tmp_path: Path) -> None:
    folder = untrained(tmp_path / "run", layers=layers)
    run = load_run(folder)
    assert (run.folder, run.step, run.config) == (folder, 100, read_config(folder))
    assert run.spec == envs.env_spec(run.config)
    assert run.stage.number == len(run.stage.layers) == layers - 1
    template = jax.eval_shape(run.recipe.agent.init, jax.random.key(0))
    arrays, _ = checkpoint.load(folder / "checkpoints" / "100")
    jax.tree.map(np.testing.assert_array_equal, run.state, checkpoint.restore(template, arrays, "learner"))
    assert [layer.spec for layer in run.layers()] == [run.spec] * layers
    action = run.recipe.agent.act_mode(run.actor_params(), np.zeros((2, 3), np.float32)).env_action
    assert action.shape == (2, 1)


def test_which_checkpoint(tmp_path: Path) -> None:
    folder = untrained(tmp_path / "run")
    shutil.copytree(folder / "checkpoints" / "100", folder / "checkpoints" / "20")
    assert [load_run(folder, step).step for step in (None, 100, 20)] == [100, 100, 20]
    with pytest.raises(ConfigError, match=r"^--step=7: .* has checkpoints of steps 20, 100$"):
        load_run(folder, 7)
    shutil.rmtree(folder / "checkpoints")
    with pytest.raises(checkpoint.CheckpointError, match=r"no complete checkpoint yet"):
        load_run(folder)
    with pytest.raises(ConfigError, match="is not a run"):
        load_run(tmp_path / "none")
