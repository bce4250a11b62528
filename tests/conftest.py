import os

import hypothesis
import pytest
import torch

torch.set_num_threads(1)  # small tensors: a second thread only waits

hypothesis.settings.register_profile("quick", max_examples=15, deadline=None, derandomize=True)
hypothesis.settings.register_profile("anew", max_examples=15, deadline=None, print_blob=True)
hypothesis.settings.register_profile("thorough", max_examples=150, deadline=None, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))


@pytest.fixture
def rng() -> torch.Generator:
    return torch.Generator().manual_seed(0)
