"""Ports of loopback for servers of tests."""

import random
import socket

_locks = []


def free_port():
    """Below the ports that the system gives to connections, and kept from other tests until this process ends: a member
    that is stopped finds it free when it starts again. tests/interop/member takes them in the same way."""
    while True:
        port, lock = random.SystemRandom().randrange(20000, 32000), socket.socket(socket.AF_UNIX)
        try:
            lock.bind(f"\0kedge-port-{port}")
            with socket.socket() as s:
                s.bind(("127.0.0.1", port))
        except OSError:
            lock.close()
            continue
        _locks.append(lock)
        return port
