"""The record of the GPU proof."""

import json

from benchmarks.gpu.record import Record


def test_every_figure_is_on_disk_at_once(tmp_path):
    record = Record(tmp_path / "gpu.json", "headline", {"machine": "one"})
    record.put("call_ms", 8.6)
    assert json.loads((tmp_path / "gpu.json").read_text()) == {"headline": {"machine": "one", "call_ms": 8.6}}


def test_a_part_measured_later_leaves_the_others_and_replaces_its_own(tmp_path):
    path = tmp_path / "gpu.json"
    Record(path, "headline", {}).put("call_ms", 8.6)
    Record(path, "rungs", {}).put("call_ms", 9.0)
    Record(path, "rungs", {}).put("peak_mib", 7)
    assert json.loads(path.read_text()) == {"headline": {"call_ms": 8.6}, "rungs": {"peak_mib": 7}}
