"""An ECG that no processor has read is an error, whatever pipeline, tokenizer or template it is given to.

A language model answers "yes" to a question about atrial fibrillation without any ECG; whoever gave one must not get
that answer.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer, Pipeline, pipeline
from transformers.pipelines import get_supported_tasks

from ecgllm import ECGLLMForConditionalGeneration, ECGProcessor
from ecgllm.chat_template_ecgllm import _PLAIN_OF_BEFORE, PLAIN_CHAT_TEMPLATE, guarded

pytestmark = pytest.mark.filterwarnings("ignore")

QUESTION = "Is there atrial fibrillation?"
CHATML = (
    "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}{% else %}"
    "{% for part in message['content'] %}{% if part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}"
    "{% endif %}{{ '<|im_end|>\\n' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)
TEMPLATES = {
    "plain": None,
    "parts": CHATML,
    "strings": "{{ bos_token }}\n" + CHATML.replace("is string", "is defined"),
}


def _turn(content: Any, **beside: Any) -> list[dict[str, Any]]:
    return [{"role": "user", "content": content, **beside}]


def given(ecg: Any) -> dict[str, tuple[Any, dict[str, Any]]]:
    """Ways to give a question with an ECG: (inputs, arguments)."""
    text = {"type": "text", "text": QUESTION}
    part = {"type": "ecg", "ecg": ecg}
    return {
        "a part": (_turn([text, part]), {}),
        "a part ahead, in an earlier turn": ([*_turn([part, text]), *_turn(QUESTION)], {}),
        "a batch": ([_turn([text]), _turn([text, part])], {}),
        "a path": (_turn([text, {"type": "ecg", "path": "record.hea"}]), {}),
        "in a text part": (_turn([text | {"ecg": ecg}]), {}),
        "as another kind of file": (_turn([text, {"type": "file", "file": "record.hea"}]), {}),
        "as sound": (_turn([text, {"type": "audio", "audio": ecg["signal"]}]), {}),
        "as content": (_turn({"question": QUESTION, "ecgs": [ecg]}), {}),
        "beside the content": (_turn(QUESTION, ecgs=[ecg]), {}),
        "a placeholder": (f"<|ecg|> {QUESTION}", {}),
        "a placeholder in a turn": (_turn(f"<|ecg|> {QUESTION}"), {}),
        "as an argument": (QUESTION, {"ecgs": [ecg]}),
        "as an argument of text": (QUESTION, {"text": QUESTION, "ecgs": [ecg]}),
        "as a mapping": ({"question": QUESTION, "ecgs": [ecg]}, {}),
        "as mappings": ([{"question": QUESTION, "ecgs": [ecg]}], {}),
        "as text and ECG": ({"text": QUESTION, "ecg": ecg}, {}),
    }


@pytest.fixture(params=TEMPLATES)
def folder(request: pytest.FixtureRequest, tiny_llm: Any, tmp_path: Path) -> Path:
    model, processor = tiny_llm()
    if TEMPLATES[request.param] is not None:
        processor = ECGProcessor(
            processor.feature_extractor, processor.tokenizer, TEMPLATES[request.param], processor.samples_per_token
        )
    model.save_pretrained(tmp_path / "model")
    processor.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def _pipelines(folder: Path) -> dict[str, Pipeline]:
    """Those of transformers' tasks that take a checkpoint."""
    taken = {}
    for task in get_supported_tasks():
        try:
            taken[task] = pipeline(task, model=str(folder), trust_remote_code=True, device="cpu")
        except Exception:  # whatever a task says of a model that is none of its kind
            continue
    return taken


def test_every_pipeline_reads_an_ecg_or_refuses_it(
    folder: Path, make_ecg: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    encode = ECGLLMForConditionalGeneration._encode
    monkeypatch.setattr(
        ECGLLMForConditionalGeneration, "_encode", lambda self, *a, **k: seen.append(1) or encode(self, *a, **k)
    )
    taken = _pipelines(folder)
    assert {"any-to-any", "text-generation", "feature-extraction"} <= set(taken)
    answered = set()
    for task, pipe in taken.items():
        for way, (inputs, arguments) in given(make_ecg(3)).items():
            if task == "feature-extraction" and arguments:
                continue  # it takes any argument without looking at it, and gives the text's hidden states, no answer
            seen.clear()
            limit = {"max_new_tokens": 1} if pipe.model.can_generate() and task != "feature-extraction" else {}
            try:
                answer = pipe(inputs, **limit, **arguments)
                list(answer)
            except Exception:  # any error will do, an answer will not
                continue
            assert seen, f"{task} answers with the ECG given as {way}, which nobody read: {answer}"
            answered.add((task, way))
    assert ("any-to-any", "a part") in answered  # an ECG that the processor reads is answered about


def test_text_alone_is_answered(folder: Path) -> None:
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    pipe = pipeline("text-generation", model=model, tokenizer=tokenizer, device="cpu")
    for inputs in (QUESTION, _turn(QUESTION), [*_turn(QUESTION), {"role": "assistant", "content": None}][:1]):
        assert pipe(inputs, max_new_tokens=1)
    # In parts as in one string.
    if "is defined" not in tokenizer.chat_template.removeprefix(guarded("")):
        whole, parts = (tokenizer.apply_chat_template(_turn(content), tokenize=False)
                        for content in (QUESTION, [{"type": "text", "text": QUESTION}]))  # fmt: skip
        assert whole == parts
    assert AutoModel.from_pretrained(folder)(**tokenizer(QUESTION, return_tensors="pt")).logits.isfinite().all()


@pytest.mark.parametrize(
    "template",
    [CHATML, "\n" + CHATML, "  " + CHATML, "{#- a comment #}\n  \n" + CHATML + "\n", "{{- bos_token }}x" + CHATML],
    ids=["as it is", "newline", "blanks", "comment", "stripping"],
)
def test_the_guard_changes_no_text(tiny_tokenizer: Any, template: str) -> None:
    turns = [{"role": "system", "content": "Be brief."}, *_turn([{"type": "text", "text": QUESTION}, ]),
             {"role": "assistant", "content": "no"}, *_turn("Why?")]  # fmt: skip
    for prompt in (False, True):
        plain, with_guard = (
            tiny_tokenizer.apply_chat_template(turns, chat_template=each, add_generation_prompt=prompt, tokenize=False)
            for each in (template, guarded(template))
        )
        assert plain == with_guard and QUESTION in plain
    assert guarded(guarded(template)) == guarded(template)


@pytest.mark.parametrize("template", _PLAIN_OF_BEFORE, ids=["without the tag", "of strings"])
def test_a_plain_template_of_before_becomes_todays(tiny_llm: Any, template: str) -> None:
    model, processor = tiny_llm()
    assert "message['content']" in template and "generation %" not in template
    tokenizer = processor.tokenizer
    tokenizer.chat_template = template
    turns = [*_turn(QUESTION), {"role": "assistant", "content": "no"}]
    before = tokenizer.apply_chat_template(turns, tokenize=False)
    again = ECGProcessor.for_model(model, tokenizer)
    assert again.chat_template == PLAIN_CHAT_TEMPLATE
    assert again.apply_chat_template(turns) == before


def test_the_checkpoint_that_ships_refuses_it(make_ecg: Any) -> None:
    from ecgllm.shipped import shipped_checkpoint

    tokenizer = AutoTokenizer.from_pretrained(shipped_checkpoint())
    with pytest.raises(Exception, match="an ECG that was not read"):
        tokenizer.apply_chat_template(given(make_ecg(3))["a part"][0])
    assert torch.equal(
        *(tokenizer.apply_chat_template(_turn(QUESTION), return_tensors="pt", return_dict=False) for _ in range(2))
    )
