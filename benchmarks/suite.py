"""The benchmark's parts, each giving the lines of its table as it is done with them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmarks.table import Line, at_least, at_most

if TYPE_CHECKING:
    from ticket_assets.classification.features import Floats

MAX_OTHER_SHARE = 0.15
MAX_GROWTH = 10.5
MAX_SLOWER = 1.05
STREAM = 6_500
"""Mails of 18 months."""


@dataclass(frozen=True)
class Sizes:
    """How much each part works on."""

    mails: int = 3000
    mailbox_gigabytes: float = 2.0
    texts: int = 1024
    job: int = 20_000
    new: int = 100
    growth: tuple[int, int] = (5_000, 50_000)
    memory: int = 100_000
    drift: int = 7_000
    pairs: int = 4
    scaling: tuple[int, int, int, int] = (800, 2_800, 15, 45)
    draws: tuple[int, int] = (1_000, 300)


QUICK = Sizes(
    mails=1000,
    mailbox_gigabytes=0.1,
    texts=256,
    job=1000,
    new=100,
    growth=(500, 2000),
    memory=3000,
    drift=1_600,
    pairs=1,
    scaling=(300, 900, 14, 28),
    draws=(100, 20),
)
"""Some minutes in all: shows that everything works, and not what it costs."""


@dataclass(frozen=True)
class Setup:
    """What every part is given."""

    sizes: Sizes
    encoder: str
    encoders_dir: Path


def mail(setup: Setup) -> Iterator[Line]:
    """Parsing and cleaning on one core, and the memory of a large import."""
    from benchmarks.mail import import_memory, parse_and_clean

    speed = parse_and_clean(setup.sizes.mails)
    for step, rate in (
        ("parse", speed.parse_mails_per_second),
        ("clean", speed.clean_mails_per_second),
    ):
        yield Line("mail", f"{step}, one core", f"{rate:,.0f} mails/s")
    yield at_least(
        "mail", "parse and clean, one core", speed.together_mails_per_second, 1500, "mails/s"
    )
    cost = import_memory(setup.sizes.mailbox_gigabytes)
    yield at_most(
        "mail",
        f"peak memory, import of {cost.mailbox_gigabytes:.1f} GB in {cost.messages:,} mails",
        cost.peak_megabytes,
        500,
        "MB",
    )


def encoding(setup: Setup) -> Iterator[Line]:
    """The packaged encoders beside sentence-transformers and OpenVINO."""
    from benchmarks.encoding import encoding_speed, lines, sample_texts
    from ticket_assets.embedding.presets import PRESETS, resolve_model

    texts = sample_texts(setup.sizes.texts)
    for name in PRESETS:
        model = resolve_model(name, encoders_dir=setup.encoders_dir, allow_download=False)
        yield from lines(encoding_speed(texts, model))


def job(setup: Setup) -> Iterator[Line]:
    """The whole job beside a plain script, then a few new tickets on top."""
    from benchmarks.job import NEW_SEED, Desk

    with TemporaryDirectory() as folder:
        desk = Desk(Path(folder), setup.encoder)
        cost = desk.sort_sample(setup.sizes.job)
        script = desk.plain_script()
        what = f"{cost.messages:,} mails"
        yield Line(
            "job",
            f"{what}, whole job (the plain script: clean texts given)",
            f"{cost.seconds:,.0f} s",
            f"{script.seconds:,.0f} s",
            script.seconds / cost.seconds,
            "≥ 3",
            script.seconds >= 3 * cost.seconds,
        )
        for part, seconds in (
            ("encoding", cost.encoding_seconds),
            ("indexing", cost.indexing_seconds),
            ("fitting", cost.fitting_seconds),
        ):
            peer = script.parts[part]
            yield Line(
                "job", f"{what}, {part}", f"{seconds:,.1f} s", f"{peer:,.1f} s", peer / seconds
            )
        yield at_most(
            "job", "neither encoding, indexing nor fitting", cost.other_share, MAX_OTHER_SHARE
        )
        slowest = sorted(cost.step_seconds.items(), key=lambda step: -step[1])[:6]
        steps = ", ".join(f"{step} {seconds:.0f} s" for step, seconds in slowest)
        yield Line("job", "longest steps", steps)
        yield at_most("job", f"{what}, peak memory", cost.peak_mb, 1500, "MB")
        yield Line("job", "peak memory of the plain script", f"{script.peak_mb:,.0f} MB")
        # The script took long: the first time, libraries and weights come from the disk again.
        first, added = (desk.sort_new(setup.sizes.new, seed) for seed in (NEW_SEED, NEW_SEED + 1))
        what = f"{added.messages} new tickets on top of {cost.messages:,}"
        yield Line("job", f"{what}, the first time", f"{first.seconds:,.1f} s")
        for figure, count in (
            ("texts encoded", added.texts_encoded),
            ("vectors upserted", added.vectors_upserted),
        ):
            yield Line(
                "job", f"{what}, {figure}", str(count), wanted=str(added.messages),
                met=count == added.messages,
            )  # fmt: skip
        yield at_most("job", f"{what}, from start to predictions", added.seconds, 8, "s")


def growth(setup: Setup) -> Iterator[Line]:
    """What ten times the mail costs."""
    small, large = (_job_seconds(setup, messages) for messages in setup.sizes.growth)
    yield at_most(
        "growth",
        f"{setup.sizes.growth[1]:,} mails ({large:,.0f} s) against"
        f" {setup.sizes.growth[0]:,} ({small:,.0f} s)",
        large / small,
        MAX_GROWTH,
    )


def memory(setup: Setup) -> Iterator[Line]:
    """The most memory that a large job takes."""
    from benchmarks.job import Desk

    with TemporaryDirectory() as folder:
        cost = Desk(Path(folder), setup.encoder).sort_sample(setup.sizes.memory)
    yield at_most("memory", f"peak, {cost.messages:,} mails", cost.peak_mb, 2000, "MB")


def _encode(setup: Setup) -> Callable[[Sequence[str]], Floats]:
    from ticket_assets.embedding.configured import accepted, load_encoder
    from ticket_assets.embedding.hardware import candidates
    from ticket_assets.embedding.presets import resolve_model

    model = resolve_model(setup.encoder, encoders_dir=setup.encoders_dir, allow_download=False)
    return load_encoder(model, accepted(model, candidates("auto"))).encode


def drift(setup: Setup) -> Iterator[Line]:
    """Quiet weeks that warn, shifts that are noticed, and precision estimated without labels."""
    from benchmarks.drift import QUICK_TRIES, Tries, drift_lines, sample_mail

    encode = _encode(setup)
    tries = QUICK_TRIES if setup.sizes == QUICK else Tries()
    yield from drift_lines(sample_mail(setup.sizes.drift, encode), encode, tries, "sample")


def thresholds(setup: Setup) -> Iterator[Line]:
    """Whether the thresholds of labels keep their promise: simulated labels, generated tickets."""
    from benchmarks.candidates import french_tickets
    from benchmarks.drift import sample_mail
    from benchmarks.steadiness import RETRAININGS, automatic_shares, steadiness_lines
    from benchmarks.thresholds import realised, realised_lines, simulation_lines
    from benchmarks.unfamiliar import wordings_of

    yield from simulation_lines(*setup.sizes.draws)
    encode = _encode(setup)
    mail = sample_mail(setup.sizes.drift // 2, encode)
    tickets = mail.tickets.assign(priority=None)
    groups = wordings_of(tickets)
    yield from realised_lines("sample", realised(tickets, mail.vectors, groups))
    situations = tickets["situation"].factorize()[0]
    found = realised(tickets, mail.vectors, situations)
    yield from realised_lines("sample, by situation", found)
    count = 2 if setup.sizes == QUICK else RETRAININGS
    shares = automatic_shares(tickets, mail.vectors, groups, retrainings=count)
    yield from steadiness_lines("sample", shares)
    french, sentences = french_tickets()
    vectors = encode(french["text"].tolist())
    yield from realised_lines("generated French", realised(french, vectors, sentences))


def desks(setup: Setup) -> Iterator[Line]:
    """How well desks that no encoder has learnt are sorted from few labels."""
    from benchmarks.desks import desk_lines, desk_tickets, sorted_by
    from ticket_assets.embedding import ticket_encoder

    tables = desk_tickets()
    splits = 1 if setup.sizes == QUICK else 5
    encoders = (ticket_encoder.NAME, "multilingual-e5-small")
    found = (sorted_by(tables, _encode(replace(setup, encoder=name)), splits) for name in encoders)
    yield from desk_lines(*found)


def unfamiliar(setup: Setup) -> Iterator[Line]:
    """What becomes of senseless, foreign and off-topic texts, and of ordinary tickets."""
    from benchmarks.drift import sample_mail
    from benchmarks.unfamiliar import (
        LEAST_SURE_SHARES,
        never_learnt,
        never_learnt_lines,
        unfamiliar_lines,
        verdicts_on,
        wordings_of,
    )

    encode = _encode(setup)
    mail = sample_mail(setup.sizes.drift * 2 // 3, encode)
    groups = wordings_of(mail.tickets)
    yield from unfamiliar_lines(*verdicts_on(mail, groups, encode))
    shares = LEAST_SURE_SHARES[1:2] if setup.sizes == QUICK else LEAST_SURE_SHARES
    yield from never_learnt_lines(never_learnt(mail, groups, shares))


def simulation(setup: Setup) -> Iterator[Line]:
    """Whether what `tickets simulate` forecasts comes, over 18 months of three desks."""
    from benchmarks.drift import sample_mail
    from benchmarks.simulation import DAYS, STREAMS, WINDOWS, forecast_lines, forecasts

    windows, seeds = (3, STREAMS[:1]) if setup.sizes == QUICK else (WINDOWS, STREAMS)
    encode = _encode(setup)
    streams = (sample_mail(STREAM, encode, DAYS, seed) for seed in seeds)
    yield from forecast_lines(*forecasts(streams, windows))


def breaker(setup: Setup) -> Iterator[Line]:
    """Whether the circuit breaker keeps quiet on kept promises, and notices broken ones."""
    from benchmarks.breaker import measure_breaker

    yield from measure_breaker(10 * setup.sizes.draws[0])


def exporter(setup: Setup) -> Iterator[Line]:
    """A backfill beside an exporter that is scraped 20 times a second."""
    from benchmarks.exporter import exporter_cost

    cost = exporter_cost(setup.encoder, setup.sizes.mails, setup.sizes.pairs)
    without, beside = (sum(seconds) / len(seconds) for seconds in (cost.without, cost.beside))
    yield Line(
        "exporter",
        f"backfill beside it, mean of {len(cost.without)} pairs",
        f"{beside:,.1f} s",
        f"{without:,.1f} s",
        without / beside,
        f"≤ {MAX_SLOWER:.2f} of the time",
        beside <= MAX_SLOWER * without,
    )
    scrapes = cost.scrapes
    yield at_most("exporter", "the slowest scrape", max(scrapes.seconds) * 1000, 100, "ms")
    yield at_most("exporter", f"failed scrapes of {len(scrapes.seconds):,}", scrapes.errors, 0)


def scaling(setup: Setup) -> Iterator[Line]:
    """What each step costs as mails and days become more, and what it leaves in the stores."""
    from benchmarks.scaling import (
        ONE_MACHINE,
        SHARED,
        DeskSizes,
        embedded,
        lines,
        processor,
        shared_servers,
    )
    from benchmarks.scaling import scaling as measured
    from ticket_assets.cores import available_cores

    if sys.platform != "linux":
        yield Line("scaling", "costs", "not measured: the memory of a step is told by Linux alone")
        return
    sizes = DeskSizes(*setup.sizes.scaling)
    yield Line("scaling", "measured on", f"{available_cores()} cores of {processor()}")
    yield from lines(ONE_MACHINE, measured(embedded, setup.encoder, sizes))
    with shared_servers() as make:
        if make is None:
            missing = "not measured: it needs Debian's postgresql and the extras dev and shared"
            yield Line("scaling", SHARED, missing)
        else:
            yield from lines(SHARED, measured(make, setup.encoder, sizes))


def _job_seconds(setup: Setup, messages: int) -> float:
    from benchmarks.job import Desk

    with TemporaryDirectory() as folder:
        return Desk(Path(folder), setup.encoder).sort_sample(messages).seconds


PARTS: Mapping[str, Callable[[Setup], Iterator[Line]]] = {
    "mail": mail,
    "encoding": encoding,
    "job": job,
    "growth": growth,
    "memory": memory,
    "drift": drift,
    "desks": desks,
    "thresholds": thresholds,
    "breaker": breaker,
    "simulation": simulation,
    "unfamiliar": unfamiliar,
    "exporter": exporter,
    "scaling": scaling,
}
"""In the order in which they are run."""
