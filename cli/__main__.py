"""`python -m ecgllm.cli`."""

from . import main

main()
