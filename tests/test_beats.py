"""Beats inside the encoder: that they are found, stay where they are, and are all that changes."""

import pytest
import torch

from ecgllm import ECGBeatEncoder, ECGBeatEncoderConfig, ECGFeatureExtractor, beats_ecgllm
from ecgllm.beats_ecgllm import ECGBeatEmbedding, _filtered, _intervals, _median, find_beats
from ecgllm.signals import read_ecg
from ecgllm.signals.simulation import simulate_ecgs, simulate_with_waves

SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 1,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "stem_channels": [8, 8],
    "stem_strides": [2, 1],
    "beat_hidden_size": 24,
}


def prepared(ecgs, **settings):
    return ECGFeatureExtractor(**settings)(ecgs, return_tensors="pt")


@pytest.fixture(scope="module")
def ecgs():
    return simulate_ecgs(60, seed=4_000)


@pytest.fixture
def encoder():
    torch.manual_seed(0)
    config = ECGBeatEncoderConfig(**SIZES, beat_sampling_rate=100, preprocessing=ECGFeatureExtractor().preprocessing)
    return ECGBeatEncoder(config).eval()


def compared(found: torch.Tensor, qrs: torch.Tensor, start: float, end: float) -> tuple[int, int, int]:
    """(marked, missed, invented) complexes in these seconds. found: [beats] s; qrs: [complexes, 2], onset, offset."""
    distance = torch.maximum(qrs[:, 0] - found[:, None], found[:, None] - qrs[:, 1])
    whole = (qrs[:, 0] > start) & (qrs[:, 1] < end)
    inside = (found > start) & (found < end)
    missed, invented = distance.amin(dim=0)[whole] > 0.06, distance.amin(dim=1)[inside] > 0.06
    return int(whole.sum()), int(missed.sum()), int(invented.sum())


@pytest.mark.parametrize("rate", [100, 250])
def test_beats_are_those_that_were_simulated(rate):
    made = simulate_with_waves(200, seed=4_100, sampling_rate=rate)
    batch = prepared([record for record, _ in made], sampling_rate=rate)
    found = find_beats(batch["ecg_values"], batch["ecg_lengths"], rate)
    figures = torch.zeros(3)
    for (_, waves), row in zip(made, found, strict=True):
        figures += torch.tensor(compared(row.nonzero()[:, 0] / rate, torch.tensor(waves.qrs), 0.2, 9.8))
    total, missed, invented = figures.tolist()
    assert total > 2000
    assert missed / total < 0.01
    assert invented / total < 0.01


def test_beats_are_those_that_cardiologists_marked_in_ludb(shared_data):
    import wfdb

    folder = shared_data / "ludb" / "data"
    headers = sorted(folder.glob("*.hea")) if folder.is_dir() else []
    if len(headers) < 20:
        pytest.skip(f"no LUDB with annotations in {shared_data}")
    figures = torch.zeros(3)
    for header in headers:
        batch = prepared(read_ecg(header))
        found = find_beats(batch["ecg_values"], batch["ecg_lengths"], 100)[0].nonzero()[:, 0] / 100
        marks = wfdb.rdann(str(header.with_suffix("")), "ii")
        at = [i for i, symbol in enumerate(marks.symbol) if symbol == "N"]
        qrs = torch.tensor([[marks.sample[i - 1] / marks.fs, marks.sample[i + 1] / marks.fs] for i in at])
        # The first and the last beats of a record are not marked.
        figures += torch.tensor(compared(found, qrs, float(qrs[0, 0]) - 0.05, float(qrs[-1, 1]) + 0.05))
    total, missed, invented = figures.tolist()
    assert total > 5 * len(headers)
    assert missed / total < 0.01
    assert invented / total < 0.01


def test_an_artefact_of_one_lead_is_no_beat():
    """However high: a lead counts twice its own QRS at most."""
    time = torch.arange(1000) / 100
    qrs = torch.arange(1, 10, 1.5)
    values = sum(torch.exp(-((time - at) ** 2) / (2 * 0.012**2)) for at in qrs).repeat(1, 12, 1)
    values[0, 4] += 30 * torch.exp(-((time - 4.75) ** 2) / (2 * 0.012**2))
    found = find_beats(values, torch.tensor([1000]), 100.0)[0].nonzero()[:, 0] / 100
    torch.testing.assert_close(found, qrs, atol=0.02, rtol=0)


@pytest.mark.parametrize(("behind_s", "height", "is_beat"), [(0.3, 0.4, False), (0.3, 0.9, True), (0.6, 0.6, True)])
def test_what_follows_a_qrs_closely_and_lower_is_its_t_wave(behind_s, height, is_beat):
    """Within 420 ms of a QRS, with less than half of its activity."""
    time = torch.arange(1000) / 100
    qrs = torch.arange(1, 10, 1.5)
    later = qrs + behind_s
    values = sum(torch.exp(-((time - at) ** 2) / (2 * 0.012**2)) for at in qrs)
    values = values + height * sum(torch.exp(-((time - at) ** 2) / (2 * 0.012**2)) for at in later)
    found = find_beats(values.expand(1, 12, -1), torch.tensor([1000]), 100.0)[0].nonzero()[:, 0] / 100
    expected = torch.cat((qrs, later)).sort().values if is_beat else qrs
    torch.testing.assert_close(found, expected, atol=0.02, rtol=0)


def test_silence_has_no_beats_and_is_encoded(encoder):
    silence = torch.zeros(2, 12, 500)
    assert not find_beats(silence, torch.tensor([500, 500]), 100).any()
    assert encoder(silence).last_hidden_state.isfinite().all()


def test_padded_ecg_has_the_beats_it_has_alone(encoder, ecgs):
    values = prepared(ecgs)["ecg_values"]
    lengths = torch.full((len(ecgs),), 700)
    padded = values.clone()
    padded[..., 700:] = 9.0  # whatever stands there is not the ECG's
    with torch.no_grad():
        together = encoder(padded, ecg_lengths=lengths).last_hidden_state[:, :35]
        alone = encoder(values[..., :700]).last_hidden_state
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-4)


def test_missing_lead_is_not_read(encoder, ecgs):
    values = prepared(ecgs[:8])["ecg_values"]
    mask = torch.ones(8, 12, dtype=torch.bool)
    mask[:, 3] = False
    other = values.clone()
    other[:, 3] = torch.randn(8, 1000)
    with torch.no_grad():
        torch.testing.assert_close(encoder(values, mask).last_hidden_state, encoder(other, mask).last_hidden_state)


def test_a_beat_is_told_to_its_patch_alone(ecgs):
    torch.manual_seed(0)
    embedding = ECGBeatEmbedding(ECGBeatEncoderConfig(**SIZES, beat_sampling_rate=100)).eval()
    batch = prepared(ecgs[:8])
    values, lengths = batch["ecg_values"], batch["ecg_lengths"]
    with torch.no_grad():
        tokens = embedding(values, lengths, 50)
        for parameter in embedding.median_out.parameters():
            parameter.zero_()
        beats = embedding(values, lengths, 50)
    found = find_beats(values, lengths, 100).unflatten(1, (50, 20)).any(dim=2)
    assert torch.equal(beats.abs().amax(dim=2) > 0, found)
    # What is left is the same in all patches: the median beat.
    torch.testing.assert_close((tokens - beats).std(dim=1), torch.zeros(8, 32), atol=1e-5, rtol=0)


def test_intervals_tell_early_beats():
    even, early = torch.arange(8) * 0.8, torch.arange(8) * 0.8
    early[4] -= 0.3
    of_beats, of_ecgs = _intervals(torch.stack((even, early)), torch.ones(2, 8, dtype=torch.bool))
    torch.testing.assert_close(of_beats[0, 2], of_beats[0, 5])
    assert not torch.allclose(of_beats[1, 2], of_beats[1, 4])
    assert torch.equal(of_ecgs[0, :16], of_ecgs[1, :16])  # the same rate
    assert not torch.allclose(of_ecgs[0, 16:], of_ecgs[1, 16:])  # but not as regular
    # A last beat that only one of them has changes nothing for those that both have, but its own neighbour.
    fewer, _ = _intervals(even[None, :5], torch.ones(1, 5, dtype=torch.bool))
    torch.testing.assert_close(fewer[0, :4], of_beats[0, :4])


def test_intervals_are_told_by_the_ecgs_own_rate_and_by_themselves():
    """The same rhythm at half the rate differs in what is told of seconds alone."""
    seconds, is_beat = torch.tensor([[0.5, 1.1, 1.7, 2.0, 2.9, 3.5]]), torch.ones(1, 6, dtype=torch.bool)
    fast, slow = (_intervals(times, is_beat)[0] for times in (seconds, seconds * 2))
    torch.testing.assert_close(fast[..., : 3 * 16], slow[..., : 3 * 16])
    assert not torch.allclose(fast[..., 3 * 16 : 5 * 16], slow[..., 3 * 16 : 5 * 16], atol=0.1)


def test_every_parameter_learns_even_without_beats(encoder):
    encoder(torch.zeros(1, 12, 300)).last_hidden_state.sum().backward()
    assert all(parameter.grad is not None for parameter in encoder.parameters())


def test_half_precision_and_saved_weights(encoder, ecgs, tmp_path):
    values = prepared(ecgs[:4])["ecg_values"]
    encoder.save_pretrained(tmp_path)
    with torch.no_grad():
        expected = encoder(values).last_hidden_state
        assert torch.equal(ECGBeatEncoder.from_pretrained(tmp_path)(values).last_hidden_state, expected)
        half = ECGBeatEncoder.from_pretrained(tmp_path, dtype=torch.bfloat16)(values.bfloat16()).last_hidden_state
    assert half.dtype == torch.bfloat16
    torch.testing.assert_close(half.float(), expected, rtol=0.2, atol=0.2)


@pytest.mark.parametrize(
    "fields, message",
    [
        ({"beat_sampling_rate": 500}, "the feature extractor gives 100.0 Hz"),
        ({"beat_sampling_rate": 100, "beat_window": [0.4]}, "seconds before and behind QRS"),
        ({"beat_sampling_rate": 100, "beat_window": [0.4, 0]}, "both above 0"),
    ],
)
def test_settings_that_cannot_be_are_refused(fields, message):
    with pytest.raises(ValueError, match=message):
        ECGBeatEncoderConfig(**fields, preprocessing=ECGFeatureExtractor().preprocessing)


def test_too_low_a_rate_is_refused():
    with pytest.raises(ValueError, match="expected 75 Hz or more"):
        ECGBeatEncoderConfig(beat_sampling_rate=50)


def test_room_for_as_many_beats_as_fit_gives_the_same(encoder, ecgs, monkeypatch):
    """Where beats are not counted, since that would mean to wait for the device."""
    values = prepared(ecgs[:8])["ecg_values"]
    with torch.no_grad():
        expected = encoder(values).last_hidden_state
        monkeypatch.setattr(beats_ecgllm, "may_look", lambda tensor: False)
        found = encoder(values).last_hidden_state
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("samples", [1, 49, 50, 333])
def test_the_filter_is_a_convolution(samples):
    torch.manual_seed(0)
    values, kernels = torch.randn(2, 3, samples, dtype=torch.float64), torch.randn(2, 51, dtype=torch.float64)
    kernels = kernels + kernels.flip(-1)
    expected = torch.nn.functional.conv1d(values.flatten(0, 1)[:, None], kernels[:, None], padding=25)
    torch.testing.assert_close(_filtered(values, kernels), expected.unflatten(0, (2, 3)).movedim(2, 0))


def test_the_median_is_of_what_is_known():
    values, known = torch.randn(40, 7, 3), torch.rand(40, 7) < 0.5
    expected = values.masked_fill(~known[..., None], torch.nan).nanmedian(dim=1).values.nan_to_num(5.0)
    assert torch.equal(_median(values, known, 5.0), expected)


def test_of_equals_that_are_near_the_first_is_the_beat():
    """A high stretch in all leads at once, at their limit: its samples are alike, and one beat, not forty."""
    time = torch.arange(1000) / 100
    qrs = torch.arange(1, 10, 1.0)
    values = sum(torch.exp(-((time - at) ** 2) / (2 * 0.012**2)) for at in qrs)
    values[420:480] += 30 * torch.sin(2 * torch.pi * 15 * time[420:480])
    found = find_beats(values.expand(1, 12, -1), torch.tensor([1000]), 100.0)[0].nonzero()[:, 0]
    assert len(found) >= 8 and found.diff().min() > 22


def test_training_in_bfloat16_finds_the_same_beats(ecgs):
    batch = prepared(ecgs)
    given = batch["ecg_values"], batch["ecg_lengths"], 100
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = find_beats(*given)
    assert torch.equal(found, find_beats(*given))


def test_no_value_decides_a_shape(encoder):
    """As export and compilation to one graph ask: on the meta device there are no values."""
    values, lengths = torch.zeros(3, 12, 1000, device="meta"), torch.zeros(3, dtype=torch.long, device="meta")
    assert encoder.beat_embedding.to("meta")(values, lengths, 50).shape == (3, 50, 32)


@pytest.mark.slow
def test_it_compiles_as_one_graph(encoder, ecgs):
    batch = prepared(ecgs[:3])
    given = {name: batch[name] for name in ("ecg_values", "lead_mask", "ecg_lengths")}
    with torch.no_grad():
        found = torch.compile(encoder, fullgraph=True, backend="eager")(**given)
        torch.testing.assert_close(found.last_hidden_state, encoder(**given).last_hidden_state, atol=1e-5, rtol=1e-5)
