"""What the tests of the whole project share: a running sandbox and a person's hands in it."""
