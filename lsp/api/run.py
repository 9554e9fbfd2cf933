"""`lsp.load`, and the `Run` that it returns: a run's folder as a Python object. JAX comes with what needs it."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lsp import cli
from lsp.api.conduct import conduct, one_line
from lsp.api.flags import arguments
from lsp.api.policy import Policy
from lsp.api.tables import Table, table
from lsp.config import Config, ConfigError
from lsp.envs import given as given_env
from lsp.envs.given import Given, lend
from lsp.storage import metrics
from lsp.storage.run_folder import read_config, read_document

if TYPE_CHECKING:
    from lsp.training.callbacks import Callback
    from lsp.training.results import Evaluation


class Run:
    """A run's folder: what it has written, its policy, and how to go on. `lsp.train` and `lsp.load` return one.

    It holds no copy of anything: whatever it says is read from the folder when it is asked for, also while another
    process trains there.
    """

    def __init__(self, folder: str | Path, given: Given | None = None) -> None:
        """The run in `folder`; `given` is its environment, where that is a Python object. Reads nothing yet."""
        self.folder = Path(folder).expanduser()
        self._place = self.folder.absolute()  # whatever becomes of the working folder
        self._given = given
