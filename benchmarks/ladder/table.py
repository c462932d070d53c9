"""The ladder as tables for the terminal."""

from rich.table import Table

from benchmarks.ladder.quality import Figures
from benchmarks.ladder.record import Record, Result

NONE = "-"


def speed_table(record: Record) -> Table:
    """A row for each rung; those that were not run say so."""
    table = Table(title="Speed")
    table.add_column("rung", no_wrap=True)
    for heading in ("denoiser ms", "median", "p99", "GFLOP/s", "of matrix product", "s/image", "images/h", "peak MB"):
        table.add_column(heading, justify="right")
    for result in record.results:
        table.add_row(result.rung.name, *_speed(result, record))
    return table


def _speed(result: Result, record: Record) -> list[str]:
    timing = result.timing
    if timing is None:
        return ["not run"]
    rate, limit = record.denoiser_rate(timing), record.matrix_product_rates[result.rung.engine.precision]
    return [
        f"{timing.denoiser_ms_mean:.1f} ± {timing.denoiser_ms_std:.1f}",
        f"{timing.denoiser_ms_median:.1f}",
        f"{timing.denoiser_ms_p99:.1f}",
        f"{rate:.0f}",
        # Compiled code can outrun PyTorch's own product where the processor lacks the precision.
        f"{rate / limit:.0%}" if rate <= limit else NONE,
        f"{timing.seconds_per_image:.3f}",
        f"{timing.images_per_hour:.0f}",
        f"{timing.peak_memory_mb:.0f}",
    ]


def quality_table(results: list[Result]) -> Table:
    """A row for each rung whose images were judged."""
    table = Table(title="Quality")
    table.add_column("rung", no_wrap=True)
    for heading in ("ODE distance", "95 %", "prompts followed", "95 %", "p against DDPM-1000", "PSNR to FP32"):
        table.add_column(heading, justify="right")
    table.add_column("images by")
    for result in results:
        if result.quality:
            table.add_row(result.rung.name, *_quality(result.quality))
    return table


def _quality(figures: Figures) -> list[str]:
    distance, adherence = figures.rms_interval, figures.adherence_interval
    return [
        NONE if figures.rms is None else f"{figures.rms:.4f}",
        NONE if distance is None else f"{distance[0]:.4f} to {distance[1]:.4f}",
        NONE if figures.adherence is None else f"{figures.adherence:.1%}",
        NONE if adherence is None else f"{adherence[0]:.1%} to {adherence[1]:.1%}",
        NONE if figures.mcnemar is None else f"{figures.mcnemar:.2f}",
        NONE if figures.psnr is None else f"{figures.psnr:.1f} dB",
        figures.engine,
    ]


def skipped_table(results: list[Result]) -> Table:
    """Why rungs were not run."""
    table = Table("not run", "why")
    for result in results:
        if result.skipped:
            table.add_row(result.rung.name, result.skipped)
    return table
