"""Public corpora in their own layouts, one file each: a folder in, `entry.Found` out."""
