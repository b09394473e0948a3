"""The same promises for every family of language models: in goes a config of transformers, out comes a tiny random
ECG model around it, and saving, caches, padding, beams and adapters must not change what it says.
"""

import pytest
import torch
import transformers
from transformers.dynamic_module_utils import get_class_from_dynamic_module

from ecgllm import ECGLLMForConditionalGeneration

pytestmark = pytest.mark.smoke

SIZES = {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
TOKENS = {"bos_token_id": 0, "eos_token_id": 1, "pad_token_id": 1}
COMMON = SIZES | TOKENS | {"intermediate_size": 48}
GROUPED = COMMON | {"num_key_value_heads": 2}
GEMMA = GROUPED | {"head_dim": 8, "sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"]}
STATE_SPACE = TOKENS | {"vocab_size": 300, "hidden_size": 32, "num_hidden_layers": 2, "state_size": 8}

ARCHITECTURES = {
    "llama": ("LlamaConfig", GROUPED),
    "llama-tied": ("LlamaConfig", GROUPED | {"tie_word_embeddings": True}),
    "qwen2": ("Qwen2Config", GROUPED | {"tie_word_embeddings": True}),
    "qwen3": ("Qwen3Config", GROUPED | {"head_dim": 8}),
    "gpt2": ("GPT2Config", TOKENS | {"vocab_size": 300, "n_embd": 32, "n_layer": 2, "n_head": 4}),
    "gpt_neox": ("GPTNeoXConfig", COMMON),
    "gemma2": ("Gemma2Config", GEMMA | {"query_pre_attn_scalar": 8}),
    "gemma3": ("Gemma3TextConfig", GEMMA | {"query_pre_attn_scalar": 8}),
    "opt": ("OPTConfig", SIZES | TOKENS | {"ffn_dim": 48, "word_embed_proj_dim": 16, "do_layer_norm_before": False}),
    "cohere": ("CohereConfig", GROUPED),
    "granite": ("GraniteConfig", GROUPED | {"logits_scaling": 2.0, "embedding_multiplier": 3.0}),
    "bloom": ("BloomConfig", TOKENS | {"vocab_size": 300, "hidden_size": 32, "n_layer": 2, "n_head": 4}),
    "falcon": ("FalconConfig", SIZES | TOKENS | {"new_decoder_architecture": False}),
    "phi": ("PhiConfig", COMMON),
    "mamba": ("MambaConfig", STATE_SPACE),
    "mamba2": ("Mamba2Config", STATE_SPACE | {"num_heads": 8, "head_dim": 8, "n_groups": 1, "chunk_size": 16}),
}
# A recurrent state has no padding: a row's left padding goes through it in transformers' own mamba models as well.
ATTENTION = [name for name in ARCHITECTURES if not name.startswith("mamba")]

TEXTS = [
    "Here is an electrocardiogram: <|ecg|>\nIs there atrial fibrillation?",
    "The first is <|ecg|>, and the second is <|ecg|>.\nWhat is new?",
    "Hello there",
]


@pytest.fixture
def built(request, tiny_llm):
    name, fields = ARCHITECTURES[request.param]
    return tiny_llm(getattr(transformers, name)(**fields))


@pytest.fixture
def ecgs(make_ecg):
    """ECGs per text, of different numbers, durations and leads."""
    return [[make_ecg(2.0, 1)], [make_ecg(1.3, 2, leads=2), make_ecg(3.0, 3)], []]


def every(names):
    return pytest.mark.parametrize("built", list(names), indirect=True)


def new_tokens(model, inputs, **settings):
    settings = {"max_new_tokens": 4, "do_sample": False, "pad_token_id": 1} | settings
    return model.generate(**inputs, **settings)[:, inputs["input_ids"].shape[1] :]


@every(ARCHITECTURES)
def test_saved_and_loaded_is_the_same(built, ecgs, tmp_path):
    model, processor = built
    inputs = processor(TEXTS[1], ecgs[1])
    model.save_pretrained(tmp_path)
    loaded, info = ECGLLMForConditionalGeneration.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info[key] for key in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    for (name, weight), (loaded_name, loaded_weight) in zip(
        model.state_dict().items(), loaded.state_dict().items(), strict=True
    ):
        assert name == loaded_name and torch.equal(weight, loaded_weight), name
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, loaded.eval()(**inputs).logits)
    tied = model.config.get_text_config().tie_word_embeddings
    for one in (model, loaded):
        shared = one.get_input_embeddings().weight.data_ptr() == one.get_output_embeddings().weight.data_ptr()
        assert shared == tied
    assert loaded.generation_config.suppress_tokens == [processor.ecg_token_id]


@every(["llama-tied", "gpt2"])
def test_loads_as_remote_code(built, ecgs, tmp_path):
    model, processor = built
    model.save_pretrained(tmp_path)
    # By name, as the package's own class is taken where it is imported.
    remote = get_class_from_dynamic_module(model.config.auto_map["AutoModel"], str(tmp_path))
    loaded = remote.from_pretrained(tmp_path).eval()
    assert type(loaded) is not type(model)
    inputs = processor(TEXTS[1], ecgs[1])
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, loaded(**inputs).logits)


@every(ARCHITECTURES)
def test_cache_changes_nothing(built, ecgs):
    model, processor = built
    inputs = processor(TEXTS[1], ecgs[1])
    assert torch.equal(new_tokens(model, inputs), new_tokens(model, inputs, use_cache=False))


@every(ATTENTION)
def test_step_with_cache_gives_the_logits_of_the_whole(built, ecgs):
    model, processor = built
    inputs = processor(TEXTS[0], ecgs[0])
    ids = inputs["input_ids"]
    with torch.no_grad():
        whole = model(**inputs).logits
        prefill = {**inputs, "input_ids": ids[:, :-1], "attention_mask": inputs["attention_mask"][:, :-1]}
        position_ids = torch.tensor([[ids.shape[1] - 1]])
        for name in ("past_key_values", "cache"):  # what releases of transformers before and since 5.24 call it
            first = model(**prefill, use_cache=True)
            cache = first["cache"] if "cache" in first else first["past_key_values"]
            step = {"input_ids": ids[:, -1:], "attention_mask": inputs["attention_mask"], "position_ids": position_ids}
            logits = model(**step, **{name: cache}).logits
            torch.testing.assert_close(logits[:, -1], whole[:, -1], atol=1e-5, rtol=1e-4)
        with pytest.raises(ValueError, match="cache and past_key_values; pass it once"):
            model(**step, cache=cache, past_key_values=cache)


@every(ATTENTION)
def test_left_padded_batch_equals_singles(built, ecgs):
    model, processor = built
    batch = processor(TEXTS, ecgs, padding_side="left")
    with torch.no_grad():
        # Models with absolute positions count from the first real token, as `generate` does.
        positions = (batch["attention_mask"].cumsum(dim=1) - 1).clamp(min=0)
        logits = model(**batch, position_ids=positions).logits[:, -1]
        answers = new_tokens(model, batch)
        for row, (text, own) in enumerate(zip(TEXTS, ecgs, strict=True)):
            single = processor(text, own)
            torch.testing.assert_close(logits[row], model(**single).logits[0, -1], atol=1e-5, rtol=1e-4)
            answer = new_tokens(model, single)[0].tolist()
            assert answers[row].tolist()[: len(answer)] == answer


@every(ARCHITECTURES)
def test_returned_sequences_and_beams_belong_to_their_prompt(built, make_ecg):
    model, processor = built
    # Equal lengths, so that no padding is in play and recurrent models take part.
    ecgs = [[make_ecg(2.0, 1), make_ecg(1.0, 2)], [make_ecg(1.0, 3), make_ecg(2.0, 4)]]
    batch = processor([TEXTS[1]] * 2, ecgs)
    for settings in ({"num_beams": 2, "num_return_sequences": 2}, {"num_beams": 3, "num_return_sequences": 1}):
        settings = settings | {"min_new_tokens": 4, "max_new_tokens": 4}
        rows = new_tokens(model, batch, **settings).unflatten(0, (2, -1))
        for row, own in zip(rows, ecgs, strict=True):
            assert torch.equal(row, new_tokens(model, processor(TEXTS[1], own), **settings))


@every(["llama", "mamba"])
def test_sampled_sequences_belong_to_their_prompt(built, make_ecg):
    model, processor = built
    ecgs = [[make_ecg(1.0, 1), make_ecg(1.0, 2)], [make_ecg(1.0, 3), make_ecg(1.0, 4)]]
    batch = processor([TEXTS[1]] * 2, ecgs)
    # top_k=1 is greedy, through the sampling path that repeats the inputs
    rows = new_tokens(model, batch, do_sample=True, top_k=1, num_return_sequences=2, min_new_tokens=4)
    for row, own in zip(rows.unflatten(0, (2, 2)), ecgs, strict=True):
        alone = new_tokens(model, processor(TEXTS[1], own), min_new_tokens=4)
        assert torch.equal(row, alone.expand(2, -1))


@every(ARCHITECTURES)
def test_text_alone_is_the_language_model(built):
    model, processor = built
    inputs = {name: processor(TEXTS[2])[name] for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        assert torch.equal(model(**inputs).logits, model.language_model(**inputs).logits)
    inner = new_tokens(model.language_model, inputs, suppress_tokens=[processor.ecg_token_id])
    assert torch.equal(new_tokens(model, inputs), inner)


@every(ARCHITECTURES)
def test_the_placeholder_needs_no_row(built, ecgs):
    """Its id lies outside the vocabulary, for look-ups, losses and processors of logits alike."""
    model, processor = built
    rows = model.get_input_embeddings().weight.shape[0]
    assert rows == model.config.get_text_config().vocab_size == processor.ecg_token_id
    inputs = processor(TEXTS[:2], ecgs[:2], padding_side="left")
    with torch.no_grad():
        output = model(**inputs, labels=inputs["input_ids"])
    assert output.logits.shape[-1] == rows and output.loss.isfinite()
    for settings in (
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 2},
        {"num_beams": 3, "repetition_penalty": 1.3},
        {"do_sample": True, "num_return_sequences": 2, "temperature": 5.0},
    ):
        tokens = new_tokens(model, inputs, min_new_tokens=4, **settings)
        assert int(tokens.max()) < rows


def test_repetition_is_penalised_for_words_of_the_prompt_alone(tiny_llm, make_ecg):
    model, processor = tiny_llm()
    inputs = processor("Is it <|ecg|>?", make_ecg())
    processors = model._get_logits_processor(transformers.GenerationConfig(repetition_penalty=2.0))
    scores = processors(inputs["input_ids"], torch.ones(1, processor.ecg_token_id))
    said = set(inputs["input_ids"][0].tolist()) - {processor.ecg_token_id}
    assert set((scores[0] != 1).nonzero()[:, 0].tolist()) == said


@every(ARCHITECTURES)
def test_inputs_embeds_equal_input_ids(built, ecgs):
    model, processor = built
    inputs = dict(processor(TEXTS[1], ecgs[1]))
    answer = new_tokens(model, inputs)
    with torch.no_grad():
        logits = model(**inputs).logits
        ids = inputs.pop("input_ids")
        with pytest.raises(ValueError, match="no embedding of the placeholder .* pass input_ids"):
            model(inputs_embeds=torch.zeros(*ids.shape, 16), **inputs)
        # Of a vocabulary with a row for it the placeholder is found by its embedding.
        model.resize_token_embeddings(model.config.ecg_token_id + 1, mean_resizing=False)
        embeds = model.get_input_embeddings()(ids)
        logits = model(input_ids=ids, **inputs).logits
        torch.testing.assert_close(model(inputs_embeds=embeds, **inputs).logits, logits, atol=1e-6, rtol=1e-5)
    generated = model.generate(inputs_embeds=embeds, **inputs, max_new_tokens=4, do_sample=False, pad_token_id=1)
    assert torch.equal(generated, answer)


@every(ARCHITECTURES)
def test_encoder_outputs_stand_in_for_signals(built, ecgs):
    model, processor = built
    inputs = dict(processor(TEXTS[1], ecgs[1]))
    answer = new_tokens(model, inputs)
    with torch.no_grad():
        logits = model(**inputs).logits
        ecg_inputs = {k: inputs[k] for k in ("ecg_values", "ecg_mask", "lead_mask", "ecg_lengths")}
        encoded = model.get_ecg_features(**ecg_inputs).last_hidden_state
        del inputs["ecg_values"]
        inputs["ecg_embeds"] = encoded[None]
        torch.testing.assert_close(model(**inputs).logits, logits, atol=1e-6, rtol=1e-5)
    assert torch.equal(new_tokens(model, inputs), answer)


@every(ARCHITECTURES)
def test_embeddings_can_be_resized(built, ecgs):
    model, processor = built
    inputs = processor(TEXTS[0], ecgs[0])
    rows = model.get_input_embeddings().weight.shape[0]
    with torch.no_grad():
        before = model(**inputs).logits
        model.resize_token_embeddings(rows + 7)
        after = model(**inputs).logits
    assert model.get_input_embeddings().weight.shape[0] == after.shape[-1] == rows + 7
    assert model.config.get_text_config().vocab_size == rows + 7
    torch.testing.assert_close(after[..., :rows], before, atol=1e-6, rtol=1e-5)
    if model.config.get_text_config().tie_word_embeddings:
        assert model.get_input_embeddings().weight.data_ptr() == model.get_output_embeddings().weight.data_ptr()


@every(name for name in ATTENTION if name not in ("bloom", "falcon", "opt"))
def test_static_cache_changes_nothing(built, ecgs):
    model, processor = built
    inputs = processor(TEXTS, ecgs, padding_side="left")
    static = new_tokens(model, inputs, cache_implementation="static", min_new_tokens=4)
    assert torch.equal(static, new_tokens(model, inputs, min_new_tokens=4))


@every(ARCHITECTURES)
@pytest.mark.parametrize("reentrant", [True, False], ids=["reentrant", "not-reentrant"])
def test_gradient_checkpointing_trains_the_same(built, ecgs, reentrant):
    model, processor = built
    inputs = processor(TEXTS[1], ecgs[1])
    inputs["labels"] = inputs["input_ids"].clone()

    def gradients():
        model.zero_grad()
        # Dropout off, so that the two passes can be compared.
        model.train()
        for module in model.modules():
            if isinstance(module, torch.nn.Dropout):
                module.p = 0.0
        torch.manual_seed(0)
        model(**inputs).loss.backward()
        return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}

    plain = gradients()
    model.gradient_checkpointing_enable({"use_reentrant": reentrant})
    checkpointed = gradients()
    assert plain.keys() == checkpointed.keys()
    assert {"projector.layers.0.weight", "ecg_encoder.layers.0.attention.q_proj.weight"} <= plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(checkpointed[name], gradient, atol=1e-5, rtol=1e-4, msg=name)


@every(ARCHITECTURES)
def test_lora_touches_the_language_model_and_the_projector(built, ecgs, tmp_path):
    peft = pytest.importorskip("peft")
    model, processor = built
    inputs = processor(TEXTS[1], ecgs[1])
    inputs["labels"] = inputs["input_ids"].clone()
    model.save_pretrained(tmp_path / "base")
    linear = (torch.nn.Linear, transformers.pytorch_utils.Conv1D)
    names = {n.split(".")[-1] for n, m in model.language_model.named_modules() if isinstance(m, linear)} - {"lm_head"}
    # State-space layers read these two matrices themselves, past any adapter.
    if model.config.text_config.model_type.startswith("mamba"):
        names -= {"out_proj", "dt_proj"}
    config = peft.LoraConfig(
        r=2,
        target_modules=rf"language_model\..*\.({'|'.join(sorted(names))})",
        modules_to_save=["projector"],
        init_lora_weights=False,
    )
    adapted = peft.get_peft_model(model, config)
    trained = [name for name, parameter in adapted.named_parameters() if parameter.requires_grad]
    assert trained and not any("ecg_encoder" in name for name in trained)
    optimizer = torch.optim.SGD([p for p in adapted.parameters() if p.requires_grad], lr=0.1)
    adapted(**inputs).loss.backward()
    optimizer.step()
    adapted.eval()
    inputs.pop("labels")
    with torch.no_grad():
        logits = adapted(**inputs).logits
        adapted.save_pretrained(tmp_path / "adapter")
        base = ECGLLMForConditionalGeneration.from_pretrained(tmp_path / "base")
        reloaded = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").eval()
        assert torch.equal(reloaded(**inputs).logits, logits)
        merged = reloaded.merge_and_unload()
        torch.testing.assert_close(merged(**inputs).logits, logits, atol=1e-5, rtol=1e-5)
    assert isinstance(merged, ECGLLMForConditionalGeneration)
