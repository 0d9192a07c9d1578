"""The process of one contestant, started by `arena`: it opens the jobs that it is sent, and runs when its turn comes.

Only the standard library is imported at the top, as spawned helpers import this file again.
"""

from __future__ import annotations

import sys
import warnings
from multiprocessing.connection import Connection
from typing import Any


def serve(name: str, connection: Connection) -> None:
    """Answer each job with the seconds that it took to open it, and each "run" with those that the run took.

    Anything else ends the job. What goes wrong is answered by a text, and ends the process.
    """
    import gc
    import importlib
    import time

    from cells import make_policy
    from lineup import LINEUP

    contestant = LINEUP[name]
    for module in contestant.modules:
        importlib.import_module(module)
    while True:
        job = _hear(connection)
        policy = make_policy(job.cell)
        began = time.perf_counter()
        with contestant.open(job, policy) as run:
            connection.send(time.perf_counter() - began)
            while _hear(connection) == "run":
                gc.collect()
                connection.send(run())
        connection.send(0.0)


def _hear(connection: Connection) -> Any:
    try:
        return connection.recv()
    except EOFError:
        sys.exit()  # nobody asks any more


def main() -> None:
    warnings.filterwarnings("ignore")
    connection = Connection(int(sys.argv[2]))
    try:
        serve(sys.argv[1], connection)
    except Exception as error:
        connection.send(" ".join(f"{type(error).__name__}: {error}".split()))


if __name__ == "__main__":
    main()
