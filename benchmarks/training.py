"""How fast `finetune` trains: samples per second against a plain loop, in one run, on the same batches.

    python benchmarks/training.py [--steps 30] [--batch 16] [--max-length 256]

The plain loop does what released code in this field does: the frozen encoder runs in every step, every prompt is
padded to `--max-length` tokens (released code takes 512 and more), and logits are computed for all of them. Ours is
the stage's Trainer: records encoded once beforehand (that time is part of its figure), batches of like length in which
questions about one ECG share a row, logits of answers. Both see the same examples in the same order from the same
weights, and their losses are compared. Each runs in a process of its own, whose peak memory is printed. Last: the
encoder's throughput as a share of what the machine reaches in float32 matrix multiplication, both measured here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from transformers import TrainingArguments, set_seed

from ecgllm import ECGEncoder, ECGEncoderConfig, ECGLLMForConditionalGeneration, ECGProcessor
from ecgllm.corpora import build_questions, records_to_corpus
from ecgllm.corpora.questions.paraphrases import PARAPHRASES
from ecgllm.findings.vocabulary import VOCABULARY
from ecgllm.processing_ecgllm import ECGFeatureExtractor
from ecgllm.signals.simulation import simulate_ecgs
from ecgllm.training.data.encoded_signals import EncodedSignals, encode_signals
from ecgllm.training.data.prepared_signals import load_signals, prepare_signals
from ecgllm.training.data.question_examples import QuestionCollator, QuestionExamples
from ecgllm.training.recipe import LanguageModelRecipe, LoraRecipe
from ecgllm.training.text_models import build_language_model
from ecgllm.training.trainers.trainer import GroupedSampler, StageTrainer
from ecgllm.training.tuning import prepare_for_tuning

RECORDS = 240
TOGETHER = 8
LEARNING_RATE = 1e-3
# A quarter of the paper's sizes in each direction: ViT-base and an 8B language model do not train on a CPU.
ENCODER = {"hidden_size": 192, "num_hidden_layers": 8, "num_attention_heads": 4, "intermediate_size": 768,
           "patch_size": 20}  # fmt: skip
LANGUAGE_MODEL = {"model_type": "llama", "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4,
                  "num_key_value_heads": 4, "intermediate_size": 768, "tie_word_embeddings": True}  # fmt: skip
ROWS = 32_000  # rows of the embedding, as pretrained language models have them


def _texts() -> list[str]:
    return [text for template in PARAPHRASES.values() for text in template["train"]] + list(VOCABULARY)


def build():
    """(model with LoRA, processor), the same every time."""
    set_seed(0)
    language_model, tokenizer = build_language_model(LanguageModelRecipe(config=LANGUAGE_MODEL), _texts())
    language_model.resize_token_embeddings(ROWS, mean_resizing=False)
    extractor = ECGFeatureExtractor()
    encoder = ECGEncoderConfig(**ENCODER, preprocessing=extractor.preprocessing)
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        encoder, language_model, tokenizer=tokenizer
    )
    return prepare_for_tuning(model, "lora", LoraRecipe(dropout=0.0)), ECGProcessor.for_model(
        model, tokenizer, extractor
    )


def data(folder: Path, processor: ECGProcessor):
    corpus = records_to_corpus(simulate_ecgs(RECORDS, seed=0), source="simulation")
    prepare_signals(corpus, processor.feature_extractor, folder / "signals")
    return build_questions(corpus, per_record=4, seed=0), load_signals(folder / "signals")


def plain(steps: int, batch_size: int, max_length: int, folder: Path) -> dict:
    model, processor = build()
    questions, signals = data(folder, processor)
    examples, collate = QuestionExamples(questions, signals, processor), QuestionCollator(processor)
    order = list(GroupedSampler(examples.lengths(), batch_size, 0, examples.groups(), TOGETHER))
    longest = int(examples.lengths().max())
    if longest > max_length:
        raise SystemExit(f"the longest prompt has {longest} tokens; pass --max-length of at least that")
    optimizer = torch.optim.AdamW(
        [p for p in model.parameters() if p.requires_grad], lr=LEARNING_RATE, weight_decay=0.0
    )
    model.train()
    losses, start = [], time.perf_counter()
    for step in range(steps):
        batch = collate([examples[i] for i in order[step * batch_size : (step + 1) * batch_size]])
        del batch["example_ids"]
        missing = max_length - batch["input_ids"].shape[1]
        fill = {"input_ids": processor.tokenizer.pad_token_id, "labels": -100, "attention_mask": 0}
        for name, value in fill.items():
            batch[name] = torch.nn.functional.pad(batch[name], (0, missing), value=value)
        loss = model(**batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return {"seconds": time.perf_counter() - start, "encoding": 0.0, "losses": losses}


def ours(steps: int, batch_size: int, max_length: int, folder: Path) -> dict:
    model, processor = build()
    questions, signals = data(folder, processor)
    start = time.perf_counter()
    asked = {record_id for ids in questions["ecg_ids"] for record_id in ids}
    encode_signals(model.get_base_model().ecg_encoder, processor.feature_extractor, signals, asked, folder / "encoded")
    encoding = time.perf_counter() - start
    arguments = TrainingArguments(
        output_dir=str(folder / "run"), max_steps=steps, per_device_train_batch_size=batch_size, seed=0,
        learning_rate=LEARNING_RATE, lr_scheduler_type="constant", weight_decay=0.0, max_grad_norm=0.0,
        remove_unused_columns=False, label_names=["labels"], dataloader_drop_last=True, logging_steps=1,
        save_strategy="no", report_to="none", use_cpu=True, disable_tqdm=True, dataloader_pin_memory=False,
    )  # fmt: skip
    examples = QuestionExamples(questions, EncodedSignals(folder / "encoded"), processor)
    trainer = StageTrainer(
        model=model, args=arguments, train_dataset=examples, data_collator=QuestionCollator(processor),
        train_collator=QuestionCollator(processor, TOGETHER), group_by_length=True, together=TOGETHER,
    )  # fmt: skip
    start = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - start
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {"seconds": seconds, "encoding": encoding, "losses": losses, "records": len(asked)}


def encoder_share() -> dict:
    """ECGs per second of the encoder, and its share of this machine's float32 matrix multiplication."""
    from torch.utils.flop_counter import FlopCounterMode

    encoder = ECGEncoder(ECGEncoderConfig(**ENCODER)).eval()
    ecgs = torch.randn(32, 12, 1000)
    with torch.no_grad():
        with FlopCounterMode(display=False) as counter:
            encoder(ecgs)
        a = torch.randn(1536, 1536)
        peak = 2 * 1536**3 / best(lambda: a @ a)
        seconds = best(lambda: encoder(ecgs))
    return {"rate": 32 / seconds, "flops": counter.get_total_flops() / seconds, "peak": peak}


def best(call, rounds: int = 7) -> float:
    found = float("inf")
    for _ in range(rounds):
        start = time.perf_counter()
        call()
        found = min(found, time.perf_counter() - start)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--max-length", type=int, default=256)
    parser.add_argument("--only", choices=["plain", "ours"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.only:
        with tempfile.TemporaryDirectory() as folder:
            run = {"plain": plain, "ours": ours}[options.only]
            found = run(options.steps, options.batch, options.max_length, Path(folder))
        found["memory"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        print("RESULT " + json.dumps(found))
        return
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs, torch {torch.__version__}")
    found = {}
    for name in ("plain", "ours"):
        command = [sys.executable, __file__, "--only", name, "--steps", str(options.steps), "--batch",
                   str(options.batch), "--max-length", str(options.max_length)]  # fmt: skip
        output = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout
        found[name] = json.loads(output.rpartition("RESULT ")[2])
    examples = options.steps * options.batch
    for name, result in found.items():
        rate, with_encoding = (examples / seconds for seconds in (
            result["seconds"], result["seconds"] + result["encoding"]
        ))  # fmt: skip
        memory = f"peak memory {result['memory']:,.0f} MiB"
        print(f"{name:<8}{rate:8.1f} samples/s   {with_encoding:8.1f} with encoding   {memory}")
    plain_s, ours_s = found["plain"]["seconds"], found["ours"]["seconds"]
    print(f"ratio   {plain_s / ours_s:.1f}x; with the encoding of {found['ours']['records']} records, "
          f"{plain_s / (ours_s + found['ours']['encoding']):.1f}x over these {options.steps} steps")  # fmt: skip
    pairs = zip(found["plain"]["losses"], found["ours"]["losses"], strict=True)
    print(f"largest relative difference of the {options.steps} losses: {max(abs(a - b) / a for a, b in pairs):.1e}")
    share = encoder_share()
    part = f"{share['flops'] / share['peak']:.0%} of the {share['peak'] / 1e9:.0f} GFLOP/s of a matrix product"
    print(f"encoder {share['rate']:.0f} ECGs/s, {share['flops'] / 1e9:.1f} GFLOP/s, {part}")


if __name__ == "__main__":
    main()
