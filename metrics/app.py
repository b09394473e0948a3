"""The Space of a metric: its card, and a form that computes it from JSON, filled with the card's own example.

Linked into the folder of each metric. evaluate's `launch_gradio_widget` needs gradio 3, which does not run beside
today's huggingface_hub.
"""

import ast
import json
from pathlib import Path
from typing import Any

import evaluate
import gradio as gr
from huggingface_hub import SpaceCard

HERE = Path(__file__).parent


def example(card: str) -> dict[str, Any]:
    """The arguments of `metric.compute(...)` in the card's first block of code."""
    code = card.split("```python\n", 1)[1].split("```", 1)[0]
    calls = [node for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Call)]
    call = next(node for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == "compute")
    return {keyword.arg: ast.literal_eval(keyword.value) for keyword in call.keywords}


def script_of(folder: Path) -> Path:
    """The metric's own file; this one names its class, too."""
    others = (path for path in folder.glob("*.py") if path.name != Path(__file__).name)
    (script,) = (path for path in others if "(evaluate.Metric)" in path.read_text(encoding="utf-8"))
    return script


def page(folder: Path = HERE) -> gr.Blocks:
    card = SpaceCard.load(folder / "README.md")
    metric = evaluate.load(str(script_of(folder)))

    def compute(arguments: str) -> Any:
        try:
            return json.loads(json.dumps(metric.compute(**json.loads(arguments))))
        except (ValueError, TypeError) as error:
            raise gr.Error(str(error)) from error

    with gr.Blocks(title=card.data.title, analytics_enabled=False) as blocks:
        gr.Markdown(card.text)
        arguments = gr.Code(json.dumps(example(card.text), indent=2), language="json", label=metric.inputs_description)
        gr.Button("Compute").click(compute, arguments, gr.JSON(label="Figures"), api_name="compute")
    return blocks


if __name__ == "__main__":
    page().launch()
