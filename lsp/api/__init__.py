"""Training and its results from Python: `lsp.train`, `lsp.load` and the `Run` that both return.

Thin over what the command line uses: the same configuration, the same checks and messages, the same folders.
"""
