"""The programs of the build that is tested, the official ones where they have been built, and how tests run them."""

import collections
import os
import subprocess

import tally

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BIN = os.path.abspath(os.environ.get("KEDGE_BIN", "build"))
KEDGE, KEDGECTL, KEDGEUTL = (os.path.join(BIN, name) for name in ("kedge", "kedgectl", "kedgeutl"))
OFFICIAL = os.path.join(ROOT, "build/interop/bin")
ETCD, ETCDCTL, ETCDUTL = (os.environ.get(name.upper(), os.path.join(OFFICIAL, name)) for name in ("etcd", "etcdctl", "etcdutl"))

Result = collections.namedtuple("Result", "status out errors")


def is_there(program):
    return os.access(program, os.X_OK)


def environment(**more):
    """This process's own without what the programs would read of it."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("KEDGE_", "ETCD"))} | more


def begin(program, *arguments, **how):
    """A process that goes on. how: as Popen's, text from pipes without it."""
    how = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True, "env": environment()} | how
    return subprocess.Popen([program, *arguments], **how)


def ended(process, timeout=60):
    out, errors = process.communicate(timeout=timeout)
    return Result(process.returncode, out, errors)


def run(program, *arguments, stdin=None, timeout=60, **how):
    """One that ends by itself. how: as Popen's."""
    how = {"text": True, "env": environment()} | ({"stdin": subprocess.DEVNULL} if stdin is None else {"input": stdin}) | how
    done = subprocess.run([program, *arguments], capture_output=True, timeout=timeout, check=False, **how)
    return Result(done.returncode, done.stdout, done.stderr)


def kedgectl(*arguments, endpoints, **how):
    return run(KEDGECTL, f"--endpoints={endpoints}", *arguments, **how)


def kedgeutl(*arguments, **how):
    return run(KEDGEUTL, *arguments, **how)


def said(member, *arguments, **how):
    """What kedgectl prints to a command that must succeed."""
    result = kedgectl(*arguments, endpoints=member.endpoint, **how)
    if result.status != 0:
        raise AssertionError(f"{' '.join(arguments)[:200]}: {result}")
    return result.out


def has_failpoints(program=KEDGE):
    return _contains(program, b"failpoint panic")


def skip_without_failpoints():
    if not has_failpoints():
        raise tally.Skipped("a build without failpoints")


def has_sanitizer(program=KEDGE):
    """Its runtime and a library that is preloaded exclude each other; times and memory of such a build say nothing."""
    return _contains(program, b"__asan_init", b"__tsan_init")


def _contains(program, *texts):
    with open(program, "rb") as f:
        content = f.read()
    return any(text in content for text in texts)
