import os

import hypothesis
import pytest
import torch

# As many tests run at once as there are cores: second threads, of theirs and of the programs that
# they start, would only wait for each other.
torch.set_num_threads(1)
os.environ.setdefault("OMP_NUM_THREADS", "1")

hypothesis.settings.register_profile("quick", max_examples=15, deadline=None, derandomize=True)
hypothesis.settings.register_profile("anew", max_examples=15, deadline=None, print_blob=True)
hypothesis.settings.register_profile("thorough", max_examples=150, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Those that load ITK come first: side by side, they fall to one process, and load it once."""
    items.sort(key=lambda item: item.get_closest_marker("itk") is None)


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)
