"""`prepare` and `simulate`: corpora of ECGs."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ..atomic_writing import new_folder
from ..errors_ecgllm import ECGError
from .folders import load_corpora, save
from .options import AllStatements, OutputFolder, Parquet, Seed, names, reads_ecgs


@reads_ecgs
def prepare(
    reading: dict[str, Any],
    name: Annotated[
        str,
        typer.Argument(
            help="ludb, cinc2021, chapman-shaoxing, ningbo, cpsc2018, ptbxl, mimic-iv-ecg, code15, folder, "
            "simulation or ecg-qa."
        ),
    ],
    output: OutputFolder,
    source: Annotated[
        Path | None, typer.Argument(metavar="[SRC]", help="Folder that holds the corpus as published.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take this many records (ecg-qa: questions).")] = None,
    seed: Seed = 0,
    min_likelihood: Annotated[
        float | None, typer.Option(min=0, max=100, help="ptbxl: least likelihood of a diagnosis, in percent.")
    ] = None,
    table: Annotated[Path | None, typer.Option(help="folder: CSV file with a row per ECG file.")] = None,
    records: Annotated[Path | None, typer.Option(help="ecg-qa: folder of PTB-XL or MIMIC-IV-ECG.")] = None,
    wording: Annotated[str | None, typer.Option(help="ecg-qa: paraphrased (default) or template.")] = None,
    split: Annotated[str | None, typer.Option(help="ecg-qa: split of shards in no folder that says it.")] = None,
    keep_missing: Annotated[
        bool, typer.Option("--keep-missing", help="ecg-qa: keep questions about records that are not there.")
    ] = False,
    all_statements: AllStatements = False,
    drop_copies: Annotated[
        bool, typer.Option("--drop-copies", help="Of a recording that stands in it more than once keep one record.")
    ] = False,
    parquet: Parquet = False,
) -> None:
    """Turn a public ECG corpus, or your own folder, into a `datasets` folder with one vocabulary of findings.

    ecg-qa writes questions, and with --records the corpus of their ECGs into the folder `records` below them. How
    files are read (--sampling-rate, --unit, --leads, ...) is for folder, of its files that do not say it themselves;
    --sampling-rate is for ptbxl, too, 500 or 100 Hz, and --unit for code15, where it cannot be told.
    """
    own = {"table": table, "limit": limit, "drop_copies": drop_copies}
    options = {option: value for option, value in own.items() if value is not None} | _said(reading)
    if name == "ecg-qa":
        options |= {"wording": wording, "split": split, "keep_missing": keep_missing}
        _prepare_ecg_qa(
            output, source, records, all_statements, parquet, min_likelihood=min_likelihood or 0.0, **options
        )
        return
    if records is not None or wording is not None or split is not None or keep_missing:
        raise ECGError("--records, --wording, --split and --keep-missing are options of ecg-qa")
    if min_likelihood is not None and name != "ptbxl":
        raise ECGError(f"--min-likelihood is for PTB-XL's statements; {name} states no likelihoods")
    with new_folder(output) as folder:
        from ..corpora import prepare_with_report

        corpus, report = prepare_with_report(name, source, seed=seed, min_likelihood=min_likelihood or 0.0, **options)
        save(corpus, folder, output, "records", report, all_statements, parquet)


def _said(reading: dict[str, Any]) -> dict[str, Any]:
    """The options of reading that somebody gave: most corpora have none."""
    unsaid = {"allow_truncated": False, "verify_checksum": True}
    return {option: value for option, value in reading.items() if value != unsaid.get(option)}


def _prepare_ecg_qa(
    output: Path, source: Path | None, records: Path | None, all_statements: bool, parquet: bool, **options: Any
) -> None:
    if source is None:
        raise ECGError("ecg-qa needs its folder: ecgllm prepare ecg-qa FOLDER -o OUT")
    with new_folder(output) as folder:
        from ..corpora.questions.ecg_qa_records import prepare_ecg_qa

        found = prepare_ecg_qa(source, records, **options)
        save(found.questions, folder, output, "questions", found, all_statements, parquet)
        if found.records is not None:
            save(found.records, folder / "records", output / "records", "records", parquet=parquet)


def join(
    data: Annotated[
        list[str],
        typer.Argument(
            metavar="CORPUS...",
            help="Folders of `ecgllm prepare`, or SOURCE=FOLDER of a public corpus as it was unpacked, such as "
            "ludb=path.",
        ),
    ],
    output: OutputFolder,
    ids: Annotated[
        Path | None,
        typer.Option(help="File with a record's id, NAME/ID, in each line: take these alone."),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Take so many records of each corpus.")] = None,
    parquet: Parquet = False,
) -> None:
    """Make one corpus of several: to train on, to cross-validate, to compare.

    Records and patients get the name of their corpus: record 1 of ludb is ludb/1.
    """
    with new_folder(output) as folder:
        from ..corpora.records.joining import only_records, read_ids

        wanted = None if ids is None else read_ids(ids)
        corpus = load_corpora(data, limit)
        save(corpus if wanted is None else only_records(corpus, wanted), folder, output, "records", parquet=parquet)


def simulate(
    output: OutputFolder,
    count: Annotated[
        int, typer.Option("--count", "-n", min=1, help="How many ECGs; with --follow-ups how many pairs.")
    ] = 1000,
    seed: Seed = 0,
    sampling_rate: Annotated[float, typer.Option(help="Hz, at least 50.")] = 100.0,
    duration: Annotated[float, typer.Option(help="Seconds of each ECG, at least 5.")] = 10.0,
    noise: Annotated[float, typer.Option(help="Scale of the electrodes' noise; 1 as in public ECGs, 0 none.")] = 1.0,
    findings: Annotated[
        str | None,
        typer.Option(help='What every ECG shows, separated by commas: "atrial fibrillation,st depression".'),
    ] = None,
    heart_rate: Annotated[float | None, typer.Option(help="Beats per minute of every ECG.")] = None,
    reader_spread: Annotated[
        float,
        typer.Option(
            help="0 for findings by published limits, to 1: the diagnostic criteria vary from record to record."
        ),
    ] = 0.0,
    follow_ups: Annotated[
        bool, typer.Option("--follow-ups", help="Write pairs: two ECGs of one patient, of which a third is unchanged.")
    ] = False,
    parquet: Parquet = False,
) -> None:
    """Write a corpus of simulated 12-lead ECGs with known findings, leads, measurements and reports.

    Without --findings a mix as broad as a hospital's is drawn; with them every record shows them, and what is not
    named is normal. The same options write the same bytes.
    """
    with new_folder(output) as folder:
        from ..corpora import records_to_corpus
        from ..signals.simulation import stream_ecgs, stream_follow_ups

        options = {
            "sampling_rate": sampling_rate,
            "duration": duration,
            "noise": noise,
            "reader_spread": reader_spread,
        }
        if follow_ups:
            if findings is not None or heart_rate is not None:
                raise ECGError("--follow-ups draws what changes; leave --findings and --heart-rate out")
            pairs = stream_follow_ups(count, seed, **options)
            records = (record for pair in pairs for record in (pair.first, pair.second))
        else:
            wanted = None if findings is None else names(findings)
            records = stream_ecgs(count, seed, **options, findings=wanted, heart_rate=heart_rate)
        corpus = records_to_corpus(records, source="simulation", seed=seed)
        save(corpus, folder, output, "records", parquet=parquet)


def share(
    corpus: Annotated[Path, typer.Argument(help="Folder written by `ecgllm prepare` or `ecgllm simulate`.")],
    repo_id: Annotated[str | None, typer.Argument(help="Name on the Hub, such as someone/ecgs.")] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Write the copy to this folder, and push nothing.")
    ] = None,
    license: Annotated[
        str | None, typer.Option(help="Of the corpus, as the Hub names it, such as cc-by-4.0; its source says which.")
    ] = None,
    keep: Annotated[
        str | None,
        typer.Option(help="What goes along although it tells of patients: report,statements,id,patient_id,..."),
    ] = None,
    public: Annotated[bool, typer.Option("--public", help="For everybody to read; private otherwise.")] = False,
    parquet: Parquet = False,
) -> None:
    """Copy a corpus without what names or times a patient: to the Hub, or to a folder with -o.

    Left out are reports, statements, times, devices, ages over 89, paths and columns that nobody knows; ids are
    numbered anew. Signals, leads, findings, sex, source and split stay. The token is that of `hf auth login`.
    """
    from ..corpora import for_sharing, push_corpus
    from .folders import load_corpus

    if (repo_id is None) == (output is None):
        raise ECGError("expected the name of a dataset on the Hub, or -o with a folder; one of them")
    kept = names(keep) if keep else []
    rows = load_corpus(corpus)
    if output is not None:
        with new_folder(output) as folder:
            save(for_sharing(rows, kept), folder, output, "records", parquet=parquet)
        return
    if license is None:
        raise ECGError("--license is missing: under which licence may the corpus be passed on? Its source says so")
    pushed = push_corpus(rows, repo_id, license, kept, private=not public)
    typer.echo(f"{len(rows)} records in {pushed}, {'for everybody' if public else 'private'}")
