"""A file that takes the space of a file system, of which a test has one of its own."""

import os


def room(folder):
    status = os.statvfs(folder)
    return status.f_bfree * status.f_frsize


def leave(folder, size):
    """Takes all but so many bytes: folder/filler, which is the caller's to remove."""
    with open(os.path.join(folder, "filler"), "wb", buffering=0) as f:
        while room(folder) > size:
            f.write(bytes(min(1 << 20, room(folder) - size)))
        os.fsync(f.fileno())
