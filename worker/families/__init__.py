"""Families of models. One file each; `base.Family` says what a newcomer has to bring."""
