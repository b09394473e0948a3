"""ECGFounder's encoder (`ECGFounderEncoder`): a convolutional network of stages, with its published weights.

In: ECGs [ecgs, leads, samples] at 500 Hz, prepared as the authors do (`ECGFounderEncoder.feature_extractor`). Out: the
map of features before the authors' mean over time, [ecgs, tokens, 1024] with a token for 256 samples, and that mean.
Decided here: the names of the layers are those of the authors' state dict, so that their weights load as they are; a
padded ECG gives the same tokens as alone, of any length.

Source of the architecture: ECGFounder (arXiv 2410.04133), code at https://github.com/PKUDigitalHealth/ECGFounder;
squeeze and excitation: arXiv 1709.01507.
"""

from pathlib import Path
from typing import Any

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_outputs import BaseModelOutputWithPooling

from .configuration_ecgllm import ECGFounderConfig, count_tokens
from .encoder_ecgllm import (
    EMBEDDING_PIPELINE,
    ECGEncoder,
    ECGPreTrainedModel,
    as_recorded,
    check_shape,
    pooled_output,
    tokens_within,
)
from .feature_extraction_ecgllm import LEADS, ECGFeatureExtractor
from .published_weights_ecgllm import load_published, read_published, size_of

FILTERS = (
    {"kind": "notch", "frequency": 50, "quality": 30},
    {"kind": "butterworth", "low": 0.67, "high": 40, "order": 4},
    {"kind": "median_baseline", "seconds": 0.4},
)
"""Of the authors' data set since August 2025, with the notice that the weights expect them."""


class _Convolution(nn.Module):
    """Convolution whose output has ceil(samples / stride) samples. Zeros around it are as many as TensorFlow's "same"
    puts there, one more behind than before where they are odd; before, they do not depend on the length for strides
    of 1 and 2, which lets ECGs be padded."""

    def __init__(self, channels: int, out_channels: int, kernel_size: int = 1, stride: int = 1, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv1d(channels, out_channels, kernel_size, stride=stride, groups=groups)

    def forward(self, hidden: torch.Tensor) -> torch.Tensor:
        samples, stride = hidden.shape[-1], self.conv.stride[0]
        missing = max(0, (count_tokens(samples, stride) - 1) * stride + self.conv.kernel_size[0] - samples)
        return self.conv(nn.functional.pad(hidden, (missing // 2, missing - missing // 2)))


class _Block(nn.Module):
    """Bottleneck of three convolutions, the middle one grouped, weighted by channel, beside a shortcut."""

    def __init__(self, config: ECGFounderConfig, channels: int, out_channels: int, stride: int, is_first: bool):
        super().__init__()
        self.stride, self.is_first = stride, is_first
        self.conv1 = _Convolution(channels, out_channels)
        groups = out_channels // config.group_width
        self.conv2 = _Convolution(out_channels, out_channels, config.kernel_size, stride, groups)
        self.conv3 = _Convolution(out_channels, out_channels)
        self.se_fc1 = nn.Linear(out_channels, out_channels // 2)
        self.se_fc2 = nn.Linear(out_channels // 2, out_channels)
        self.around = (out_channels - channels) // 2, out_channels - channels - (out_channels - channels) // 2

    def forward(self, hidden: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """[ecgs, channels, samples], zero past lengths [ecgs]; what comes out is so, too."""
        silu = nn.functional.silu
        out = self.conv1(hidden if self.is_first else silu(hidden))
        # SiLU of zero is zero; a convolution's bias is not.
        out = self.conv2(silu(_zero_past(out, lengths)))
        shortcut = hidden
        if self.stride > 1:
            lengths = count_tokens(lengths, self.stride)
            # In two dimensions, since torch.export makes a graph of max_pool1d for one length alone.
            shortcut = nn.functional.pad(hidden, (0, self.stride - 1))[..., None, :]
            shortcut = nn.functional.max_pool2d(shortcut, (1, self.stride))[..., 0, :]
        out = _zero_past(self.conv3(silu(out)), lengths)
        mean = (out.sum(dim=-1, dtype=torch.float32) / lengths[:, None]).to(out.dtype)
        weight = torch.sigmoid(self.se_fc2(silu(self.se_fc1(mean))))
        shortcut = nn.functional.pad(shortcut, (0, 0, *self.around))
        return out * weight[..., None] + shortcut, lengths


class _Stage(nn.Module):
    def __init__(self, config: ECGFounderConfig, number: int):
        super().__init__()
        channels = ([config.base_channels, *config.stage_channels])[number : number + 2]
        self.block_list = nn.ModuleList(
            _Block(config, channels[block > 0], channels[1], 1 if block else 2, number == 0 and block == 0)
            for block in range(config.stage_depths[number])
        )

    def forward(self, hidden: torch.Tensor, lengths: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        for block in self.block_list:
            hidden, lengths = block(hidden, lengths)
        return hidden, lengths


class ECGFounderEncoder(ECGPreTrainedModel):
    """Net1D as ECGFounder uses it: without its batch norms, dropout and head.

    Takes any duration; the authors used 10 s. Missing leads are zeros, which is all that the authors' code knows of
    them (it puts zeros where samples are missing); how well the weights read fewer leads nobody has published. For one
    lead there are weights of their own.
    """

    config: ECGFounderConfig
    config_class = ECGFounderConfig
    _code_module = "ecgfounder_ecgllm"
    _hub_task = "feature-extraction"
    _pipelines = EMBEDDING_PIPELINE
    base_model_prefix = "ecg_encoder"
    main_input_name = "ecg_values"
    _no_split_modules = ["_Block"]
    _left_in_folder = ECGEncoder._left_in_folder
    supports_gradient_checkpointing = False

    def __init__(self, config: ECGFounderConfig):
        super().__init__(config)
        self.first_conv = _Convolution(config.num_leads, config.base_channels, config.kernel_size, stride=2)
        self.stage_list = nn.ModuleList(_Stage(config, number) for number in range(len(config.stage_channels)))
        self.post_init()

    @torch.no_grad()
    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        if isinstance(module, nn.Conv1d | nn.Linear):  # as PyTorch, and so the authors, begin
            init.kaiming_uniform_(module.weight, a=5**0.5)

    def get_input_embeddings(self) -> nn.Module:
        return self.first_conv

    @staticmethod
    def feature_extractor(num_leads: int = 12, **settings: Any) -> ECGFeatureExtractor:
        """What prepares ECGs as the authors do: 500 Hz, their three filters, and one mean and deviation for all leads.

        Args: num_leads: 12, or 1 for lead I. settings: of `ECGFeatureExtractor`, to change what is said here;
            filters=None for the authors' first code, which had none.
        """
        signal_path = {"sampling_rate": 500, "baseline": "none", "filters": FILTERS, "scaling": "record_zscore"}
        leads = LEADS if num_leads == 12 else LEADS[:num_leads]
        return ECGFeatureExtractor(**signal_path | {"leads": leads} | settings)

    @classmethod
    def from_published(cls, path: str | Path) -> "ECGFounderEncoder":
        """The encoder with weights as the authors publish them (`12_lead_ECGFounder.pth`, `1_lead_ECGFounder.pth`).

        Sizes are found from the tensors' shapes. Left out are the head (`dense`), whose labels are the authors', and
        the batch norms, which their model holds and never runs.
        Raises: CheckpointError as `read_published` and `load_published`.
        """
        tensors = read_published(path, inside="state_dict")
        model = cls(_config_of(tensors, path))
        load_published(model, tensors, _never_run(model.config), path)
        return model.eval()

    def forward(
        self,
        ecg_values: torch.Tensor,
        lead_mask: torch.Tensor | None = None,
        ecg_lengths: torch.Tensor | None = None,
        return_dict: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPooling:
        """As `ECGEncoder.forward`; there are no attentions. Raises: ECGError for another shape."""
        check_shape(self.config, ecg_values)
        hidden, lengths = as_recorded(ecg_values, lead_mask, ecg_lengths)
        hidden, lengths = self.first_conv(hidden.to(self.dtype)), count_tokens(lengths, 2)
        hidden = nn.functional.silu(_zero_past(hidden, lengths))
        for stage in self.stage_list:
            hidden, lengths = stage(hidden, lengths)
        tokens = hidden.transpose(1, 2)
        mask = None if ecg_lengths is None else tokens_within(ecg_lengths, self.config, tokens)
        output = pooled_output(tokens, mask)
        return output.to_tuple() if return_dict is False else output


def _zero_past(hidden: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    inside = torch.arange(hidden.shape[-1], device=hidden.device) < lengths[:, None]
    return hidden * inside[:, None].to(hidden.dtype)


def _config_of(tensors: dict[str, torch.Tensor], where: Any) -> ECGFounderConfig:
    first, block = "first_conv.conv.weight", "stage_list.{}.block_list.{}.conv2.conv.weight"
    depths: list[int] = []
    while block.format(len(depths), 0) in tensors:
        stage = len(depths)
        depths.append(0)
        while block.format(stage, depths[stage]) in tensors:
            depths[stage] += 1
    num_leads, of_first = size_of(tensors, first, 1, where), block.format(0, 0)
    return ECGFounderConfig(
        num_leads=num_leads,
        base_channels=size_of(tensors, first, 0, where),
        stage_channels=[size_of(tensors, block.format(stage, 0), 0, where) for stage in range(len(depths))],
        stage_depths=depths,
        kernel_size=size_of(tensors, of_first, 2, where),
        group_width=size_of(tensors, of_first, 1, where),
        preprocessing=ECGFounderEncoder.feature_extractor(num_leads).preprocessing,
    )


def _never_run(config: ECGFounderConfig) -> dict[str, tuple[int | None, ...]]:
    """Names and shapes of the authors' tensors that this encoder leaves out."""
    norms = {"first_bn": config.base_channels}
    before = config.base_channels
    for stage, (channels, depth) in enumerate(zip(config.stage_channels, config.stage_depths, strict=True)):
        for block in range(depth):
            name = f"stage_list.{stage}.block_list.{block}.bn"
            norms |= {f"{name}1": channels if block else before, f"{name}2": channels, f"{name}3": channels}
        before = channels
    left_out: dict[str, tuple[int | None, ...]] = {"dense.weight": (None, before), "dense.bias": (None,)}
    for name, channels in norms.items():
        left_out |= {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
        left_out[f"{name}.num_batches_tracked"] = ()
    return left_out


__all__ = ["ECGFounderEncoder"]
