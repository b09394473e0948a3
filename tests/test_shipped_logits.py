"""The checkpoints that ship answer as their weights did when they were recorded: from the signal path to the head.

`python tests/test_shipped_logits.py` records anew, for other weights only: `tests/shipped_logits.json` is of these.
"""

import json
from pathlib import Path

import numpy as np
import pytest

from ecgllm.shipped import shipped_checkpoint, shipped_dual_encoder

pytestmark = pytest.mark.smoke

RECORDED = Path(__file__).with_name("shipped_logits.json")
QUESTIONS = ("Is there atrial fibrillation?", "Does this ECG show sinus bradycardia?", "Is there any abnormality?")
COMPARISON = "What is new in the second ECG?"
TEXTS = ("ECG with atrial fibrillation", "sinus bradycardia", "a normal tracing")
TOLERANCE = 1e-4

# Waves of a beat: (seconds from R, width in s, mV in lead I, mV in lead II).
WAVES = ((-0.17, 0.025, 0.08, 0.12), (-0.03, 0.010, -0.05, -0.08), (0.0, 0.011, 0.7, 1.0), (0.03, 0.012, -0.1, -0.2),
         (0.26, 0.045, 0.2, 0.3))  # fmt: skip
# Of the chest leads, as shares of lead II.
CHEST = (-0.3, 0.2, 0.6, 1.0, 1.1, 0.9)


def draw(onsets: np.ndarray, p_waves: bool, rate: float = 500.0) -> dict:
    """Ten seconds of twelve leads with beats at these seconds: sums of bell curves, the same on every machine."""
    time = np.arange(round(10 * rate)) / rate
    limb = np.zeros((2, time.size))
    for onset in onsets:
        for centre, width, *heights in WAVES if p_waves else WAVES[1:]:
            limb += np.outer(heights, np.exp(-0.5 * ((time - onset - centre) / width) ** 2))
    one, two = limb + 0.01 * np.sin(2 * np.pi * np.outer((0.3, 0.2), time))
    leads = [one, two, two - one, -(one + two) / 2, one - two / 2, two - one / 2, *(share * two for share in CHEST)]
    return {"signal": np.stack(leads).astype(np.float32), "sampling_rate": rate, "leads": NAMES}


NAMES = ["I", "II", "III", "aVR", "aVL", "aVF", "V1", "V2", "V3", "V4", "V5", "V6"]
ECGS = {
    "sinus 75": draw(0.4 + 0.8 * np.arange(12), True),
    "slow 40": draw(0.7 + 1.5 * np.arange(7), True),
    "irregular without P": draw(0.3 + np.cumsum([0.5, 0.9, 0.62, 1.1, 0.7, 0.55, 0.98, 0.66, 1.2, 0.8, 0.6]), False),
}


def answers() -> dict[str, list[float]]:
    """Question and ECG -> logits of "yes" and "no" behind the prompt, their largest and mean, for one ECG and two."""
    import torch

    from ecgllm import ECGLLMForConditionalGeneration, ECGProcessor

    folder = shipped_checkpoint()
    model = ECGLLMForConditionalGeneration.from_pretrained(folder).eval()
    processor = ECGProcessor.from_pretrained(folder)
    asked = {(question, name): [ecg] for question in QUESTIONS for name, ecg in ECGS.items()}
    asked |= {(COMPARISON, f"{first}, then {second}"): [ECGS[first], ECGS[second]]
              for first, second in (("sinus 75", "slow 40"), ("slow 40", "irregular without P"))}  # fmt: skip
    words = [processor.tokenizer(text, add_special_tokens=False)["input_ids"][0] for text in (" yes", " no")]
    found = {}
    for (question, name), ecgs in asked.items():
        conversation = processor.build_conversation(question, ecgs)
        inputs = processor.apply_chat_template(conversation, tokenize=True, add_generation_prompt=True)
        with torch.no_grad():
            logits = model(**inputs).logits[0, -1]
        found[f"{question} {name}"] = [*logits[words].tolist(), logits.max().item(), logits.mean().item()]
    return found | _logits_of_texts()


def _logits_of_texts() -> dict[str, list[float]]:
    """Text -> logits of the dual encoder, of every ECG."""
    import torch

    from ecgllm import ECGTextDualEncoder, ECGTextDualEncoderProcessor

    folder = shipped_dual_encoder()
    model = ECGTextDualEncoder.from_pretrained(folder).eval()
    inputs = ECGTextDualEncoderProcessor.from_pretrained(folder)(text=list(TEXTS), ecgs=list(ECGS.values()))
    with torch.no_grad():
        logits = model(**inputs).logits_per_text
    return dict(zip(TEXTS, logits.tolist(), strict=True))


def test_the_checkpoint_answers_as_recorded() -> None:
    recorded, found = json.loads(RECORDED.read_text(encoding="utf-8")), answers()
    assert found.keys() == recorded.keys()
    for name, logits in recorded.items():
        assert found[name] == pytest.approx(logits, abs=TOLERANCE), name


if __name__ == "__main__":
    lines = ",\n".join(f"  {json.dumps(name)}: {[round(x, 6) for x in values]}" for name, values in answers().items())
    RECORDED.write_text(f"{{\n{lines}\n}}\n", encoding="utf-8")
