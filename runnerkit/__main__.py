"""`python -m runnerkit`: the same program as `runnerkit`."""

from __future__ import annotations

from runnerkit._cli.main import main

if __name__ == "__main__":
    main(prog_name="runnerkit")
