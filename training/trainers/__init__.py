"""`transformers.Trainer` as the stages use it: gradient caching, Muon, guards, progress, and when a stage ends."""
