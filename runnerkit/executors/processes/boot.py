"""What a helper process runs: a script that imports nothing of the caller's program, so that needs no main guard."""

import os
import pickle
import socket
import sys

if __name__ == "__main__":
    _fds = [int(number) for number in sys.argv[1:4]]
    for _fd in _fds:  # they came here by being inheritable, and are to go no further: an env may start daemons
        os.set_inheritable(_fd, False)
    with socket.socket(fileno=_fds[0]) as _connection:
        # where modules are must be known before any but Python's own are imported
        _size = int.from_bytes(_connection.recv(8, socket.MSG_WAITALL), "big")
        if not _size:  # the caller is gone already
            sys.exit(1)
        sys.path[:] = pickle.loads(_connection.recv(_size, socket.MSG_WAITALL))
        _connection.detach()

    from runnerkit.executors.processes.helper import main

    main(*_fds, *map(int, sys.argv[4:8]))
