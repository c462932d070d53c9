"""The sentences are computed from the figures."""

from dataclasses import replace

from triton_diffusion.bench.findings import findings
from triton_diffusion.bench.results import BASELINE


def test_all_figures_of_a_whole_load_test(results):
    concurrency, in_process, batching, cost = findings(results)
    assert "4.00 images/s at 1 at once, p50 latency 250 ms; 6.00 images/s at 8 at once" in concurrency
    assert "The most, 6.00, is 1.50 times the first" in concurrency
    assert in_process.endswith("0.80 (uniform, 1 at once), 1.00 (uniform, 8 at once).")
    assert "4.50 images/s against 3.00 with one active request, 1.50 times as many" in batching
    assert "p50 latency 1500 ms against 3000 ms, 2.00 times shorter" in batching
    assert "sharing steps gives 1.50 times that" in batching
    assert "a denoiser call took 4.0 ms + 8.0 ms a sample" in cost
    assert "no batch can make the denoiser more than 1.50 times faster" in cost


def test_without_a_baseline_nothing_is_said_of_it(results):
    results.levels = [level for level in results.levels if level.server != BASELINE]
    assert not any("one active request" in text for text in findings(results))


def test_no_fixed_cost_is_not_made_up(results):
    for k, level in enumerate(results.levels):
        denoiser = replace(level.models["denoiser"], queue=0.0, compute=20.0 * level.samples_per_step - 2)
        results.levels[k] = replace(level, models={**level.models, "denoiser": denoiser})
    assert "There is no fixed cost to share" in findings(results)[-1]


def test_one_concurrency_alone_gives_no_comparison(results):
    results.levels, results.in_process = results.levels[:1], []
    assert findings(results) == []
