"""The name under which notebooks import `example_transition`; dispatches themselves are in `lsp.training.device`."""

from lsp.training.device import example_transition as example_transition
