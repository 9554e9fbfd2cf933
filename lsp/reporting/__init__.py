"""What `lsp.report` is made of: reading run directories, the table, the curves, numbers of others."""
