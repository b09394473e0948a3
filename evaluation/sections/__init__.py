"""The parts of an evaluation, a file each: what it asks, and what the answers to it say.

A section is two functions: `plan(material) -> table` of questions (`predictions.planned`), and `figures(answered,
material) -> SectionFigures` from the rows of that section with all answers. A new one is a file and a line in
`suite.SECTIONS`.
"""
