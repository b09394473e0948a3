"""Whose models: a file for each kind of model that answers behind `protocol`.

A file gives an object with `name` and `answer(asked, ecgs) -> answers`. A new kind is a file here and a case of
`model_of`.
"""
