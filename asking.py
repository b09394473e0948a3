"""From a checkpoint's name to a pipeline that answers, and one question to it, with the certainty of the answer.

In: a folder, or a Hub id whose code is trusted; records and a question. Out: `ECGTextToTextPipeline`, or a
`CheckpointError` before anything is run; the answer as `ecgllm ask` gives it. Decided here: a folder is loaded by this
package's own classes. Other code, whether in the folder (an encoder with code of its own) or named elsewhere, runs
only where a person says that it is trusted: it is no better known than a download.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .errors_ecgllm import CheckpointError, ECGError

if TYPE_CHECKING:
    from .answer_calibration_ecgllm import AnswerCalibration
    from .pipeline_ecgllm import ECGTextToTextPipeline
    from .signals import ECGRecord, Measurements

TASK = "ecg-text-to-text"
NOTICE = "Not a medical device: no answer may guide the care of a person."
_NAMES_CODE = ("auto_map", "custom_pipelines")

# The probability of the whole answer: a model trained by cross-entropy gives it as the chance that this is the
# recorded answer. The mean per token would grow with every repetition in a text such as "lead iiiii". One chance in
# ten.
UNSURE_BELOW = 0.1
# The probability of the likelier of yes and no, relative to the other: below it, the shipped model was right about
# real records no more often than a coin (see the table of certainty in its card).
UNDECIDED_BELOW = 0.7


def load_answerer(
    model: str | Path,
    trust_remote_code: bool = False,
    language_model: str | None = None,
    allow_other_language_model: bool = False,
) -> ECGTextToTextPipeline:
    """The pipeline of a checkpoint.

    Args: language_model, allow_other_language_model: of a trained-only checkpoint, see
        `ECGLLMForConditionalGeneration.from_pretrained`; its adapter is merged.
    Raises: CheckpointError as `check_checkpoint`, and where it cannot be loaded.
    """
    check_checkpoint(model, trust_remote_code)
    options: dict[str, Any] = {"trust_remote_code": trust_remote_code}
    given = {"language_model": language_model, "allow_other_language_model": allow_other_language_model}
    options |= {name: value for name, value in given.items() if value}
    try:
        from .composition_ecgllm import leaves_language_model_out
        from .modeling_ecgllm import ECGLLMForConditionalGeneration
        from .pipeline_ecgllm import ECGTextToTextPipeline
        from .processing_ecgllm import ECGProcessor

        if leaves_language_model_out(model):
            options["adapter"] = "merge"
        return ECGTextToTextPipeline(
            model=ECGLLMForConditionalGeneration.from_pretrained(model, **options),
            processor=ECGProcessor.from_pretrained(model, trust_remote_code=trust_remote_code),
            task=TASK,
        )
    except CheckpointError as error:
        way = None if language_model else _way_to_language_model(model)
        if way is None:
            raise
        raise CheckpointError(f"{error} {way}.") from error
    except (ECGError, MemoryError):
        raise
    except Exception as error:  # a damaged or incomplete folder fails in as many ways as there are files in it
        raise CheckpointError(f"{model} cannot be loaded: {type(error).__name__}: {error}") from error


def _way_to_language_model(model: str | Path) -> str | None:
    """How to fetch the language model that a trained-only checkpoint in a folder names, where that is known."""
    from .loading_ecgllm import read_json
    from .training.fetch import way_to

    file = Path(model) / "config.json"
    named = read_json(file).get("language_model_base") if file.is_file() else None
    return None if named is None else way_to(named["name"])


def check_checkpoint(
    model: str | Path, trust_remote_code: bool = False, kinds: Collection[str] | None = ("ecgllm",)
) -> None:
    """Refuse anything but a checkpoint of this package, damaged files, and code that nobody has said to trust.

    Args: kinds: model types that will do; None for any.
    Raises: CheckpointError.
    """
    folder = Path(model)
    if not folder.is_dir():
        if folder.exists() or not trust_remote_code:
            raise CheckpointError(
                f"{model} is no folder with a checkpoint. `ecgllm train` writes one; a Hub id needs "
                "--trust-remote-code, since code that comes with it is not seen before it runs"
            )
        return
    if (folder / "recipe.yaml").is_file() and not (folder / "metrics.json").is_file():
        raise CheckpointError(
            f"{model} is an unfinished run: no metrics.json in it. Run its recipe again, which goes on"
        )
    if not (folder / "config.json").is_file():
        raise CheckpointError(f"{model} is no checkpoint: no config.json in it. `ecgllm train` writes one")
    from .loading_ecgllm import check_files, read_json

    kind = read_json(folder / "config.json").get("model_type")
    if kinds is not None and kind not in kinds:
        raise CheckpointError(
            f"{model} holds a model of type {kind!r}; expected {' or '.join(map(repr, kinds))}, as `ecgllm train` "
            "writes it"
        )
    if not trust_remote_code:
        check_code(folder)
    check_files(folder)


def check_code(folder: str | Path) -> None:
    """Refuse a folder whose configurations name other code than this package's own files.

    Raises: CheckpointError that names the code: a file of the folder's own, a path, or another repository's
        (`someone/else--file.Class`).
    """
    from .loading_ecgllm import CONFIGURATIONS, read_json
    from .saving_ecgllm import code_files

    own = {name.removesuffix(".py") for name in code_files("modeling_ecgllm")}
    for path in (Path(folder) / name for name in CONFIGURATIONS):
        if not path.is_file():
            continue
        for name in _named_code(read_json(path)):
            module, _, class_name = name.rpartition(".")
            if module not in own or not class_name.isidentifier():
                raise CheckpointError(
                    f"{path} names code that is none of ecgllm's own: {name!r}. It is not run; read it first, and if "
                    "you trust it say so (ask: --trust-remote-code)"
                )


def _named_code(value: Any, naming: bool = False) -> Iterator[str]:
    """All strings below an `auto_map` or an `impl` of `custom_pipelines`, at any depth."""
    if isinstance(value, dict):
        for key, below in value.items():
            if key == "custom_pipelines" and isinstance(below, dict):
                below = [entry.get("impl") if isinstance(entry, dict) else entry for entry in below.values()]
            yield from _named_code(below, naming or key in _NAMES_CODE)
    elif isinstance(value, list):
        for below in value:
            yield from _named_code(below, naming)
    elif isinstance(value, str) and naming:
        yield value


def answer_question(
    answerer: Any,
    records: list[ECGRecord],
    question: str,
    candidates: list[str] | None = None,
    prevalence: float | None = None,
    check: bool = True,
    measurements: Sequence[Measurements] | None = None,
    **ecg_options: Any,
) -> dict[str, Any]:
    """Ask a loaded pipeline about records; ecg_options: for `ECGFeatureExtractor`. They are measured for a model that
    was trained with what is measured; measurements: of each, where that was done before.

    Where the model writes yes or no, the answer is the likelier of the two: what is written token by token follows
    the likeliest beginning, which need not begin the likelier answer.

    Returns: JSON-ready mapping: answer, that of the model or, where it is calibrated, what it makes likely (None where
    nobody can tell); own {answer, probability}, the model's; candidates {answer: probability relative to the others}
    (None unless candidates are given or the model wrote yes or no, when they are yes and no); probability of the
    answer, as calibrated, or relative to the candidates where there are some; generated {text, probability}, what the
    model wrote freely (None where candidates are given); calibrated: what a yes or no is worth, as the pipeline gives
    it, and in `measured` how right such answers were, and of which records (None at another prevalence); None where
    that is not known; prevalence: see there; contradicted: what is measured otherwise than the answer says, in
    sentences;
    negated: whether a question of yes or no asks for what is absent, which models miss;
    refused: why the question is not asked of the model, which would answer all the same (`findings.question_scope`):
    it asks for treatment, say, or for what nobody here knows; or the model's own refusal, which stands in own, too;
    None where it is answered. Without `check`, and with candidates, every question is asked;
    refusal: the model's probability of refusing, relative to the candidates or to yes and no, where it learned to
    refuse and these were compared;
    measured: the measurement that answers a question about a number, which is not asked of the model (else None);
    not_measured: why there is no answer to such a question (else None);
    unsure: whether the model gives what it wrote, or yes and no together, a probability
    below `UNSURE_BELOW`, or the likelier of yes and no one below `UNDECIDED_BELOW` (None where candidates are given);
    trained_on.
    """
    from .findings.question_scope import asks_yes_or_no, negates
    from .measured_answers import contradictions
    from .signals import measure

    measured = [measure(record) for record in records] if measurements is None else list(measurements)
    trained_on = getattr(answerer.model.config, "trained_on", None)
    if candidates is None and (found := without_the_model(question, measured, check)) is not None:
        return found | {"trained_on": trained_on}
    processor = answerer.processor
    if prevalence is not None:
        ecg_options["prevalence"] = prevalence
    if processor.reads_measured:
        ecg_options["measured"] = [one.figures() for one in measured]

    def ask(**chosen: Any) -> dict[str, Any]:
        return answerer(question, ecgs=records, **chosen, **ecg_options)

    if candidates is not None:
        written, compared = None, ask(candidates=candidates)
    else:
        written, compared = _written_and_compared(ask, asks_yes_or_no(question))
    found = written if compared is None else compared
    answer, probability = found["generated_text"], found["probability"]
    scores, calibrated, refusal = (found.get(name) for name in ("candidates", "calibrated", "refusal"))
    generated = refused = None
    known, undecided = probability, False  # known: of all the answers that are compared
    if written is not None:
        generated = {"text": written["generated_text"], "probability": written["probability"]}
        if processor.refusal is not None and generated["text"].startswith(processor.refusal):
            refused = generated["text"]
        if compared is not None:
            scores = {word.lower(): score for word, score in compared["candidates"].items()}  # likeliest first
            answer, known, undecided = answer.lower(), compared["any_candidate"], probability < UNDECIDED_BELOW
            if refusal is not None and refusal > 0.5:
                refused, answer, probability = processor.refusal, processor.refusal, refusal
    own = {"answer": answer, "probability": probability}
    unsure = None if generated is None else known < UNSURE_BELOW or undecided
    if refused is not None:
        answer, probability, calibrated = None, None, None
    if calibrated is not None:  # what an answer is worth decides it
        as_fitted = answerer.processor.calibration if prevalence is None else None
        calibrated = {**calibrated, "measured": _worth(as_fitted, calibrated)}
        answer, likely = calibrated["answer"], calibrated["probability"]
        probability = {"yes": likely, "no": 1 - likely}.get(answer)
        unsure = answer is None
    return {
        "answer": answer,
        "probability": probability,
        "own": own,
        "candidates": scores,
        "generated": generated,
        "calibrated": calibrated,
        "contradicted": contradictions(question, answer or "", measured[0]) if len(measured) == 1 else [],
        "negated": scores is not None and negates(question),
        "measured": None,
        "not_measured": None,
        "refused": refused,
        "refusal": refusal,
        "unsure": unsure,
        "trained_on": trained_on,
    }


def without_the_model(
    question: str, measured: Sequence[Measurements], check: bool = True, first: bool = True
) -> dict[str, Any] | None:
    """What `answer_question` gives where the model is not asked, but for trained_on: a refusal, or what is measured;
    None where the model is asked.

    Args: measured: of each ECG. check: whether to refuse. first: whether nothing was said before, which the question
        may be about.
    """
    from .findings.question_scope import why_not_answered
    from .measured_answers import change_asked_for, measured_answer

    if check and (reason := why_not_answered(question, len(measured), first)) is not None:
        return _NOT_OF_THE_MODEL | {"refused": reason}
    if check and len(measured) == 1 and change_asked_for(question) is not None:
        return _NOT_OF_THE_MODEL | {"refused": "It asks about two ECGs, and one ECG was given."}
    if (found := measured_answer(question, measured)) is not None:
        if not found.known:
            return _NOT_OF_THE_MODEL | {"not_measured": found.words}
        return _NOT_OF_THE_MODEL | {"answer": found.answer, "measured": found.words}
    return None


def _written_and_compared(
    ask: Callable[..., dict[str, Any]], yes_or_no: bool
) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """(What a model writes freely; how it compares yes and no, where it writes one of these).

    An answer with more than half of all probability is the one that is written, since each of its tokens has more
    than half. So a question that looks to be of yes or no (yes_or_no) is compared first, and mostly read once.
    """
    if yes_or_no:
        compared = ask(candidates=["yes", "no"])
        probability = compared["probability"] * compared["any_candidate"]
        if probability > 0.5:
            return {"generated_text": compared["generated_text"], "probability": probability}, compared
    written = ask()
    text = written["generated_text"]
    if text.lower() not in ("yes", "no"):
        return written, None
    # In the spelling of the answer: a model that says "Yes" gives "yes" a low probability.
    asked = [word.capitalize() if text[0].isupper() else word for word in ("yes", "no")]
    return written, compared if yes_or_no and text.islower() else ask(candidates=asked)


def _worth(calibration: AnswerCalibration | None, found: dict[str, Any]) -> dict[str, Any] | None:
    """What such answers were worth on records with labels: {"right", "fitted_on"}; None where it is not known, as at
    another frequency."""
    if calibration is None:
        return None
    name = f"{found['said']} {found['answer']}"
    right = calibration.measured.get("said", {}).get(name, {}).get("right")
    return None if right is None else {"right": right, "fitted_on": calibration.fitted_on}


_NOT_OF_THE_MODEL = {
    **dict.fromkeys(
        (
            "answer",
            "probability",
            "own",
            "candidates",
            "generated",
            "calibrated",
            "measured",
            "not_measured",
            "refused",
            "refusal",
            "unsure",
        )
    ),
    "contradicted": [],
    "negated": False,
}


__all__ = [
    "NOTICE",
    "UNDECIDED_BELOW",
    "UNSURE_BELOW",
    "answer_question",
    "check_checkpoint",
    "check_code",
    "load_answerer",
    "without_the_model",
]
