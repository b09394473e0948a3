"""Recipes: what is read, what overrides do, and what is refused with which words."""

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from ecgllm.corpora import build_questions, prepare, save_corpus
from ecgllm.training import load_recipe
from ecgllm.training import recipe as recipe_room
from ecgllm.training.data.corpus import load_corpus
from ecgllm.training.recipe import STAGES, RecipeError
from ecgllm.training.run_folder import RunFolder

ROOT = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("file", sorted((ROOT / "recipes").glob("*.yaml")), ids=lambda file: file.stem)
def test_every_shipped_recipe_loads_by_file_and_by_name(file: Path) -> None:
    overrides = ["data=somewhere", "output=there"]
    recipe = load_recipe(file, overrides)
    assert load_recipe(file.stem, overrides) == recipe == load_recipe(file.name, overrides)
    assert list(recipe.stages) == [name for name in STAGES if name in recipe.stages]
    assert recipe.description


def test_no_such_recipe_names_the_shipped_ones() -> None:
    with pytest.raises(FileNotFoundError, match="No recipe at ludb-tny.*ludb-tiny"):
        load_recipe("ludb-tny")


def test_overrides_are_yaml_at_dotted_keys(write_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(
        write_recipe(),
        [
            "stages.pretrain.training.max_steps=10",
            "stages.finetune.training.learning_rate=1e-3",
            "stages.debias.questions.types=[verify]",
            "lora.target_modules=q_proj",
            "lora.dropout=1",
            "feature_extractor.scaling=zscore",
            "limit=",
            "trained_on=a=b",
        ],
    )
    assert recipe.stages["pretrain"].training["max_steps"] == 10
    assert recipe.stages["pretrain"].training["save_steps"] == 4  # the rest of the mapping stays
    # YAML 1.1 takes 1e-3 for a string
    assert recipe.stages["finetune"].training["learning_rate"] == 0.001
    assert recipe.stages["debias"].questions["types"] == ["verify"]
    assert recipe.lora.target_modules == "q_proj"
    assert isinstance(recipe.lora.dropout, float)
    assert recipe.feature_extractor == {"scaling": "zscore"}
    assert recipe.limit is None
    assert recipe.trained_on == "a=b"


def test_stages_run_in_their_own_order_whatever_the_file_says(write_recipe: Callable[..., Path]) -> None:
    file = write_recipe()
    values = yaml.safe_load(file.read_text())
    values["stages"] = {name: values["stages"][name] for name in ("finetune", "pretrain", "debias")}
    file.write_text(yaml.safe_dump(values, sort_keys=False))
    assert tuple(load_recipe(file).stages) == STAGES[:3]  # the fourth stands beside no questions


def test_a_stage_left_empty_has_the_defaults(write_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(write_recipe(stages={"pretrain": None}))
    assert recipe.stages["pretrain"].batch_size == 32
    assert load_recipe(write_recipe(stages={"pretrain": None}), ["stages.pretrain.batch_size=4"]) != recipe


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("limt=3", "unknown key 'limt'; did you mean 'limit'"),
        ("lora.rank=3", "lora has the unknown key 'rank'"),
        ("stages.pretrain.batchsize=3", "stages.pretrain has the unknown key 'batchsize'; did you mean 'batch_size'"),
        ("stages.pretrian.batch_size=3", "stages has the unknown key 'pretrian'; did you mean 'pretrain'"),
        ("stages.debias.training.max_step=3", "unknown key 'max_step'; did you mean 'max_steps'"),
        ("stages.debias.questions.per_recrd=3", "unknown key 'per_recrd'; did you mean 'per_record'"),
        ("stages.debias.questions.per_record={verfy: 2}", "debias: questions: unknown question types ['verfy']"),
        ("stages.debias.questions.per_record=-1", "debias: questions: per_record=-1: found -1; expected positive"),
        (
            "stages.debias.questions.words=many",
            "debias: questions: words='many'; expected 'varied', or shares of names",
        ),
        ("stages.debias.questions.words={negatd: .2}", "debias: questions: words: found negatd; expected shares of"),
        ("stages.debias.questions.paraphrases=test", "unknown key 'paraphrases'"),
        ("encoder.hiden_size=3", "encoder has the unknown key 'hiden_size'; did you mean 'hidden_size'"),
        ("encoder.stem_padding=valid", "encoder has the unknown key 'stem_padding'"),
        ("projector.patches_per_token=0", "projector.patches_per_token is 0; expected 1 or more"),
        ("encoder.patch_size=7", "patch_size 7 is not a multiple of the stem's total stride 4"),
        ("feature_extractor.samplingrate=3", "unknown key 'samplingrate'; did you mean 'sampling_rate'"),
        ("feature_extractor.scaling=volts", "scaling is 'volts'; expected"),
        ("language_model.config.hiden_size=3", "unknown key 'hiden_size'; did you mean 'hidden_size'"),
        ("language_model.config.model_type=lama", "model_type 'lama', which transformers does not know; did you mean"),
        (
            "language_model.config.vocab_size=300",
            "language_model: config sets vocab_size, which the run's own tokenizer decides; leave",
        ),
        ("stages.debias.questions={path: x, types: [verify]}", "debias: questions has path, which stands alone"),
        ("stages.debias.questions.path=x", "beside it per_record, attributes. Replace"),
        ("stages.debias.questions.path=x", "'stages.NAME.questions={path: x}'"),
        ("limit=-5", "limit is -5; expected 1 or more"),
        ("limit=0", "limit is 0; expected 1 or more"),
        ("reader_spread=2", "reader_spread is 2; expected 1 or less"),
        ("corpus=ludbb", "corpus is 'ludbb', which is no known corpus; did you mean 'ludb'?"),
        ("corpus=ludbb", "which is not given"),
        ("lora.r=-1", "lora.r is -1; expected 1 or more"),
        ("lora.dropout=1.5", "lora.dropout is 1.5; expected 1 or less"),
        ("stages.finetune.training.learning_rate=-1", "finetune.training.learning_rate is -1; expected 0 or more"),
        ("stages.finetune.training.learning_rate=fast", "training.learning_rate is 'fast'; expected a valid number"),
        ("stages.finetune.training.adam_beta2=1", "training.adam_beta2 is 1; expected less than 1"),
        ("language_model.tune=some", "language_model.tune is 'some'; expected 'frozen', 'lora' or 'full'"),
        ("text_encoder.tune=lora", "text_encoder.tune is 'lora'; expected 'frozen' or 'full'"),
        ("projector.type=conv", "projector.type is 'conv'; expected 'linear' or 'mlp'"),
        ("stages.debias.tune=half", "stages.debias.tune is 'half'; expected 'frozen', 'lora' or 'full'"),
        ("stages.pretrain.loss=mse", "stages.pretrain.loss is 'mse'; expected 'infonce' or 'sigmoid'"),
        ("stages.pretrain.gradient_accumulation_steps=2", "would not see each other's negatives"),
        ("stages.pretrain.training.label_smoothing_factor=0.1", "label_smoothing_factor is for answers' tokens"),
        ("stages.debias.training.label_smoothing_factor=1", "smoothing_factor is 1; expected less than 1"),
        ("stages.debias.training.train_sampling_strategy=sequential", "set group_by_length instead"),
        ("stages.pretrain.batch_size=0", "batch_size is 0; expected 1 or more"),
        ("seed=abc", "seed is 'abc'; expected a valid integer"),
        ("limit=1.5", "limit is 1.5; expected a valid integer"),
        ("stages.debias.tune_encoder=1", "tune_encoder is 1; expected a valid boolean"),
        ("encoder=3", "encoder is 3; expected a mapping"),
        ("stages=3", "stages is 3; expected a mapping"),
        ("stages.pretrain.stream=3", "stages.pretrain.stream is 3; expected a valid boolean or a valid string"),
        ("split={train: 0.5}", "split.train is 'train'; expected 'validation' or 'test'"),
        ("split={test: 1}", "split is {'test': 1.0}; expected shares of patients from 0 whose sum is below 1"),
        ("lora.tune=full", "lora: tune is 'full', which says nothing to lora: it is for language_model, text_encoder"),
        ("lora=3", "lora is 3; expected a mapping"),
        ("seed.more=3", "seed is not a mapping"),
        ("justakey", "has no '='"),
        ("limit={", "is no YAML"),
        ("language_model.name=gpt2", "language_model needs either a name or a config, not both and not neither"),
        ("language_model.config=", "language_model needs either a name or a config, not both and not neither"),
        ("text_encoder.config=", "text_encoder needs either a name or a config, not both and not neither"),
        ("stages.debias.training.output_dir=x", "sets output_dir, which follows from the recipe; set output instead"),
        ("stages.debias.training.per_device_train_batch_size=4", "set batch_size instead"),
        ("stages.debias.training.seed=4", "set seed instead"),
        ("stages.debias.training.report_to=tensorbord", "report_to is 'tensorbord'; did you mean 'tensorboard'"),
        ("stages.finetune.training.report_to=[none, dvclive]", "report_to is 'dvclive', which is not installed; pip"),
        ("text_encoder.sizes={model_type: bert}", "text_encoder: sizes is for a model by name"),
        ("stages.debias.training.label_names=[a]", "sets label_names, which follows from the recipe; leave it out"),
    ],
)
def test_what_is_refused_is_named(write_recipe: Callable[..., Path], override: str, message: str) -> None:
    with pytest.raises(RecipeError, match=re.escape(message)):
        load_recipe(write_recipe(), [override])


def test_the_path_of_questions_stands_alone_as_its_message_says(write_recipe: Callable[..., Path]) -> None:
    recipe = load_recipe(write_recipe(), ["stages.debias.questions={path: x}"])
    assert recipe.stages["debias"].questions == {"path": "x"}


def test_only_simulated_ecgs_are_read_by_many(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    file = write_recipe()
    assert load_recipe(file, ["reader_spread=0.5"]).reader_spread == 0.5
    with pytest.raises(RecipeError, match="the findings of the corpus 'ludb' are known already; leave it out"):
        load_recipe(file, ["reader_spread=0.5", "corpus=ludb"])
    prepare("simulation", limit=8).save_to_disk(tmp_path / "own")
    with pytest.raises(RecipeError, match="are known already"):
        load_recipe(file, ["reader_spread=0.5", f"data={tmp_path / 'own'}"])
    streamed = ["stages.pretrain.stream=true", "stages.pretrain.training.max_steps=2", f"data={tmp_path / 'own'}"]
    assert load_recipe(file, ["reader_spread=0.5", *streamed]).reader_spread == 0.5
    with pytest.raises(RecipeError, match="are known already"):  # for whom, if the stream has its own?
        load_recipe(file, ["reader_spread=0.5", "stages.pretrain.reader_spread=1", *streamed])


def test_a_stream_has_readers_of_its_own(write_recipe: Callable[..., Path]) -> None:
    streamed = ["stages.pretrain.stream=true", "stages.pretrain.training.max_steps=2"]
    own = load_recipe(write_recipe(), ["stages.pretrain.reader_spread=0.5", *streamed])
    assert (own.reader_spread, own.stages["pretrain"].reader_spread) == (0, 0.5)
    with pytest.raises(RecipeError, match="stages.pretrain.reader_spread is 1.5; expected 1 or less"):
        load_recipe(write_recipe(), ["stages.pretrain.reader_spread=1.5", *streamed])
    with pytest.raises(
        RecipeError, match="is for a stream of simulated records, and stream is False; set stream: true"
    ):
        load_recipe(write_recipe(), ["stages.pretrain.reader_spread=0.5"])
    with pytest.raises(RecipeError, match="reader_spread is 0, which says nothing to debias: it is for pretrain"):
        load_recipe(write_recipe(), ["stages.debias.reader_spread=0"])


def test_a_prepared_corpus_has_any_name_and_holds_records(write_recipe: Callable[..., Path], tmp_path: Path) -> None:
    corpus = prepare("simulation", limit=8)
    corpus.save_to_disk(tmp_path / "own")
    build_questions(corpus, per_record=2).save_to_disk(tmp_path / "questions")
    corpus.select_columns(["id", "ecg"]).save_to_disk(tmp_path / "part")
    file = write_recipe(corpus="own")
    assert load_recipe(file, [f"data={tmp_path / 'own'}"]).corpus == "own"
    save_corpus(corpus, tmp_path / "parquet", format="parquet")
    read, _ = load_corpus(load_recipe(file, [f"data={tmp_path / 'parquet'}"]))
    assert sorted(read["id"]) == sorted(corpus["id"]) and read[0]["ecg"]["signal"].shape[0] == 12
    with pytest.raises(RecipeError, match=r"no known corpus.*data, which is \S*, which holds none"):
        load_recipe(file, [f"data={tmp_path}"])
    with pytest.raises(RecipeError, match=r"data is \S*questions, which holds questions; expected a corpus"):
        load_recipe(file, [f"data={tmp_path / 'questions'}"])
    with pytest.raises(RecipeError, match="the columns id, ecg, which lacks patient_id, report"):
        load_recipe(file, [f"data={tmp_path / 'part'}"])
    # a run that has begun has its corpus
    corpus.save_to_disk(tmp_path / "run" / "corpus")
    assert load_recipe(file, [f"output={tmp_path / 'run'}"]).data is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("corpus: ludb\nstages: {pretrain: }", "lacks output; add it to the recipe or pass output=VALUE"),
        ("output: x\nstages: {pretrain: }", "lacks corpus"),
        ("corpus: ludb\noutput: x", "lacks stages; add it to the recipe"),
        ("corpus: ludb\noutput: x\nstages: {}", "stages is {}; expected at least 1"),
        ("corpus: ludb\noutput: x\nstages:", "stages is None; expected a mapping"),
        ("- corpus", "holds list; expected a mapping"),
        ("", "holds NoneType; expected a mapping"),
        ("corpus: [", "is no YAML"),
    ],
)
def test_an_unusable_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "recipe.yaml").write_text(text)
    with pytest.raises(RecipeError, match=re.escape(message)):
        load_recipe(tmp_path / "recipe.yaml")


def test_all_that_is_wrong_is_told_at_once(write_recipe: Callable[..., Path]) -> None:
    with pytest.raises(RecipeError) as caught:
        load_recipe(write_recipe(), ["limit=0", "lora.r=0", "stages.debias.evalute=3"])
    found = [line.partition("recipe.yaml: ")[2] for line in str(caught.value).splitlines()]
    assert found == [
        "limit is 0; expected 1 or more.",
        "lora.r is 0; expected 1 or more.",
        "stages.debias has the unknown key 'evalute'; did you mean 'evaluate'?",
    ]


@pytest.mark.parametrize("text", ["1e-3", "-2E5", "1.5e3", ".5e-3"])
def test_what_looks_like_a_number_is_one_unless_it_is_quoted(
    text: str, write_recipe: Callable[..., Path], tmp_path: Path
) -> None:
    recipe = load_recipe(write_recipe(), [f"stages.debias.training.optim_args='{text}'", f"description='{text}'"])
    assert recipe.description == recipe.stages["debias"].training["optim_args"] == text
    RunFolder(tmp_path / "run").open(recipe)
    assert load_recipe(tmp_path / "run" / "recipe.yaml") == recipe
    with pytest.raises(RecipeError, match=re.escape(f"description is {float(text)}; expected a valid string")):
        load_recipe(write_recipe(), [f"description={text}"])


def test_reading_a_recipe_needs_nothing_of_what_runs_it() -> None:
    room = Path(recipe_room.__file__).parent
    nodes = [node for file in room.glob("*.py") for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))]
    imports = [node for node in nodes if isinstance(node, ast.ImportFrom) and node.level]
    assert not [node.module for node in imports if node.level == 2], "another room of training/"
    below = {node.module.partition(".")[0] for node in imports if node.level == 3}
    allowed = {"configuration_ecgllm", "corpora", "errors_ecgllm", "feature_extraction_ecgllm"}
    assert below <= allowed, "a model, or a checkpoint"
