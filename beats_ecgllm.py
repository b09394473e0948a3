"""An encoder that sees beats (`ECGBeatEncoder`): where the QRS complexes are, and the waveform around them.

In: prepared ECGs [ecgs, leads, samples]. Out: [ecgs, patches, hidden], added to the patch embedding. A patch in which
a beat lies gets that beat: its waveform, aligned at QRS, and its distances to its neighbours. Every patch gets the
dominant beat of the ECG, its rate and its regularity. Patches alone cut beats at arbitrary places, so that a
transformer needs hundreds of thousands of ECGs before it compares two RR intervals or sees that a P wave is missing;
aligned beats need few (figures in docs/training.md). Decided here: how QRS is found in batches on any device, and
which intervals are given. This file travels with a checkpoint.
"""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from .configuration_ecgllm import ECGBeatEncoderConfig
from .encoder_ecgllm import ECGEncoder, as_recorded, may_look

_SEEK_BAND, _JUDGE_BAND = (7.0, 30.0), (5.0, 30.0)
"""Hz. Candidates are sought where P and T are small; wide ectopic beats are judged with their slow part."""
_KERNEL_S = 0.5
_QRS_S = 0.12
_WINDOW_S = 2.0
_LEAD_LIMIT = 2.0
_REFRACTORY_S = 0.22
_T_WAVE_S, _T_WAVE_SHARE = 0.42, 0.5
_SMALLEST = 0.35
_BINS = 16
_UNKNOWN_RR_S = 1.0
_NEVER = 2**31 - 1
"""In place of a beat's sample."""
_AT_LEAST = 2
"""More than are needed of blocks of samples and of places for beats: `torch.export` makes a graph for one, or for any
number from two on."""


@torch.no_grad()
def find_beats(ecg_values: torch.Tensor, lengths: torch.Tensor, sampling_rate: float) -> torch.Tensor:
    """Where the QRS complexes are: bool [ecgs, samples], True at the middle of each.

    QRS is distinguished from P, T and noise by its energy over all leads, compared with the ECG's own QRS level: of
    two candidates within 420 ms the one with less than half the height is a T or P wave (Pan and Tompkins 1985 use 360
    ms for T), and a QRS has at least 0.35 of the usual height. Complexes within 60 ms of an end are cut and left out.
    The rules are those of `heart_ecgllm`, except what cannot be done for a whole batch at once.

    Args: ecg_values: [ecgs, leads, samples], zero past an ECG's end and in missing leads. lengths: int [ecgs].
    """
    ecg_values = ecg_values.float()
    seek, judge = _energies(ecg_values, lengths, (_SEEK_BAND, _JUDGE_BAND), sampling_rate)
    reach, t_wave, half = (round(seconds * sampling_rate) for seconds in (_REFRACTORY_S, _T_WAVE_S, _QRS_S / 2))
    # Of equals that are near, as where all leads are at their limit, the first: no more beats than `_positions` holds.
    beats = (seek > _maximum(seek, -reach, -1)) & (seek >= _maximum(seek, 0, reach))
    neighbours = _maximum(torch.where(beats, seek, 0.0), -t_wave, t_wave)
    beats &= seek >= _T_WAVE_SHARE * neighbours
    usual = _usual_height(judge[:, None], lengths, sampling_rate)[:, 0]
    beats &= _maximum(judge, -half, half) > _SMALLEST * usual[:, None]
    position = torch.arange(judge.shape[-1], device=judge.device)
    return beats & (position >= half) & (position < (lengths - half)[:, None])


def _energies(
    values: torch.Tensor, lengths: torch.Tensor, bands: Sequence[tuple[float, float]], rate: float
) -> torch.Tensor:
    """Mean absolute activity in each band, summed over leads [bands, ecgs, samples].

    A lead counts at most twice its own QRS level: no artefact of one lead makes a beat.
    """
    half = round(_KERNEL_S / 2 * rate)
    time = torch.arange(-half, half + 1, device=values.device) / rate
    low, high = torch.tensor(bands, device=values.device).T[..., None]
    kernels = 2 * high * torch.sinc(2 * high * time) - 2 * low * torch.sinc(2 * low * time)
    kernels = kernels / rate * (0.5 + 0.5 * torch.cos(torch.pi * time / ((half + 1) / rate)))
    inside = torch.arange(values.shape[-1], device=values.device) < lengths[:, None]
    width = 2 * round(_QRS_S / 2 * rate) + 1
    activity = _filtered(values, kernels).abs() * inside[:, None]  # it rings on past the end of a padded ECG
    activity = nn.functional.avg_pool1d(activity.flatten(0, 2), width, stride=1, padding=width // 2)
    activity = activity.unflatten(0, (len(bands), *values.shape[:2]))
    limit = _LEAD_LIMIT * _usual_height(activity, lengths, rate)
    return torch.minimum(activity, limit[..., None]).sum(dim=-2)


def _filtered(values: torch.Tensor, kernels: torch.Tensor) -> torch.Tensor:
    """Values [..., samples] convolved with symmetric kernels [kernels, 2 * half + 1]: [kernels, ..., samples].

    As one matrix product: blocks of 2 * half samples times the kernels, shifted by a sample from column to column. An
    FFT's length would depend on the signal's, which ONNX Runtime does not take; a convolution is several times slower.
    """
    samples, block = values.shape[-1], kernels.shape[-1] - 1
    blocks = samples // block + _AT_LEAST
    padded = nn.functional.pad(values, (block // 2, (blocks + 1) * block - samples - block // 2))
    padded = padded.unflatten(-1, (blocks + 1, block))
    shift = torch.arange(2 * block, device=values.device)[:, None] - torch.arange(block, device=values.device)
    shifted = torch.where((shift >= 0) & (shift <= block), kernels[:, shift.clamp(0, block)], 0.0)
    # [a block's samples][what they give to their own block, to the one before it][kernels][samples that come out]
    weights = shifted.unflatten(1, (2, block)).permute(2, 1, 0, 3)
    with _full_precision(values.device.type):
        given = (padded.flatten(0, -2) @ weights.flatten(1)).view(*padded.shape[:-1], *weights.shape[1:])
    of_blocks = given[..., :-1, 0, :, :] + given[..., 1:, 1, :, :]
    return of_blocks.movedim(-2, 0).flatten(-2)[..., :samples]


def _full_precision(device: str) -> AbstractContextManager:
    """Where a training in bfloat16 casts no product: the largest of neighbours is sought."""
    casts = device != "meta" and torch.is_autocast_enabled(device)
    return torch.autocast(device, enabled=False) if casts else nullcontext()


def _usual_height(energy: torch.Tensor, lengths: torch.Tensor, rate: float) -> torch.Tensor:
    """Height of a typical QRS, [..., ecgs, rows] from [..., ecgs, rows, samples].

    The largest value of each window of two seconds (which holds a beat from 30 per minute on), and the median of
    these. The last seconds, which fill no window, count only where there is no other.
    """
    window = round(_WINDOW_S * rate)
    windows = energy.shape[-1] // window + _AT_LEAST
    padded = nn.functional.pad(energy, (0, windows * window - energy.shape[-1]))
    highest = padded.unflatten(-1, (windows, window)).amax(dim=-1)
    valid = (lengths // window).clamp(min=1)
    outside = torch.arange(windows, device=energy.device) >= valid[:, None]
    ordered = highest.masked_fill(outside[:, None], torch.inf).sort(dim=-1).values
    middle = torch.stack(((valid - 1) // 2, valid // 2), dim=-1)[:, None].expand(*ordered.shape[:-1], 2)
    return ordered.gather(-1, middle).mean(dim=-1)


def _maximum(values: torch.Tensor, first: int, last: int) -> torch.Tensor:
    """Largest of the values [ecgs, samples] that lie from `first` to `last` samples away, or 0."""
    around = nn.functional.pad(values, (max(-first, 0), max(last, 0)))
    around = around[:, max(first, 0) : around.shape[1] + min(last, 0)]
    width, span = last - first + 1, 1
    while 2 * span <= width:  # of twice as many neighbours in each step
        around = torch.maximum(around[:, :-span], around[:, span:])
        span *= 2
    rest = width - span
    return torch.maximum(around[:, : around.shape[1] - rest], around[:, rest:])


def _bins(values: torch.Tensor, ranges: Sequence[tuple[float, float]]) -> torch.Tensor:
    """[..., values, bins] of [..., values]: how near each is to evenly spaced ones of its range. A linear layer alone
    cannot single out middle values."""
    centers = torch.stack([torch.linspace(low, high, _BINS, device=values.device) for low, high in ranges])
    width = torch.tensor([(high - low) / (_BINS - 1) for low, high in ranges], device=values.device)
    return torch.exp(-0.5 * ((values[..., None] - centers) / width[:, None]) ** 2)


class ECGBeatEmbedding(nn.Module):
    """What beats add to patch tokens: [ecgs, leads, samples] -> [ecgs, patches, hidden]."""

    def __init__(self, config: ECGBeatEncoderConfig):
        super().__init__()
        self.sampling_rate = float(config.beat_sampling_rate)
        self.before, self.after = (round(seconds * self.sampling_rate) for seconds in config.beat_window)
        self.patch_size = config.patch_size
        waveform = config.num_leads * (self.before + self.after)
        size = config.beat_hidden_size
        self.beat_waveform = nn.Linear(waveform, size)
        self.beat_intervals = nn.Linear(5 * _BINS + 2, size)
        self.beat_out = nn.Linear(size, config.hidden_size)
        self.median_waveform = nn.Linear(2 * waveform, size)
        self.median_intervals = nn.Linear(3 * _BINS, size)
        self.median_hidden = nn.Linear(size, size)
        self.median_out = nn.Linear(size, config.hidden_size)

    def forward(self, ecg_values: torch.Tensor, lengths: torch.Tensor, num_patches: int) -> torch.Tensor:
        """Args: as for `find_beats`; num_patches: tokens of the patch embedding."""
        ecg_values = ecg_values.float()
        found = find_beats(ecg_values, lengths, self.sampling_rate)
        position, is_beat = _positions(found, round(_REFRACTORY_S * self.sampling_rate))
        windows = self._windows(ecg_values, position)
        intervals, record_intervals = _intervals(position / self.sampling_rate, is_beat)
        dtype = self.beat_out.weight.dtype

        hidden = self.beat_waveform(windows.flatten(2).to(dtype)) + self.beat_intervals(intervals.to(dtype))
        beats = self.beat_out(nn.functional.gelu(hidden)) * is_beat[..., None]
        patch = torch.arange(num_patches, device=position.device)
        lies_in = (position // self.patch_size)[:, None] == patch[:, None]  # [ecgs, patches, beats]
        tokens = lies_in.to(dtype) @ beats  # as a product, since sums of scattered values are not deterministic

        median = _median(windows, is_beat, 0.0)
        height = median.amax(dim=-1, keepdim=True) - median.amin(dim=-1, keepdim=True)
        # In millivolts for criteria of voltage, and by height for shapes.
        both = torch.cat((median, median / (height + 0.05)), dim=-1).flatten(1)
        hidden = self.median_waveform(both.to(dtype)) + self.median_intervals(record_intervals.to(dtype))
        hidden = nn.functional.gelu(self.median_hidden(nn.functional.gelu(hidden)))
        return tokens + self.median_out(hidden)[:, None]

    def _windows(self, ecg_values: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
        """[ecgs, beats, leads, before + after], zero outside the recording."""
        padded = nn.functional.pad(ecg_values, (self.before, self.after))
        offset = torch.arange(self.before + self.after, device=position.device)
        index = (position[..., None] + offset).flatten(1)[:, None].expand(-1, ecg_values.shape[1], -1)
        return padded.gather(2, index).unflatten(2, (position.shape[1], len(offset))).transpose(1, 2)


class ECGBeatEncoder(ECGEncoder):
    """An `ECGEncoder` whose patches get the beats in them, and all of them the dominant beat and the rhythm."""

    config: ECGBeatEncoderConfig
    config_class = ECGBeatEncoderConfig
    _code_module = "beats_ecgllm"
    _hub_task = "feature-extraction"

    def __init__(self, config: ECGBeatEncoderConfig):
        super().__init__(config)
        self.beat_embedding = ECGBeatEmbedding(config)
        self.post_init()

    def embed(
        self, ecg_values: torch.Tensor, lead_mask: torch.Tensor | None, ecg_lengths: torch.Tensor | None
    ) -> torch.Tensor:
        tokens = super().embed(ecg_values, lead_mask, ecg_lengths)
        return tokens + self.beat_embedding(*as_recorded(ecg_values, lead_mask, ecg_lengths), tokens.shape[1])


def _positions(found: torch.Tensor, reach: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples of the beats in order [ecgs, most beats], 0 where an ECG has fewer, and bool of the same shape.

    Args: reach: samples within which there is no second beat. Where counting the beats would wait for the device, or
    make the shapes of an exported graph depend on its input, there is room for as many as fit.
    """
    count = found.sum(dim=1)
    most = max(int(count.max()), 1) if may_look(found) else found.shape[1] // (reach + 1) + _AT_LEAST
    is_beat = torch.arange(most, device=found.device) < count[:, None]
    order = torch.where(found, torch.arange(found.shape[1], device=found.device), _NEVER)
    order = nn.functional.pad(order, (0, _AT_LEAST), value=_NEVER)  # an ECG of any length has as many to take
    ordered = order.topk(most, dim=1, largest=False, sorted=True).values
    return torch.where(is_beat, ordered, 0), is_beat


def _median(values: torch.Tensor, known: torch.Tensor, otherwise: float) -> torch.Tensor:
    """Median [ecgs, ...] of the known ones of values [ecgs, beats, ...], the lower of two middle ones. Args: known:
    bool [ecgs, beats]. otherwise: where none is known."""
    count = known.sum(dim=1)
    known, count = (mask.reshape(*mask.shape, *(1,) * (values.ndim - 2)) for mask in (known, count))
    lower_half = (values.shape[1] + 1) // 2
    ordered = torch.where(known, values, torch.inf).topk(lower_half, dim=1, largest=False, sorted=True).values
    middle = ((count - 1) // 2).clamp(min=0)[:, None].expand(-1, 1, *values.shape[2:])
    return torch.where(count > 0, ordered.gather(1, middle)[:, 0], otherwise)


def _intervals(seconds: torch.Tensor, is_beat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """([ecgs, beats, 5 bins + 2], [ecgs, 3 bins]): features of each beat's RR intervals, and of all RR intervals.

    Per beat: RR before and after it, in seconds, relative to the ECG's median and relative to each other; whether they
    are known. Per ECG: the median, the spread, the root mean square of successive differences. Logarithms are to base
    2.
    """
    rr = seconds[:, 1:] - seconds[:, :-1]
    known = is_beat[:, 1:]
    # Numbers, since torch.compile writes no code for booleans that are padded.
    before, has_before = (nn.functional.pad(values, (1, 0)) for values in (rr, known.int()))
    behind, has_behind = (nn.functional.pad(values, (0, 1)) for values in (rr, known.int()))
    has_before, has_behind = has_before.bool(), has_behind.bool()
    median = _median(behind, has_behind, _UNKNOWN_RR_S)
    relative_before = (before / median[:, None]).clamp(0.25, 4.0).log2()
    relative_behind = (behind / median[:, None]).clamp(0.25, 4.0).log2()
    change = relative_behind - relative_before
    has_both = has_before & has_behind
    told = (relative_before, relative_behind, change, before.clamp(0.2, 3.0).log2(), behind.clamp(0.2, 3.0).log2())
    is_told = torch.stack((has_before, has_behind, has_both, has_before, has_behind), dim=-1)
    bins = _bins(torch.stack(told, dim=-1), (*[(-1.0, 1.0)] * 3, *[(-2.0, 1.5)] * 2)) * is_told[..., None]
    of_beats = torch.cat((bins.flatten(-2), has_before[..., None], has_behind[..., None]), dim=-1)
    spread, successive = (
        ((values.square() * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1)).sqrt()
        for values, valid in ((relative_before, has_before), (change, has_both))
    )
    of_ecgs = (median.clamp(0.2, 3.0).log2(), (spread + 0.005).log2(), (successive + 0.005).log2())
    of_ecgs = _bins(torch.stack(of_ecgs, dim=-1), ((-2.0, 1.5), (-8.0, 0.0), (-8.0, 1.0))).flatten(-2)
    return of_beats, of_ecgs
