"""What a run would take, said before it is spent: a recipe in, counts, memory and time out (`dry_run`)."""
