"""The ECG language model on tiny random weights: how it is built, what it must read, refuse and keep."""

import copy
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, OPTConfig, masking_utils

from ecgllm import (
    ECGBeatEncoder,
    ECGBeatEncoderConfig,
    ECGEncoder,
    ECGError,
    ECGFeatureExtractor,
    ECGLLMForConditionalGeneration,
    ECGProcessor,
    ECGTextDualEncoder,
    modeling_ecgllm,
)
from ecgllm.encoder_ecgllm import check_values

# ---------------------------------------------------------------------------------------------------------------------
# Building the ECG language model
# ---------------------------------------------------------------------------------------------------------------------


def llama(vocab_size=300, **fields):
    return LlamaConfig(
        **{
            "vocab_size": vocab_size,
            "hidden_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "intermediate_size": 48,
            "bos_token_id": 0,
            "eos_token_id": 1,
        }
        | fields
    )


@pytest.mark.parametrize("tied", [True, False])
def test_placeholder_takes_a_spare_row(tiny_encoder_config, tiny_tokenizer, tied):
    language_model = AutoModelForCausalLM.from_config(llama(320, tie_word_embeddings=tied))
    before = language_model.get_input_embeddings().weight.clone()
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        tiny_encoder_config, language_model, tokenizer=tiny_tokenizer
    )
    assert model.config.ecg_token_id == tiny_tokenizer.convert_tokens_to_ids("<|ecg|>") == len(tiny_tokenizer) - 1
    assert torch.equal(model.get_input_embeddings().weight, before)


@pytest.mark.parametrize("tied", [True, False])
def test_the_language_model_keeps_its_rows_where_none_is_spare(tiny_encoder_config, tiny_tokenizer, tied):
    rows = len(tiny_tokenizer)
    language_model = AutoModelForCausalLM.from_config(llama(rows, tie_word_embeddings=tied))
    before = [
        e.weight.clone() for e in (language_model.get_input_embeddings(), language_model.get_output_embeddings())
    ]
    model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(
        tiny_encoder_config, language_model, tokenizer=tiny_tokenizer
    )
    assert model.config.ecg_token_id == model.config.text_config.vocab_size == rows
    for embedding, old in zip((model.get_input_embeddings(), model.get_output_embeddings()), before, strict=True):
        assert torch.equal(embedding.weight, old)


def test_loaded_language_model_needs_its_tokenizer(tiny_encoder_config):
    with pytest.raises(ValueError, match="tokenizer is missing"):
        ECGLLMForConditionalGeneration.from_encoder_and_language_model(
            tiny_encoder_config, AutoModelForCausalLM.from_config(llama())
        )


def test_built_from_folders(encoder, text_encoder, tiny_tokenizer, tmp_path):
    language_model = AutoModelForCausalLM.from_config(llama())
    language_model.save_pretrained(tmp_path / "lm")
    tiny_tokenizer.save_pretrained(tmp_path / "lm")
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(encoder, text_encoder)
    dual.save_pretrained(tmp_path / "dual")
    encoder.save_pretrained(tmp_path / "encoder")
    for folder in ("dual", "encoder"):
        model = ECGLLMForConditionalGeneration.from_encoder_and_language_model(tmp_path / folder, tmp_path / "lm")
        assert_same_weights(model.ecg_encoder, encoder)
        kept = model.get_input_embeddings().weight[:300]
        assert torch.equal(kept, language_model.get_input_embeddings().weight)


def assert_same_weights(one, other):
    assert one.state_dict().keys() == other.state_dict().keys()
    assert all(torch.equal(one.state_dict()[name], value) for name, value in other.state_dict().items())


def test_encoder_loads_from_whatever_holds_one(tiny_llm, text_encoder, tmp_path):
    model, _ = tiny_llm()
    dual = ECGTextDualEncoder.from_encoder_and_text_encoder(model.ecg_encoder, text_encoder)
    for holder, folder in ((model, tmp_path / "llm"), (dual, tmp_path / "dual"), (model.ecg_encoder, tmp_path / "e")):
        holder.save_pretrained(folder)
        loaded, info = ECGEncoder.from_pretrained(folder, output_loading_info=True)
        assert not info["missing_keys"] and not info["mismatched_keys"]
        assert loaded.config.preprocessing == model.ecg_encoder.config.preprocessing
        assert_same_weights(loaded, model.ecg_encoder)


def test_placeholder_is_never_generated(tiny_llm, tmp_path):
    model, processor = tiny_llm(llama(320))  # with a row for it
    assert model.language_model.generation_config.suppress_tokens is None
    model.save_pretrained(tmp_path)
    loaded = ECGLLMForConditionalGeneration.from_pretrained(tmp_path)
    assert loaded.generation_config.suppress_tokens == [processor.ecg_token_id]
    with torch.no_grad():
        # A head that wants nothing but the placeholder
        loaded.get_output_embeddings().weight[processor.ecg_token_id] *= 100
    tokens = loaded.generate(**processor("Hello"), do_sample=True, max_new_tokens=20, min_new_tokens=20)
    assert processor.ecg_token_id not in tokens


def test_checkpoint_is_complete_as_remote_code(tiny_llm, tmp_path):
    model, _ = tiny_llm(trained_on="simulated ECGs")
    (tmp_path / "README.md").write_text("# mine\n", encoding="utf-8")
    model.save_pretrained(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {f"{part}_ecgllm.py" for part in ("configuration", "modeling", "processing", "pipeline")} <= names
    assert Path(tmp_path, "README.md").read_text(encoding="utf-8") == "# mine\n"
    (tmp_path / "README.md").unlink()
    model.save_pretrained(tmp_path)
    assert "simulated ECGs" in Path(tmp_path, "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("projector", ["linear", "mlp"])
@pytest.mark.parametrize("patches_per_token", [1, 3])
@pytest.mark.parametrize("summary", [False, True])
def test_projectors(tiny_llm, make_ecg, projector, patches_per_token, summary):
    settings = {"projector": projector, "patches_per_token": patches_per_token, "projector_summary": summary}
    model, processor = tiny_llm(**settings)
    inputs = processor("<|ecg|> <|ecg|>", [make_ecg(1.0), make_ecg(1.5)])
    # 5 and 8 patches
    expected = {1: 13, 3: 2 + 3}[patches_per_token]
    assert int((inputs["input_ids"] == processor.ecg_token_id).sum()) == expected
    assert tuple(model(**inputs).ecg_hidden_states.shape) == (2, {1: 8, 3: 3}[patches_per_token], 32)


def test_summary_adds_the_mean_of_an_ecgs_own_patches_to_its_tokens(tiny_llm, make_ecg):
    model, processor = tiny_llm(patches_per_token=3, projector_summary=True)
    short, long = make_ecg(1.0, 1), make_ecg(4.0, 2)  # 5 and 20 patches
    names = ("ecg_values", "ecg_mask", "lead_mask", "ecg_lengths")
    both, alone = processor("<|ecg|> <|ecg|>", [short, long]), processor("<|ecg|>", [short])
    with torch.no_grad():
        found = model.get_ecg_features(**{name: both[name] for name in names})
        single = model.get_ecg_features(**{name: alone[name] for name in names})
        kept = {name: both[name] for name in ("ecg_mask", "ecg_lengths")}  # as a frozen encoder's outputs are cached
        cached = model.get_ecg_features(ecg_embeds=found.last_hidden_state[None], **kept)
        means = [found.last_hidden_state[row, :patches].mean(dim=0) for row, patches in enumerate((5, 20))]
        added = torch.cat([model.projector.summary(mean).expand(n, -1) for mean, n in zip(means, (2, 7), strict=True)])
        model.projector.summary.weight.zero_()
        without = model.get_ecg_features(**{name: both[name] for name in names})
    torch.testing.assert_close(found.pooler_output - without.pooler_output, added, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(found.pooler_output[:2], single.pooler_output, atol=1e-5, rtol=1e-4)
    assert torch.equal(cached.pooler_output, found.pooler_output)


def test_dtype_and_attention_are_set_for_all_parts(tiny_llm, make_ecg, tmp_path):
    model, processor = tiny_llm()
    model.save_pretrained(tmp_path)
    parts = {"text_config": "eager", "encoder_config": "sdpa"}
    loaded = ECGLLMForConditionalGeneration.from_pretrained(tmp_path, dtype=torch.bfloat16, attn_implementation=parts)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.bfloat16}
    assert loaded.language_model.config._attn_implementation == "eager"
    assert loaded.ecg_encoder.config._attn_implementation == "sdpa"
    assert loaded(**processor("<|ecg|>", [make_ecg()])).logits.dtype == torch.bfloat16


# ---------------------------------------------------------------------------------------------------------------------
# Reading ECGs
# ---------------------------------------------------------------------------------------------------------------------


def test_order_of_ecgs_matters(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    text, first, second = "The first is <|ecg|>, the second is <|ecg|>.", make_ecg(seed=1), make_ecg(seed=2)
    with torch.no_grad():
        one = model(**processor(text, [first, second])).logits[0, -1]
        other = model(**processor(text, [second, first])).logits[0, -1]
        assert torch.equal(one, model(**processor(text, [first, second])).logits[0, -1])
    assert not torch.allclose(one, other, atol=1e-5)


def test_right_padded_training_batch_equals_singles(tiny_llm, make_ecg):
    model, processor = tiny_llm(patches_per_token=3)
    texts = ["a <|ecg|> b", "<|ecg|> and <|ecg|> and <|ecg|> are three", "none at all"]
    ecgs = [[make_ecg(3.1, 1)], [make_ecg(1.0, 2), make_ecg(4.0, 3, leads=2), make_ecg(1.3, 4)], []]
    batch = processor(texts, ecgs, padding_side="right")
    with torch.no_grad():
        logits = model(**batch).logits
        for row, (text, own) in enumerate(zip(texts, ecgs, strict=True)):
            alone = model(**processor(text, own)).logits[0]
            torch.testing.assert_close(logits[row, : len(alone)], alone, atol=1e-5, rtol=1e-4)


def test_ecg_features_follow_the_conventions(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    model.set_attn_implementation("eager")
    inputs = processor("<|ecg|> <|ecg|>", [make_ecg(1.0), make_ecg(2.0)])
    ecg_inputs = {k: inputs[k] for k in ("ecg_values", "ecg_mask", "lead_mask", "ecg_lengths")}
    features = model.get_ecg_features(**ecg_inputs, output_hidden_states=True, output_attentions=True)
    assert tuple(features.last_hidden_state.shape) == (2, 10, 32)
    assert tuple(features.pooler_output.shape) == (3 + 5, 32)
    assert len(features.hidden_states) == 3 and len(features.attentions) == 2
    assert isinstance(model.get_ecg_features(**ecg_inputs, return_dict=False), tuple)


def test_placeholders_must_fit_the_ecgs(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    inputs = processor("<|ecg|>?", [make_ecg(1.0)])
    inputs["input_ids"] = inputs["input_ids"][:, 1:]
    inputs["attention_mask"] = inputs["attention_mask"][:, 1:]
    with pytest.raises(ValueError, match=r"hold \[2\] ECG placeholder tokens .* give \[3\] tokens"):
        model(**inputs)


def test_ecg_of_one_prompt_is_never_read_by_another(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    inputs = processor(["<|ecg|> a", "<|ecg|> a"], [[make_ecg(1.0)], [make_ecg(2.0)]])
    # As many placeholders in all, three and five of them, but in the other rows
    inputs["ecg_values"] = inputs["ecg_values"].flip(0)
    inputs["ecg_lengths"] = inputs["ecg_lengths"].flip(0)
    with pytest.raises(ValueError, match=r"hold \[3, 5\] ECG placeholder tokens .* give \[5, 3\] tokens"):
        model(**inputs)


@pytest.mark.parametrize("generate", [False, True])
def test_placeholders_without_ecg_are_refused(tiny_llm, make_ecg, generate):
    model, processor = tiny_llm()
    inputs = processor("<|ecg|>?", [make_ecg(1.0)])
    text_only = {name: inputs[name] for name in ("input_ids", "attention_mask")}
    with pytest.raises(ValueError, match="3 ECG placeholder tokens and no ECG was given"):
        model.generate(**text_only) if generate else model(**text_only)


def test_other_preprocessing_is_refused(tiny_llm, tiny_tokenizer, make_ecg):
    model, _ = tiny_llm()
    other = ECGProcessor(ECGFeatureExtractor(scaling="zscore"), tiny_tokenizer, samples_per_token=40)
    inputs = other("<|ecg|>", [make_ecg()])
    for call in (model, model.generate):
        with pytest.raises(ValueError, match="prepared in another way"):
            call(**inputs)
    with pytest.raises(ValueError, match="scaling: 'zscore' instead of 'millivolt'"):
        other.check_model(model)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ecg_values": torch.zeros(1, 12, 100)}, r"expected \[batch, ecgs, leads, samples\]"),
        ({"ecg_embeds": torch.zeros(1, 1, 5, 32)}, "either ecg_values or ecg_embeds"),
        ({"inputs_embeds": torch.zeros(1, 3, 32)}, "either input_ids or inputs_embeds"),
    ],
)
def test_ambiguous_inputs_are_refused(tiny_llm, make_ecg, change, message):
    model, processor = tiny_llm()
    with pytest.raises(ValueError, match=message):
        model(**processor("<|ecg|>", [make_ecg(1.0)]) | change)


def test_loss_is_that_of_the_next_token(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    inputs = processor("<|ecg|>? yes", [make_ecg(1.0)])
    labels = inputs["input_ids"].masked_fill(inputs["input_ids"] == processor.ecg_token_id, -100)
    out = model(**inputs, labels=labels)
    expected = torch.nn.functional.cross_entropy(out.logits[0, :-1], labels[0, 1:])
    torch.testing.assert_close(out.loss, expected)


def test_batch_whose_ecgs_are_all_padding_is_text(tiny_llm):
    model, processor = tiny_llm()
    inputs = processor("Hello")
    padding = {
        "ecg_values": torch.zeros(1, 2, 12, 40),
        "ecg_mask": torch.zeros(1, 2, dtype=torch.bool),
        "lead_mask": torch.zeros(1, 2, 12, dtype=torch.bool),
        "ecg_lengths": torch.zeros(1, 2, dtype=torch.long),
    }
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs, **padding).logits, model(**inputs).logits)


def test_logits_to_keep(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    inputs = processor("<|ecg|>? yes", [make_ecg(1.0)])
    with torch.no_grad():
        torch.testing.assert_close(model(**inputs, logits_to_keep=1).logits, model(**inputs).logits[:, -1:])


# ---------------------------------------------------------------------------------------------------------------------
# Conversations on a cache
# ---------------------------------------------------------------------------------------------------------------------

GREEDY = {"do_sample": False, "max_new_tokens": 4, "min_new_tokens": 4, "return_dict_in_generate": True}


def next_turn(processor, previous, text, ecgs=()):
    turn = processor(text, list(ecgs))
    turn["input_ids"] = torch.cat([previous.sequences, turn["input_ids"]], dim=1)
    turn["attention_mask"] = torch.ones_like(turn["input_ids"])
    return turn


def ecgs_of(processor, *ecgs):
    inputs = processor(" ".join(["<|ecg|>"] * len(ecgs)), list(ecgs))
    return {name: value for name, value in inputs.items() if name not in ("input_ids", "attention_mask")}


def test_second_turn_of_text_continues_the_cache(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    first = model.generate(**processor("<|ecg|>\nIs there?", [make_ecg()]), **GREEDY)
    turn = next_turn(processor, first, "\nand now?")
    expected = model.generate(**turn, **ecgs_of(processor, make_ecg()), **GREEDY).sequences
    continued = model.generate(**turn, past_key_values=first.past_key_values, **GREEDY).sequences
    assert torch.equal(continued, expected)


def test_second_turn_with_another_ecg_continues_the_cache(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    before, after = make_ecg(seed=1), make_ecg(3.0, seed=2)
    first = model.generate(**processor("<|ecg|>\nIs there?", [before]), **GREEDY)
    turn = next_turn(processor, first, "\nand in <|ecg|>?", [after])
    both = ecgs_of(processor, before, after)
    expected = model.generate(**{**turn, **both}, **GREEDY)
    for ecg_inputs, message in ((both, "not in the cache yet"), ({}, "no ECG was given")):
        text = {name: turn[name] for name in ("input_ids", "attention_mask")}
        with pytest.raises(ValueError, match=message):
            model.generate(**text, **ecg_inputs, past_key_values=first.past_key_values, **GREEDY)
    continued = model.generate(**turn, past_key_values=first.past_key_values, **GREEDY)
    assert torch.equal(continued.sequences, expected.sequences)


def test_forward_looks_at_no_value_of_a_tensor(tiny_llm, make_ecg, monkeypatch):
    """On the meta device there are none to look at: whatever would wait for a GPU fails.

    But in transformers' masks, which look whether there is padding at all.
    """
    for own in ("_ignore_bidirectional_mask_sdpa", "_ignore_causal_mask_sdpa"):
        monkeypatch.setattr(masking_utils, own, lambda *args, **kwargs: False)
    model, processor = tiny_llm(patches_per_token=2)
    beats = ECGBeatEncoder(ECGBeatEncoderConfig(**model.ecg_encoder.config.to_dict()))
    texts, ecgs = ["<|ecg|> and <|ecg|>", "<|ecg|>?"], [[make_ecg(1.0), make_ecg(2.0)], [make_ecg(1.5)]]
    inputs = processor(texts, ecgs, padding=True)
    labels = inputs["input_ids"].clone()
    for encoder in (model.ecg_encoder, beats):
        model.ecg_encoder = encoder.eval()
        expected = model(**inputs, labels=labels)
        meta = copy.deepcopy(model).to("meta")
        found = meta(**{name: value.to("meta") for name, value in inputs.items()}, labels=labels.to("meta"))
        assert found.logits.shape == expected.logits.shape and found.loss.shape == ()
    assert "meta" in str(found.logits.device)


def test_places_without_an_ecg_may_be_encoded(tiny_llm, make_ecg, monkeypatch):
    """As on a GPU, where nobody looks which they are: nothing but their number changes, gradients included."""
    model, processor = tiny_llm(patches_per_token=2)
    texts, ecgs = ["<|ecg|> and <|ecg|>", "<|ecg|>?", "no ECG"], [[make_ecg(1.0), make_ecg(2.0)], [make_ecg(1.5)], []]
    inputs = processor(texts, ecgs, padding=True)
    outputs, gradients = [], []
    for look in (True, False):
        monkeypatch.setattr(modeling_ecgllm, "may_look", lambda tensor, look=look: look)
        model.zero_grad()
        outputs.append(model(**inputs, labels=inputs["input_ids"]))
        outputs[-1].loss.backward()
        gradients.append({name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None})
    assert [len(output.ecg_hidden_states) for output in outputs] == [3, 6]
    torch.testing.assert_close(outputs[1].logits, outputs[0].logits, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-5, rtol=1e-4)


def test_a_check_on_a_gpu_is_an_assertion_of_the_device():
    class OnGPU:
        is_meta, is_cuda = False, True

        def __init__(self, holds: bool):
            self.holds = holds

        def all(self) -> torch.Tensor:
            return torch.tensor(self.holds)

        def __bool__(self) -> bool:
            raise AssertionError("looked at")

    check_values(OnGPU(True), lambda: "why")
    with pytest.raises(RuntimeError, match="does not fit the model; run this batch on a CPU"):
        check_values(OnGPU(False), lambda: "why")
    with pytest.raises(ECGError, match="why"):
        check_values(torch.tensor([True, False]), lambda: "why")


@pytest.mark.parametrize(
    "config",
    [
        GPT2Config(vocab_size=300, n_embd=32, n_layer=1, n_head=2, n_positions=16),
        OPTConfig(vocab_size=300, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, ffn_dim=32,
                  max_position_embeddings=16, word_embed_proj_dim=32),
        llama(max_position_embeddings=16),
    ],
    ids=lambda config: config.model_type,
)  # fmt: skip
def test_learned_positions_end_and_computed_ones_go_on(tiny_llm, config):
    model, _ = tiny_llm(config)
    ids = torch.randint(5, 200, (2, 17))
    if config.model_type == "llama":
        assert model(input_ids=ids).logits.isfinite().all()
    else:
        with pytest.raises(ECGError, match="The prompt has 17 tokens, .* has positions for 16"):
            model(input_ids=ids)
    assert model(input_ids=ids[:, :16]).logits.isfinite().all()
