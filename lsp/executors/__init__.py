"""Collecting experience, behind the `Executors` contract of `lsp.types`."""
