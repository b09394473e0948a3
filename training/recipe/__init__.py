"""Recipes: plain values of a YAML file in, a `Recipe` out, checked before anything is spent; no model is loaded.

`file` reads YAML. `recipe` is the whole, `parts`, `stage` and `arguments` are what it is made of, `corpus` looks at
the data, `argument_effects` knows which arguments would be ignored, `errors` puts into words what is refused.
"""

from .errors import RecipeError
from .parts import AugmentRecipe, LanguageModelRecipe, LoraRecipe, ProjectorRecipe, TextEncoderRecipe
from .recipe import Recipe, parse_recipe
from .stage import STAGES, DebiasStage, PretrainStage, QuestionStage, StageRecipe

__all__ = [
    "STAGES",
    "AugmentRecipe",
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
