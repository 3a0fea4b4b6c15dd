"""``python -m camrelay``: the same as the ``camrelay`` command."""

import sys

from camrelay.cli import main

if __name__ == "__main__":
    sys.exit(main())
