"""Recipes: plain values of a YAML file in, a `Recipe` out, checked before anything is spent; no model is loaded.

`yaml_file` reads the file. `recipe` is the whole; it is made of stages (`stage`), models of its other keys (`parts`)
and mappings that go to a class or function as they are (`forwarded_arguments`). `corpus_check` looks at the data,
`ignored_arguments` finds training arguments without effect, `errors` words what is refused.
"""

from .errors import RecipeError
from .parts import AugmentRecipe, LanguageModelRecipe, LoraRecipe, ProjectorRecipe, TextEncoderRecipe
from .recipe import Recipe, parse_recipe
from .stage import STAGES, ClassifyStage, DebiasStage, PretrainStage, QuestionStage, StageRecipe

__all__ = [
    "STAGES",
    "AugmentRecipe",
    "ClassifyStage",
    "DebiasStage",
    "LanguageModelRecipe",
    "LoraRecipe",
    "PretrainStage",
    "ProjectorRecipe",
    "QuestionStage",
    "Recipe",
    "RecipeError",
    "StageRecipe",
    "TextEncoderRecipe",
    "parse_recipe",
]
