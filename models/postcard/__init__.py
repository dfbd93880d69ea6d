"""Postcard: a small text-to-image model of our own, with its renderer, training and scores."""
