# SPDX-License-Identifier: GPL-2.0-or-later
"""Reports tests in the form that tests/run-tests reads, and keeps going after one that failed."""
import contextlib
import os
import sys
import time
import traceback

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
import judged as table  # noqa: E402 - beside the other tests
from agentlink import HungHost  # noqa: E402

FULL = bool(os.environ.get('PASSTHRU_FULL'))  # make check-all


class Tap:
    def __init__(self):
        self.count = 0
        self.failed = 0
        self.cases = []

    def case(self, function):
        """Decorator: a test whose name is the first line of its docstring; run() runs it."""
        self.cases.append(function)
        return function

    def full_case(self, function):
        """Decorator: the same, in make check-all only."""
        return self.case(function) if FULL else function

    def run(self, *arguments):
        """Every case in order, each with the arguments, or those whose functions the command line names; ends the program."""
        named = [case for case in self.cases if case.__name__ in sys.argv[1:]]
        for function in named or self.cases:
            with self.test(function.__doc__.strip().splitlines()[0]):
                function(*arguments)
        self.end()

    @contextlib.contextmanager
    def test(self, name):
        """One test: what is raised inside makes it fail, and the next one goes on."""
        begin = time.monotonic()
        self.count += 1
        try:
            yield
        except Exception as error:  # noqa: BLE001 - whatever it was, it is this test's failure
            self.failed += 1
            for line in traceback.format_exc().splitlines():
                print(f'# {line}')
            print(f'not ok {self.count} - {name}', flush=True)
            if isinstance(error, HungHost):  # no other case can do better
                raise
        else:
            print(f'ok {self.count} - {name} ({time.monotonic() - begin:.1f} s)', flush=True)

    def skip(self, name, reason):
        self.count += 1
        print(f'ok {self.count} - {name} # SKIP {reason}', flush=True)

    @staticmethod
    def note(text):
        say(text)

    def end(self):
        """Prints the plan and ends the program."""
        print(f'1..{self.count}', flush=True)
        sys.exit(1 if self.failed or not self.count else 0)


def equal(seen, expected, what='value'):
    if seen != expected:
        raise AssertionError(f'{what}: expected {expected!r}, seen {seen!r}')


def judged(check, verdict):
    """For the table of checks: this verdict was the right one."""
    print(table.line(check, verdict), flush=True)


def say(text):
    print('# ' + str(text).replace('\n', '\n# '), flush=True)


def contains(text, *words):
    for word in words:
        if word not in text:
            raise AssertionError(f'{word!r} is not in:\n{text}')
