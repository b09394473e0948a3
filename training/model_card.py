"""The card of a run: one README.md that says what a checkpoint is, what it learned from, what it can do and what it
cannot.

In: a finished run and its metrics. Out: the text of the card at the run's root, which is also the checkpoint's on the
Hub. Every figure is shown beside that of a model that ignores the ECG.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from huggingface_hub import EvalResult
from transformers import PreTrainedConfig

from ..saving_ecgllm import LIMITS, card_data, model_card, preprocessing_text
from .recipe import QuestionStage

if TYPE_CHECKING:
    from .stage_training import StageContext

_LIMITS = """\
The figures above come from records of the same source as the training data, and from questions whose answers are the
source's own labels, errors included. Probabilities of answers are not calibrated."""

_LIMITS_OF_LABELS = """\
The figures above come from records of the same source as the training data, and are held against the source's own
labels, errors included. Probabilities are not calibrated."""

_LIMITS_OF_TEXTS = """\
The figures above come from records of the same source as the training data, and are held against the source's own
labels, errors included. Any text gets a score: it means something for the findings above, in words much like their
names, and nothing for what no ECG of the training data was said to show. Probabilities take yes and no for equally
frequent, and are not calibrated."""

_ENCODES = """\
An ECG and text encoder in one space.

```python
from transformers import pipeline

pipe = pipeline("zero-shot-ecg-classification", model=path, trust_remote_code=True)
ecg = {"signal": signal, "sampling_rate": 500, "leads": ["I", "II", "III"]}  # [leads, samples] in mV
pipe(ecg, candidate_labels=["atrial fibrillation", "sinus rhythm"])
```"""
_CLASSIFIES = """\
```python
from transformers import pipeline

pipe = pipeline(model=path, trust_remote_code=True)
ecg = {"signal": signal, "sampling_rate": 500, "leads": ["I", "II", "III"]}  # [leads, samples] in mV
pipe(ecg)  # a score for each label
```"""
_ANSWERS = """\
```python
from transformers import pipeline

pipe = pipeline(model=path, trust_remote_code=True)
ecg = {"signal": signal, "sampling_rate": 500, "leads": ["I", "II", "III"]}  # [leads, samples] in mV
pipe("Is there atrial fibrillation?", ecgs=ecg)
```"""

_KINDS = {
    "pretrain": (_ENCODES, _LIMITS_OF_TEXTS, "feature-extraction"),
    "classify": (_CLASSIFIES, _LIMITS_OF_LABELS, None),
}
"""Last stage of a run -> how its checkpoint is used, its limits, and its task on the Hub; questions are the rule."""


def run_card(context: StageContext, metrics: dict[str, Any], config: PreTrainedConfig) -> str:
    """Text of the card: data, preprocessing, training, figures, limits, recipe.

    Args: metrics: stage -> its metrics. config: of the model that the last stage saved.
    """
    recipe = context.recipe
    last = list(recipe.stages)[-1]
    # Folders are of the machine that trained.
    values = yaml.safe_dump(_without_paths(recipe.to_dict()), sort_keys=False, allow_unicode=True).strip()
    used = ", ".join(f"{name} {version}" for name, version in metrics[last]["versions"].items())
    use, limits, task = _KINDS.get(last, (_ANSWERS, _LIMITS, "any-to-any"))
    asked = {
        "pretrain": f"Validation records; seed {recipe.seed}.",
        "classify": f"{metrics[last].get('measured_on', '').capitalize()} records; seed {recipe.seed}.",
    }.get(last, f"{_asked(context, last)}, questions in paraphrases that were not trained on, seed {recipe.seed}.")
    title = recipe.description or f"ECG model after the stage {last}"
    measured = _results(context, metrics)
    return model_card(
        title,
        f"Made with ecgllm (method: arXiv 2411.14795); stages: {', '.join(recipe.stages)}.\n\n{use}",
        {
            "Training data": "\n".join(_data(context)),
            "Preprocessing": preprocessing_text(context.feature_extractor.preprocessing),
            "Figures": "\n".join([asked, "", *_figures(metrics)]),
            "Limits": f"{LIMITS}\n{limits}",
            "Recipe": f"```yaml\n{values}\n```\n\nVersions: {used}",
        },
        card_data(
            config,
            task,
            **({"model_name": title, "eval_results": measured} if measured else {}),
        ),
    )


def _data(context: StageContext) -> list[str]:
    splits, fresh, refused = list(context.corpus["split"]), context.fresh_records(), len(context.signals.refused)
    return [
        f"{context.trained_on()}.",
        "",
        *([f"- made for pretrain, each seen once: {fresh} ECGs"] if fresh else []),
        *(f"- {name}: {splits.count(name)} ECGs" for name in ("train", "validation", "test")),
        *([f"- refused by the feature extractor and left out: {refused}"] if refused else []),
        *_start(context),
    ]


def _asked(context: StageContext, last: str) -> str:
    stage = context.recipe.stages[last]
    return (
        "Test records" if isinstance(stage, QuestionStage) and stage.evaluate_split == "test" else "Validation records"
    )


def _start(context: StageContext) -> list[str]:
    start = context.run.start()
    if start is None:
        return []
    if context.start is not None and not context.start.weights:
        return ["", f"Sizes and tokenizer are those of `{start['name']}`; no weight is."]
    learned = f", which learned from: {start['trained_on']}" if start["trained_on"] else ""
    return ["", f"Training started from the checkpoint `{start['name']}` ({start['weights']}){learned}."]


def _figures(metrics: dict[str, Any]) -> list[str]:
    rows = ["| stage | questions | right | always the commonest answer | number |", "|---|---|---|---|---|"]
    losses = []
    for stage, values in metrics.items():
        loss = values.get("validation", {}).get("eval_loss")
        if loss is not None:
            losses.append(f"{stage} {loss:.4f}")
        for kind, shares in values.get("answers", {}).items():
            rows.append(
                f"| {stage} | {kind} | {shares['exact_match']:.1%} | {shares['commonest_answer']:.1%} "
                f"| {shares['questions']} |"
            )
    lines = [*rows, ""] if len(rows) > 2 else []
    lines += _pretraining_figures(metrics.get("pretrain", {}))
    lines += _label_figures(metrics.get("classify", {}))
    return [*lines, f"Validation loss: {', '.join(losses) if losses else 'not measured (no validation records)'}."]


def _results(context: StageContext, metrics: dict[str, Any]) -> list[EvalResult]:
    """The figures of the last stage that has some, for the card's model-index."""
    corpus = context.recipe.corpus
    for stage, values in reversed(metrics.items()):
        answers, zero_shot = values.get("answers", {}).get("all"), values.get("zero_shot")
        labelled = values.get("fine_tuned") or values.get("linear_probe")
        split = getattr(context.recipe.stages[stage], "evaluate_split", "validation")
        data = {"dataset_type": corpus, "dataset_name": f"{corpus}, {split} records", "dataset_split": split}
        if answers:
            chance = f"{answers['commonest_answer']:.1%}"
            return [
                EvalResult(
                    task_type="question-answering",
                    task_name="Questions about ECGs",
                    metric_type="exact_match",
                    metric_name=f"right answers (always the commonest answer: {chance})",
                    metric_value=round(answers["exact_match"], 4),
                    **data,
                )
            ]
        if zero_shot:
            return [
                EvalResult(
                    task_type="zero-shot-classification",
                    task_name="Findings by statement",
                    metric_type="roc_auc",
                    metric_name=f"mean AUROC of {len(zero_shot['findings'])} findings (chance: 0.5)",
                    metric_value=round(zero_shot["macro"][0], 4),
                    **data,
                )
            ]
        if labelled:
            return [
                EvalResult(
                    task_type="multi-label-classification",
                    task_name="Labels of ECGs",
                    metric_type="roc_auc",
                    metric_name=f"macro AUROC of {labelled['classes']} labels (chance: 0.5)",
                    metric_value=round(labelled["macro_auroc"], 4),
                    **data,
                )
            ]
    return []


def _label_figures(metrics: dict[str, Any]) -> list[str]:
    """Macro AUROC of the linear probe and of the fine-tuned encoder."""
    found = {what: metrics.get(what) for what in ("linear_probe", "fine_tuned") if metrics.get(what)}
    if not found:
        return []
    lines = [
        "Mean of the labels' AUROC (macro); chance is 0.5, intervals 95 % over patients.",
        "",
        "| | macro AUROC | interval | labels |",
        "|---|---|---|---|",
    ]
    for what, one in found.items():
        interval = f"{one['low']:.3f} to {one['high']:.3f}"
        lines.append(f"| {what.replace('_', ' ')} | {one['macro_auroc']:.3f} | {interval} | {one['classes']} |")
    lines += ["", "| label | AUROC | interval | with | without |", "|---|---|---|---|---|"]
    lines += [
        f"| {name} | {each['auroc']:.3f} | {each['low']:.3f} to {each['high']:.3f} | {each['positives']} "
        f"| {each['negatives']} |"
        for name, each in list(found.values())[-1]["by_class"].items()
    ]
    if left_out := list(found.values())[-1]["left_out"]:
        lines += ["", f"Not measured, as no record or every record has them: {', '.join(left_out)}."]
    return [*lines, ""]


def _pretraining_figures(metrics: dict[str, Any]) -> list[str]:
    """Retrieval and zero-shot classification, each beside chance."""
    found, lines = metrics.get("validation", {}), []
    if "eval_reports" in found:
        reports = found["eval_reports"]
        lines += ["| retrieval | recall at 1 | at 5 | at 10 | median rank |", "|---|---|---|---|---|"]
        for name, what in (("ecg_to_report", "report of an ECG"), ("report_to_ecg", "ECG of a report")):
            recalls = " | ".join(f"{found[f'eval_{name}_recall_at_{k}']:.1%}" for k in (1, 5, 10))
            lines.append(f"| {what} | {recalls} | {found[f'eval_{name}_median_rank']:g} |")
        chance = " | ".join(f"{min(k / reports, 1):.1%}" for k in (1, 5, 10))
        lines += [f"| chance, of {reports:.0f} different reports | {chance} | {(reports + 1) / 2:g} |", ""]
    measured = metrics.get("zero_shot")
    if measured:
        auroc, low, high = measured["macro"]
        lines += [
            "Findings by statement (zero-shot: the nearer an ECG to the name of a finding, the more it shows it); "
            "chance is 0.5, intervals 95 % over patients. In sentences that were not trained on the mean is "
            f"{found['eval_zero_shot_auroc_unseen_wording']:.3f}.",
            "",
            f"Mean AUROC of {len(measured['findings'])} findings: {auroc:.3f} ({low:.3f} to {high:.3f}).",
            "",
            "<details>",
            "<summary>AUROC of each finding</summary>",
            "",
            "| finding | AUROC | interval | with | without |",
            "|---|---|---|---|---|",
        ]
        lines += [
            f"| {name} | {each['auroc']:.3f} | {each['low']:.3f} to {each['high']:.3f} | {each['positives']} "
            f"| {each['negatives']} |"
            for name, each in sorted(measured["findings"].items())
        ]
        lines += ["", "</details>", ""]
    return lines


def _without_paths(values: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in values.items() if key not in ("data", "output", "start_from")}
    for key in ("text_encoder", "language_model"):
        if kept[key]["name"] and Path(kept[key]["name"]).is_dir():
            kept[key] |= {"name": Path(kept[key]["name"]).name}
    if kept["encoder"].get("from"):
        kept["encoder"] = kept["encoder"] | {"from": Path(kept["encoder"]["from"]).name}
    for stage in kept["stages"].values():
        for settings, key in ((stage["augment"], "noise_source"), (stage.get("questions", {}), "path")):
            if key in settings:
                settings[key] = Path(settings[key]).name
    return kept
