"""Critics by kind, `--critic.kind`: a file here and one line in `lsp.config.registries`. See `protocol`."""

from lsp.agents.critics.protocol import Critics as Critics
from lsp.agents.critics.protocol import Ensemble as Ensemble
from lsp.agents.critics.protocol import Fit as Fit
from lsp.agents.critics.protocol import Head as Head
from lsp.agents.critics.protocol import Target as Target
from lsp.agents.critics.registry import make_critics as make_critics
