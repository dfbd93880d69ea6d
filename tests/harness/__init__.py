"""What the tests of the whole project share: bots, sandboxes, workers and a model hub to run them against."""
