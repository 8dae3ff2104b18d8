"""``python -m pipelines`` is `retalk`."""

import sys

from retalk_cli import main

if __name__ == "__main__":
    sys.exit(main())
