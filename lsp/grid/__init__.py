"""`python -m lsp.grid`: every combination of flags, here or on a cluster."""

from lsp.grid.command import main as main
