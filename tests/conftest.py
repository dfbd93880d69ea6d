"""Settings that every test shares. Knows nothing of what is tested; fixtures live beside the tests that use them."""

import os

# One thread a process: the results of float sums, and so of pictures, then do not hang on the number of cores.
os.environ.setdefault("OMP_NUM_THREADS", "1")
# No test may reach for a model hub; the shipped model lies in the repository.
os.environ.setdefault("HF_HUB_OFFLINE", "1")
