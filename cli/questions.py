"""`questions`, `debias`, `confound` and `audit`: question sets, and what they tell without the ECG."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..atomic_writing import new_folder, write_text
from ..errors_ecgllm import ECGError
from .folders import load_corpus, load_questions, save
from .options import MatchOn, OutputFolder, QuestionsFolder, Seed, names


def questions(
    corpus: Annotated[Path, typer.Argument(help="Folder written by `ecgllm prepare` or `ecgllm simulate`.")],
    output: OutputFolder,
    paraphrases: Annotated[
        str,
        typer.Option(
            "--paraphrases", "--phrasings", help="train or test, which are disjoint, or split: each split its own."
        ),
    ] = "split",
    split: Annotated[str | None, typer.Option(help="Only records of this split: train, validation or test.")] = None,
    balance: Annotated[
        bool, typer.Option("--debias", help="Keep only yes/no questions, each with as many ECGs for yes as for no.")
    ] = False,
    match_on: MatchOn = None,
    types: Annotated[str, typer.Option(help="Some of verify,choose,query,comparison.")] = "",
    attributes: Annotated[
        str | None, typer.Option(help="Only these findings, groups, kinds and measurements, separated by commas.")
    ] = None,
    about: Annotated[str, typer.Option(help="Some of findings,leads,measurements. Default: all three.")] = "",
    per_record: Annotated[
        float, typer.Option(help="Questions of each type per record, on average and at most.")
    ] = 4.0,
    words: Annotated[
        str,
        typer.Option(
            help="Other names, registers, negation, questions without an answer: varied, or shares such as "
            "names=0.4,negated=0.2. Default: none of these."
        ),
    ] = "",
    seed: Seed = 0,
) -> None:
    """Build questions with known answers from the findings and measurements of a corpus."""
    with new_folder(output) as folder:
        from ..corpora import build_questions, debias_with_report

        records = load_corpus(corpus)
        if split is not None:
            present = sorted(set(records["split"]))
            if split not in present:
                raise ECGError(f"{corpus} has no split {split!r}; it has {', '.join(present)}")
            records = records.filter(lambda value: value == split, input_columns="split")
        given = {"types": types, "attributes": attributes, "about": about}
        chosen = {name: found for name, value in given.items() if (found := names(value))}
        if words:
            chosen["words"] = _shares(words)
        built = build_questions(records, paraphrases=paraphrases, seed=seed, per_record=per_record, **chosen)
        if built.info.description:
            typer.echo(built.info.description, err=True)
        report = None
        if balance or match_on:
            built, report = debias_with_report(built, seed, records, names(match_on))
        save(built, folder, output, "questions", report)


def _shares(words: str) -> str | dict[str, float]:
    """A word for all shares, or NAME=SHARE separated by commas."""
    if "=" not in words:
        return words
    try:
        return {name: float(share) for name, _, share in (one.partition("=") for one in names(words))}
    except ValueError as error:
        raise ECGError(f"--words {words}: {error}; expected shares such as names=0.4,negated=0.2") from error


def debias(
    questions: QuestionsFolder,
    output: OutputFolder,
    corpus: Annotated[Path | None, typer.Option(help="Folder of their records, needed to match.")] = None,
    match_on: MatchOn = None,
    method: Annotated[
        str,
        typer.Option(
            help="match: drop questions until yes and no are alike; weight: a weight for each; standardise: weights "
            "by which every question is asked of alike records (the adjustment formula)."
        ),
    ] = "match",
    by_split: Annotated[
        bool, typer.Option("--by-split/--whole", help="Balance each split by itself, or all questions together.")
    ] = True,
    max_per_record: Annotated[int | None, typer.Option(help="At most so many questions about one record.")] = None,
    crossed: Annotated[
        bool,
        typer.Option("--crossed", help="Balance every paraphrase within every stratum, at the cost of questions."),
    ] = False,
    seed: Seed = 0,
) -> None:
    """Sample by outcome: yes/no questions for which as many ECGs answer yes as no, in every paraphrase.

    That blocks the way from severity to the answer. The adjustment formula is --method standardise.
    """
    with new_folder(output) as folder:
        from ..corpora import debias_with_report

        records = None if corpus is None else load_corpus(corpus)
        kept, report = debias_with_report(
            load_questions(questions), seed, records, names(match_on), max_per_record, method, by_split, crossed
        )
        save(kept, folder, output, "questions", report)


def confound(
    corpus: Annotated[Path, typer.Argument(help="Folder of records, best those of `ecgllm simulate`.")],
    output: OutputFolder,
    strength: Annotated[float, typer.Option(help="0: no bias; 1: who is asked what depends on severity alone.")] = 1.0,
    paraphrases: Annotated[
        str, typer.Option("--paraphrases", "--phrasings", help="train or test; they are disjoint.")
    ] = "train",
    per_record: Annotated[float, typer.Option(help="Questions per record, on average.")] = 2.0,
    certainty: Annotated[
        float, typer.Option(help="How sure the answers are at strength 1; below 0 the other way: the sick say no.")
    ] = 0.9,
    confounder: Annotated[str, typer.Option(help="severity, age, sex or noise.")] = "severity",
    question_strength: Annotated[
        float | None, typer.Option(help="How much it decides what is asked; as strength. 0: only the answers.")
    ] = None,
    attributes: Annotated[str | None, typer.Option(help="Ask only about these findings, separated by commas.")] = None,
    seed: Seed = 0,
) -> None:
    """Build the biased questions that a hospital gives: severity decides who is asked what. For experiments."""
    with new_folder(output) as folder:
        from ..corpora import confound as biased

        built = biased(
            load_corpus(corpus), strength, seed, per_record, certainty, paraphrases,
            confounder=confounder, question_strength=question_strength, attributes=names(attributes) or None,
        )  # fmt: skip
        save(built, folder, output, "questions")


def audit(
    questions: QuestionsFolder,
    corpus: Annotated[Path | None, typer.Option(help="Folder of their records: severity, age, sex, patients.")] = None,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Folder for audit.json and audit.png.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    seed: Seed = 0,
) -> None:
    """Say how much of the answers the questions give away without the ECG."""
    from ..corpora.debiasing.audit import audit as measure

    found = measure(load_questions(questions), None if corpus is None else load_corpus(corpus), seed)
    if output is not None:
        from ..corpora.debiasing.audit_plot import plot_audit

        write_text(output / "audit.json", found.to_json() + "\n")
        plot_audit(found, output / "audit.png")
    typer.echo(found.to_json() if as_json else str(found))
