"""What a run would need: a recipe in, counts, memory and time out (`dry_run`), before anything is trained."""
