"""An encoder that sees beats (`ECGBeatEncoder`): where the QRS complexes are, and the waveform around them.

In: prepared ECGs [ecgs, leads, samples]. Out: [ecgs, patches, hidden], added to the patch embedding. A patch in which
a beat lies gets that beat: its waveform, aligned at QRS, and its distances to its neighbours. Every patch gets the
dominant beat of the ECG, its rate and its regularity. Patches alone cut beats at arbitrary places, so that a
transformer needs hundreds of thousands of ECGs before it compares two RR intervals or sees that a P wave is missing;
aligned beats need few (figures in docs/training.md). Decided here: how QRS is found in batches on any device, and
which intervals are given. This file travels with a checkpoint.
"""

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
    energy = _energy(ecg_values, lengths, _SEEK_BAND, sampling_rate)
    reach = round(_REFRACTORY_S * sampling_rate)
    beats = (energy == _maximum(energy, reach)) & (energy > 0)
    neighbours = _maximum(torch.where(beats, energy, torch.zeros_like(energy)), round(_T_WAVE_S * sampling_rate))
    beats &= energy >= _T_WAVE_SHARE * neighbours
    energy = _energy(ecg_values, lengths, _JUDGE_BAND, sampling_rate)
    half = round(_QRS_S / 2 * sampling_rate)
    usual = _usual_height(energy[:, None], lengths, sampling_rate)[:, 0]
    beats &= _maximum(energy, half) > _SMALLEST * usual[:, None]
    position = torch.arange(energy.shape[-1], device=energy.device)
    return beats & (position >= half) & (position < (lengths - half)[:, None])


def _energy(values: torch.Tensor, lengths: torch.Tensor, band: tuple[float, float], rate: float) -> torch.Tensor:
    """Mean absolute activity in the band, summed over leads [ecgs, samples].

    A lead counts at most twice its own QRS level: no artefact of one lead makes a beat.
    """
    low, high = band
    half = round(_KERNEL_S / 2 * rate)
    time = torch.arange(-half, half + 1, device=values.device) / rate
    kernel = 2 * high * torch.sinc(2 * high * time) - 2 * low * torch.sinc(2 * low * time)
    kernel = kernel / rate * (0.5 + 0.5 * torch.cos(torch.pi * time / (time[-1] + 1 / rate)))
    size = values.shape[-1] + 2 * half
    size += size % 2
    spectrum = torch.fft.rfft(values, size) * torch.fft.rfft(kernel, size)
    activity = torch.fft.irfft(spectrum, size)[..., half : half + values.shape[-1]].abs()
    inside = torch.arange(values.shape[-1], device=values.device) < lengths[:, None]
    activity = activity * inside[:, None]  # the filter rings on past the end of a padded ECG
    width = 2 * round(_QRS_S / 2 * rate) + 1
    activity = nn.functional.avg_pool1d(activity, width, stride=1, padding=width // 2)
    limit = _LEAD_LIMIT * _usual_height(activity, lengths, rate)
    return torch.minimum(activity, limit[..., None]).sum(dim=1)


def _usual_height(energy: torch.Tensor, lengths: torch.Tensor, rate: float) -> torch.Tensor:
    """Height of a typical QRS, [ecgs, rows] from [ecgs, rows, samples].

    The largest value of each window of two seconds (which holds a beat from 30 per minute on), and the median of
    these. The last seconds, which fill no window, count only where there is no other.
    """
    window = round(_WINDOW_S * rate)
    if energy.shape[-1] < window:
        return energy.amax(dim=-1)
    count = energy.shape[-1] // window
    highest = energy[..., : count * window].unflatten(-1, (count, window)).amax(dim=-1)
    valid = (lengths // window).clamp(1, count)
    outside = torch.arange(count, device=energy.device) >= valid[:, None]
    ordered = highest.masked_fill(outside[:, None], torch.inf).sort(dim=-1).values
    middle = torch.stack(((valid - 1) // 2, valid // 2), dim=-1)[:, None].expand(-1, ordered.shape[1], -1)
    return ordered.gather(-1, middle).mean(dim=-1)


def _maximum(values: torch.Tensor, reach: int) -> torch.Tensor:
    """Largest value within so many samples on either side."""
    return nn.functional.max_pool1d(values[:, None], 2 * reach + 1, stride=1, padding=reach)[:, 0]


def _bins(values: torch.Tensor, low: float, high: float) -> torch.Tensor:
    """[..., bins]: how near a value is to each of evenly spaced ones. A linear layer alone cannot single out middle
    values."""
    centers = torch.linspace(low, high, _BINS, device=values.device)
    return torch.exp(-0.5 * ((values[..., None] - centers) * ((_BINS - 1) / (high - low))) ** 2)


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

        median = windows.masked_fill(~is_beat[..., None, None], torch.nan).nanmedian(dim=1).values.nan_to_num(0.0)
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


def _positions(found: torch.Tensor, closest: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Samples of the beats in order [ecgs, most beats], 0 where an ECG has fewer, and bool of the same shape.

    Args: closest: fewest samples between two beats. Where counting the beats would wait for the device, there is room
    for as many as fit.
    """
    count = found.sum(dim=1)
    most = int(count.max()) if may_look(found) else found.shape[1] // closest + 1
    most = min(max(most, 1), found.shape[1])
    is_beat = torch.arange(most, device=found.device) < count[:, None]
    sample = torch.arange(found.shape[1], device=found.device)
    ordered = torch.where(found, sample, found.shape[1]).topk(most, dim=1, largest=False, sorted=True).values
    return torch.where(is_beat, ordered, 0), is_beat


def _intervals(seconds: torch.Tensor, is_beat: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """([ecgs, beats, 5 bins + 2], [ecgs, 3 bins]): features of each beat's RR intervals, and of all RR intervals.

    Per beat: RR before and after it, in seconds, relative to the ECG's median and relative to each other; whether they
    are known. Per ECG: the median, the spread, the root mean square of successive differences. Logarithms are to base
    2.
    """
    rr = seconds[:, 1:] - seconds[:, :-1]
    known = is_beat[:, 1:]
    unknown = rr.new_full((len(rr), 1), torch.nan)  # so that there is something to take a median of
    median = torch.cat((rr.masked_fill(~known, torch.nan), unknown), dim=1).nanmedian(dim=1).values
    median = median.nan_to_num(_UNKNOWN_RR_S)
    before, has_before = (nn.functional.pad(values, (1, 0)) for values in (rr, known))
    behind, has_behind = (nn.functional.pad(values, (0, 1)) for values in (rr, known))
    relative_before = (before / median[:, None]).clamp(0.25, 4).log2()
    relative_behind = (behind / median[:, None]).clamp(0.25, 4).log2()
    change = relative_behind - relative_before
    has_both = has_before & has_behind
    of_beats = torch.cat(
        (
            _bins(relative_before, -1, 1) * has_before[..., None],
            _bins(relative_behind, -1, 1) * has_behind[..., None],
            _bins(change, -1, 1) * has_both[..., None],
            _bins(before.clamp(0.2, 3).log2(), -2, 1.5) * has_before[..., None],
            _bins(behind.clamp(0.2, 3).log2(), -2, 1.5) * has_behind[..., None],
            has_before[..., None],
            has_behind[..., None],
        ),
        dim=-1,
    )
    spread, successive = (
        ((values.square() * valid).sum(dim=1) / valid.sum(dim=1).clamp(min=1)).sqrt()
        for values, valid in ((relative_before, has_before), (change, has_both))
    )
    of_ecgs = torch.cat(
        (
            _bins(median.clamp(0.2, 3).log2(), -2, 1.5),
            _bins((spread + 0.005).log2(), -8, 0),
            _bins((successive + 0.005).log2(), -8, 1),
        ),
        dim=-1,
    )
    return of_beats, of_ecgs
