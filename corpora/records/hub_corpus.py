"""A corpus on the Hub: pushed without what names or times a patient, private unless told otherwise, with a card.

In: a corpus and the name of a dataset on the Hub. Out: that dataset, as Parquet that `load_dataset` opens without this
package, with a split for each of the corpus. Decided here: what goes is what `for_sharing` leaves; what it takes out,
and what was kept on purpose, stands in the card; a public place is not taken for a private one.
"""

from __future__ import annotations

from collections.abc import Collection

from datasets import Dataset, DatasetDict
from huggingface_hub import DatasetCardData, HfApi

from ...errors_ecgllm import ECGError
from ...saving_ecgllm import model_card
from .dataset_folders import plain
from .sharing import TELLING, for_sharing

_USE = """\
```python
from datasets import load_dataset

corpus = load_dataset("{repo_id}", split="{split}")
corpus[0]["ecg"]  # bytes: int16, little-endian, lead after lead; gain: mV per step; leads; sampling_rate in Hz
```

With `ecgllm`: `corpus.cast_column("ecg", ecgllm.corpora.ECG())` gives float32 [leads, samples] in mV."""


def push_corpus(
    corpus: Dataset,
    repo_id: str,
    license: str,
    keep: Collection[str] = (),
    private: bool = True,
    token: str | None = None,
) -> str:
    """Push a corpus to the Hub, as `for_sharing` leaves it.

    Args:
        repo_id: "name" or "organisation/name" of the dataset. license: of the corpus, as the Hub names it
            (https://huggingface.co/docs/hub/repositories-licenses): whether it may be passed on, its source says.
        keep: as in `for_sharing`, what goes along although it tells of a patient. private: False for everybody to
            read. token: of the Hub; that of `hf auth login` by default.
    Returns: the name of the dataset, with its owner.
    Raises: ECGError for a name in `keep` that is unknown, and where the dataset is there and public, and private was
        not set to False.
    """
    shared = plain(for_sharing(corpus, keep))
    names = shared["split"][:]
    splits = {name: shared.select([i for i, own in enumerate(names) if own == name]) for name in dict.fromkeys(names)}
    api = HfApi(token=token)
    repo_id = api.create_repo(repo_id, repo_type="dataset", private=private, exist_ok=True).repo_id
    if private and not api.dataset_info(repo_id).private:
        raise ECGError(
            f"{repo_id} is there already, and everybody can read it; pass private=False (--public), or another name"
        )
    if not api.file_exists(repo_id, "README.md", repo_type="dataset"):
        card = _card(shared, repo_id, license, keep).encode()
        api.upload_file(
            path_or_fileobj=card, path_in_repo="README.md", repo_id=repo_id, repo_type="dataset",
            commit_message="Add the card",
        )  # fmt: skip
    DatasetDict(splits).push_to_hub(repo_id, token=token, commit_message="Upload the corpus")
    return repo_id


def _card(shared: Dataset, repo_id: str, license: str, keep: Collection[str]) -> str:
    data = DatasetCardData(license=license, language="en", tags=["ecg", "electrocardiogram", "ecgllm"])
    taken = [name for name in TELLING if name not in keep]
    left_out = [f"- left out, or numbered anew: {', '.join(taken)}, ages over 89, paths of files" if taken else ""]
    if keep:
        left_out.append(f"- kept on purpose: {', '.join(sorted(keep))}")
    split = shared["split"][0] if len(shared) else "train"
    return model_card(
        repo_id.rpartition("/")[2],
        f"{len(shared)} ECGs of {', '.join(sorted(set(shared['source'])))}, prepared with ecgllm.",
        {"What is in it": "\n".join(left_out), "Use": _USE.format(repo_id=repo_id, split=split)},
        data,
    )
