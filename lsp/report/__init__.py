"""`python -m lsp.report`: runs as arrays, statistics, tables and curves."""

from lsp.report.command import main as main
