"""`python -m lsp.report`."""

import sys

from lsp.report import main

sys.exit(main())
