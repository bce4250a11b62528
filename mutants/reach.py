"""Which tests run which lines of the package: a plugin of pytest.

    REACH=reach.json python -m pytest -p mutants.reach

Coverage.py watches the package, with the name of the running test as its context; what runs while
modules are imported belongs to no test. Written to the file named by ``REACH``: ``tests``, each
with its seconds and whether it is a property (it stands in ``tests/properties``, or Hypothesis
draws its cases), and ``lines``, by file and line the places of the tests that ran it.
"""

import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import coverage
import pytest

_watching = coverage.Coverage(data_file=None, config_file=False, source=["equicomir"])
_tests: dict[str, tuple[float, bool]] = {}


def pytest_configure() -> None:
    """Watch from before the package is imported."""
    _watching.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """One test, with its fixtures; what an earlier test left in a cache is made again."""
    for cached in _caches():
        cached.cache_clear()
    _watching.switch_context(item.nodeid)
    begun = time.perf_counter()
    try:
        return (yield)
    finally:
        drawn = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        is_property = drawn or item.nodeid.startswith("tests/properties/")
        _tests[item.nodeid] = (round(time.perf_counter() - begun, 4), is_property)
        _watching.switch_context("")


def _caches() -> list[Any]:
    """Functions of the package that remember what they were asked."""
    loaded = [module for name, module in sys.modules.items() if name.startswith("equicomir")]
    values = [value for module in loaded for value in vars(module).values()]
    return [value for value in values if hasattr(value, "cache_clear")]


def pytest_sessionfinish() -> None:
    """Write what was seen."""
    _watching.stop()
    seen = _watching.get_data()
    places = {test: place for place, test in enumerate(_tests)}
    lines: dict[str, dict[int, list[int]]] = defaultdict(dict)
    for file in seen.measured_files():
        name = Path(file).relative_to(Path.cwd()).as_posix()
        for line, tests in seen.contexts_by_lineno(file).items():
            lines[name][line] = sorted(places[test] for test in tests if test)
    every = [[test, *facts] for test, facts in _tests.items()]
    Path(os.environ["REACH"]).write_text(json.dumps({"tests": every, "lines": lines}))
