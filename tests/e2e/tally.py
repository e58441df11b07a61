"""What a test found: it is counted, what is wrong is said at once, and the last line is the one that tests/run-e2e reads.

A test is a row of expectations, each of which counts and none of which ends it (expect, equal, wait); or a row of scenarios,
each of which counts as one and ends at the first thing that is wrong with it (scenario, in_turn; check, wait_for)."""

import sys
import time
import traceback

passed = failed = skipped = 0


class Skipped(Exception):
    """A scenario that cannot be had here, and why."""


def expect(what, good, detail=""):
    global passed, failed
    if good:
        passed += 1
    else:
        failed += 1
        print(f"FAILED {what}: {detail}", flush=True)


def equal(what, got, wanted):
    expect(what, got == wanted, f"expected {wanted!r}, got {got!r}")


def until(condition, seconds, pause=0.02):
    """What the condition gives when it holds, or after so long."""
    end = time.monotonic() + seconds
    while not (found := condition()) and time.monotonic() <= end:
        time.sleep(pause)
    return found


def wait(what, good, seconds=40):
    found = until(good, seconds)
    expect(what, found, f"not within {seconds} s")
    return found


def check(condition, text):
    if not condition:
        raise AssertionError(text)


def check_equal(what, got, wanted):
    check(got == wanted, f"{what}: expected {wanted!r}, got {got!r}")


def wait_for(what, condition, seconds=30):
    found = until(condition, seconds)
    check(found, f"{what}: not within {seconds} s")
    return found


def skip(why, count=1):
    global skipped
    skipped += count
    print(f"skipped {why}", flush=True)


def scenario(test, *arguments, name=None, state=lambda: ""):
    """Runs it with these arguments; gives whether nothing was wrong. state: text to show if something was."""
    global passed
    name, begun = name or test.__name__, time.monotonic()
    try:
        test(*arguments)
    except Skipped as why:
        skip(f"{name}: {why}")
    except Exception:  # whatever it is, the next one still tells something
        expect(name, False, f"{traceback.format_exc()}{state()}")
        return False
    else:
        passed += 1
        print(f"{name}: {time.monotonic() - begun:.1f} s", flush=True)
    return True


def in_turn(tests, *arguments, state=lambda: ""):
    """Scenarios of which each goes on where the one before ended: after one that fails there are no more."""
    for test in tests:
        if not scenario(test, *arguments, state=state):
            return


def scenarios(names):
    """The scenarios of a module, given its globals(), as they stand in it."""
    return [thing for name, thing in names.items() if name.startswith("test_")]


def skip_all(why):
    print(f"0 passed, 0 failed, 1 skipped: {why}")
    sys.exit(77)


def end():
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    sys.exit(failed > 0)
