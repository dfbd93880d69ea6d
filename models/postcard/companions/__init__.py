"""Postcard's companions: a vision network, an image prompt adapter, an upscaler and a style, from the same renderer."""
