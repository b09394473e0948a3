"""Putting planned questions to a model: each different one once, in chunks that a killed run need not ask again.

In: a model, the rows that sections planned, the ECGs. Out: the same rows with the columns of `predictions.ANSWERED`.
Decided here: rows that show the same ECGs under the same words are one question, whichever sections ask it; questions
about the same ECGs stand together, so that a model can share work; a finished chunk is a file named after its
questions and the model, and is not asked again. With several processes each loads the model and takes chunks.
"""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from tqdm.auto import tqdm

from ..answer_matching import answer_set
from ..atomic_writing import write_bytes
from ..corpora.questions.about_measurements import RANGES
from ..errors_ecgllm import ECGError
from ..findings import VOCABULARY
from ..signal_ecgllm import LEADS
from .predictions import PREDICTIONS, YES_NO
from .protocol import Answer, Asked, Model, ShownECG
from .reading_answers import read_answer
from .shown_ecgs import ShownECGs

CHUNK = 512  # questions; about the same ECGs they stay together, even if there are more

_ANSWERS = pa.schema(
    [
        ("asked_id", pa.string()),
        ("text", pa.string()),
        ("p_yes", pa.float64()),
        ("probability", pa.float64()),
        ("refused", pa.string()),
    ]
)


def ask(
    model: Model | Callable[[], Model],
    rows: pd.DataFrame,
    ecgs: ShownECGs,
    folder: Path,
    identity: str,
    processes: int = 1,
    chunk: int = CHUNK,
) -> pd.DataFrame:
    """Ask a model all that was planned.

    Args: model: or what loads it; with several processes it must be what loads it, and picklable. rows: with the
        columns of `PLANNED`. folder: where chunks of answers are kept. identity: what tells this model and these
        records from others, such as a hash of weights.
    Returns: rows of `PREDICTIONS`, by "model", in the order of `rows`.
    Raises: ECGError where the model gives another number of answers than it was asked questions.
    """
    asked = asked_of(rows)
    ids = [asked_id(one) for one in asked]
    different = dict(zip(ids, asked, strict=True))
    chunks = list(_chunks(different, chunk))
    names = [hashlib.blake2b("\n".join([identity, *part]).encode(), digest_size=12).hexdigest() for part in chunks]
    paths = [folder / f"{name}.parquet" for name in names]
    folder.mkdir(parents=True, exist_ok=True)
    waiting = [(path, [different[each] for each in part]) for path, part in zip(paths, chunks, strict=True)
               if not path.is_file()]  # fmt: skip
    total, left = len(different), sum(len(part) for _, part in waiting)
    with tqdm(total=total, initial=total - left, unit="question", disable=None, desc="Asking") as bar:
        for number in _answered(model, waiting, ecgs, processes):
            bar.update(number)
    found = pd.concat([pq.read_table(path).to_pandas() for path in paths]) if paths else None
    return predictions(rows, ids, found)


def asked_of(rows: pd.DataFrame) -> list[Asked]:
    """What each row asks."""
    return [
        Asked(
            row.question,
            tuple(ShownECG(record_id, row.change, row.told) for record_id in row.shown_ids),
            None if row.candidates is None else tuple(row.candidates),
            row.prompt,
            row.finding,
        )
        for row in rows.itertuples()
    ]


def asked_id(asked: Asked) -> str:
    """The same for the same words about the same ECGs, and the same finding, by which some models answer."""
    said = [asked.question, list(map(list, asked.ecgs)), asked.candidates, asked.prompt, asked.finding]
    return hashlib.blake2b(json.dumps(said).encode(), digest_size=12).hexdigest()


def predictions(rows: pd.DataFrame, ids: Sequence[str], found: pd.DataFrame | None, by: str = "model") -> pd.DataFrame:
    """The rows with what was answered. found: columns of a chunk, or None where nothing was asked."""
    table = rows.reset_index(drop=True).copy()
    table["by"] = by
    if found is None:
        return table.reindex(columns=PREDICTIONS.names)
    said = found.set_index("asked_id").loc[list(ids)].reset_index(drop=True)
    table[["p_yes", "probability", "refused"]] = said[["p_yes", "probability", "refused"]]
    table["answer"] = said["text"]
    options = _options(rows)
    read: dict[tuple, list[str] | None] = {}
    answers = []
    for text, wanted, candidates in zip(table["answer"], table["expected"], table["candidates"], strict=True):
        choices = YES_NO if _is_yes_no(wanted, candidates) else options
        key = (text, choices is YES_NO)
        if key not in read:
            read[key] = read_answer(text, choices)
        answers.append(read[key])
    table["answers"] = pd.Series(answers, dtype=object)
    table["right"] = pd.Series(
        [
            None if got is None or wanted is None else answer_set(got) == answer_set(wanted)
            for got, wanted in zip(answers, table["expected"], strict=True)
        ],
        dtype=object,
    )
    return table.reindex(columns=PREDICTIONS.names)


def write_predictions(table: pd.DataFrame, path: Path) -> None:
    """All rows as Parquet, with the schema of `PREDICTIONS`."""
    sink = pa.BufferOutputStream()
    pq.write_table(to_arrow(table), sink, compression="zstd")
    write_bytes(path, sink.getvalue().to_pybytes())


def to_arrow(table: pd.DataFrame) -> pa.Table:
    clean = table.astype(object).where(table.notna(), None)
    return pa.Table.from_pylist(clean.to_dict("records"), schema=PREDICTIONS)


def read_predictions(path: Path) -> pd.DataFrame:
    """As `write_predictions` wrote them; lists as lists, null as None (NaN for numbers)."""
    columns = pq.read_table(path).to_pydict()
    if missing := set(PREDICTIONS.names) - set(columns):
        raise ECGError(
            f"{path} lacks the columns {', '.join(sorted(missing))}; expected what `ecgllm evaluate` writes."
        )
    table = pd.DataFrame({name: pd.Series(values, dtype=object) for name, values in columns.items()})
    return table.astype(dict.fromkeys(("p_yes", "probability"), float))


def _is_yes_no(expected: Any, candidates: Any) -> bool:
    return (candidates is not None and tuple(candidates) == YES_NO) or (
        expected is not None and list(expected) in (["yes"], ["no"])
    )


def _options(rows: pd.DataFrame) -> frozenset[str]:
    """What can be answered to a question that is not of yes or no."""
    stated = {answer for wanted in rows["expected"] if wanted is not None for answer in wanted}
    leads = {f"lead {lead.lower()}" for lead in LEADS}
    ranges = {f"{side} the normal range" for side in RANGES}
    return frozenset({*stated, *VOCABULARY, *leads, *ranges, "none"} - {"yes", "no"})


def _chunks(different: Mapping[str, Asked], size: int) -> Iterator[list[str]]:
    """Ids in chunks, those of the same ECGs together."""
    ordered = sorted(different, key=lambda each: (different[each].ecgs, each))
    chunk: list[str] = []
    for position, each in enumerate(ordered):
        new = position == 0 or different[each].ecgs != different[ordered[position - 1]].ecgs
        if chunk and new and len(chunk) >= size:
            yield chunk
            chunk = []
        chunk.append(each)
    if chunk:
        yield chunk


def _answered(model: Any, waiting: list[tuple[Path, list[Asked]]], ecgs: ShownECGs, processes: int) -> Iterator[int]:
    """Answers each chunk and writes its file; gives how many questions each had, as they are done."""
    if not waiting:
        return
    if processes <= 1 or len(waiting) == 1:
        loaded = model if hasattr(model, "answer") else model()
        for path, asked in waiting:
            _answer_chunk(loaded, asked, ecgs, path)
            yield len(asked)
        return
    if hasattr(model, "answer"):
        raise ECGError("several processes need what loads a model, such as partial(model_of, name), not a loaded one.")
    try:
        pickle.dumps(model)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise ECGError(
            f"what loads the model cannot be sent to other processes ({error}); several of them need a function of a "
            "module, such as partial(model_of, name)."
        ) from error
    # Spawned: a fork copies locks that threads of torch may hold.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _load_in_process, (model, ecgs, processes))
    try:
        running = {pool.submit(_answer_in_process, asked, path): len(asked) for path, asked in waiting}
        for done in as_completed(running):
            done.result()
            yield running[done]
    except BrokenProcessPool as error:
        raise ECGError(
            "a process that asks ended (out of memory? what it said stands above); what was answered is kept, and "
            "the same evaluation with fewer processes goes on from there."
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_PROCESS: dict[str, Any] = {}


def _load_in_process(model: Callable[[], Model], ecgs: ShownECGs, processes: int) -> None:
    import torch

    threading.Thread(target=_end_with_parent, daemon=True).start()
    torch.set_num_threads(max((os.cpu_count() or 1) // processes, 1))
    _PROCESS.update(model=model(), ecgs=ecgs)


def _end_with_parent() -> None:
    """A process of the pool waits for work for ever, also from a parent that was killed."""
    parent_process().join()
    os._exit(1)


def _answer_in_process(asked: list[Asked], path: Path) -> None:
    _answer_chunk(_PROCESS["model"], asked, _PROCESS["ecgs"], path)


def _answer_chunk(model: Model, asked: Sequence[Asked], ecgs: ShownECGs, path: Path) -> None:
    answers = list(model.answer(asked, ecgs))
    if len(answers) != len(asked):
        raise ECGError(f"{model.name} gave {len(answers)} answers to {len(asked)} questions; expected one to each.")
    rows = [_as_row(one, answer) for one, answer in zip(asked, answers, strict=True)]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(rows, schema=_ANSWERS), sink)
    write_bytes(path, sink.getvalue().to_pybytes())


def _as_row(asked: Asked, answer: Answer) -> dict[str, Any]:
    scores = {name.lower(): score for name, score in (answer.scores or {}).items()}
    both = scores.get("yes", 0.0) + scores.get("no", 0.0)
    p_yes = scores["yes"] / both if set(YES_NO) <= set(scores) and both > 0 else None
    text = answer.text
    if text is None and answer.scores:
        text = max(answer.scores, key=answer.scores.__getitem__)
    return {
        "asked_id": asked_id(asked),
        "text": text,
        "p_yes": p_yes,
        "probability": answer.probability,
        "refused": answer.refused,
    }


__all__ = ["ask", "asked_id", "asked_of", "predictions", "read_predictions", "to_arrow", "write_predictions"]
