"""Recipes: a YAML file in, a `Recipe` out, checked before anything is spent.

`recipe` has its parts, `file` reads YAML, `checks` and `effects` refuse what contradicts itself or would be ignored.
"""
