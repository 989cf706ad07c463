"""``python -m sts_async`` is ``sts-async``."""

import sys

from .cli import main

if __name__ == "__main__":
    sys.exit(main())
