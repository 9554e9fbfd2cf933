"""`python -m lsp.grid`."""

import sys

from lsp.grid import main

sys.exit(main())
