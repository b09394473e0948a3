"""Training: recipes, stages and run folders, on `transformers.Trainer` and so on Accelerate.

A recipe (YAML) goes in; a run folder comes out, whose root is a complete checkpoint. `run_recipe` runs the stages that
the recipe names, in order, and resumes a killed run; `dry_run` says beforehand what that would take. The rooms are
`recipe`, `data`, `trainers` and `planning`; `pretrain_stage` and `question_stages` put them together.
"""

from .planning.dry_run import dry_run
from .recipe import Recipe
from .recipe_loading import load_recipe
from .run import run_recipe

__all__ = ["Recipe", "dry_run", "load_recipe", "run_recipe"]
