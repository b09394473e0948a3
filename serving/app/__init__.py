"""A page in the browser: an ECG on paper, what is measured and found, questions, comparison, explanation (gradio).

In: an `Engine`. Out: a gradio application (`build_app`), which `ecgllm app` opens.

    upload -> Engine.read -> drawn (what canvas.js draws) | shown (HTML of figures, findings, answers) -> page
"""

from .page import build_app

__all__ = ["build_app"]
