"""A folder with an encoder in the form of HuBERT-ECG, small and random.

transformers' HuBERT under a model type of its own, with code beside the weights, for all leads in one row at 100 Hz:
93 tokens of 12 leads and 5 s. The parts that only its pre-training reads are there, too.
"""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModel

CODE = """
from torch import nn
from transformers import HubertConfig, HubertModel
class HubertECGConfig(HubertConfig):
    model_type = "hubert_ecg"
    def __init__(self, ensemble_length=1, vocab_sizes=(7,), **kwargs):
        super().__init__(**kwargs)
        self.ensemble_length, self.vocab_sizes = ensemble_length, list(vocab_sizes)
class HubertECG(HubertModel):
    config_class = HubertECGConfig
    def __init__(self, config):
        super().__init__(config)
        size = config.classifier_proj_size
        self.final_proj = nn.ModuleList([nn.Linear(config.hidden_size, size)])
        self.label_embedding = nn.ModuleList(nn.Embedding(count, size) for count in config.vocab_sizes)
"""
SIZES = {
    "hidden_size": 16, "intermediate_size": 24, "conv_dim": [8, 8], "conv_stride": [8, 8], "conv_kernel": [10, 8],
    "num_feat_extract_layers": 2, "num_conv_pos_embeddings": 4, "num_conv_pos_embedding_groups": 2,
    "classifier_proj_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2,
}  # fmt: skip
SIGNAL: dict[str, Any] = {
    "sampling_rate": 100, "filter_rate": 500, "baseline": "none", "scaling": "minmax",
    "filters": [{"kind": "fir", "low": 0.05, "high": 47, "seconds": 0.3}],
}  # fmt: skip
"""How the authors prepare ECGs, for `ECGFeatureExtractor`."""
ADAPTER: dict[str, Any] = {"input_layout": "joined", "window": 500, "patch_size": 100}
"""How the model reads them, for `ECGEncoderAdapterConfig`."""


def write_hubert_ecg(folder: Path) -> Path:
    folder.mkdir()
    (folder / "hubert_ecg.py").write_text(CODE)
    names = {"AutoConfig": "hubert_ecg.HubertECGConfig", "AutoModel": "hubert_ecg.HubertECG"}
    values = {"model_type": "hubert_ecg", "auto_map": names, "architectures": ["HubertECG"], **SIZES}
    (folder / "config.json").write_text(json.dumps(values))
    torch.manual_seed(0)
    config = AutoConfig.from_pretrained(folder, trust_remote_code=True)
    AutoModel.from_config(config, trust_remote_code=True).save_pretrained(folder)
    return folder
