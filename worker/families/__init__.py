"""Families of models. One file each; `interfaces.Family` says what a newcomer has to bring."""
