"""The README against the code: its table of inputs against the server's declaration, and its folders."""

import re
from pathlib import Path

import pytest
from request import FIELDS

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()
FIELD = {field.name: field for field in FIELDS}


def rows() -> dict[str, tuple[str, str]]:
    """Default and allowed values of each input, as the table has them, without backquotes."""
    table = README.partition("| input | default | allowed |\n|---|---|---|\n")[2].partition("\n\n")[0]
    found = {}
    for line in table.splitlines():
        names, default, allowed = (cell.strip() for cell in line.strip("|").split("|"))
        for name in re.findall(r"`(\w+)`", names):
            found[name] = default.replace("`", ""), allowed.replace("`", "")
    return found


def test_the_table_has_the_servers_inputs_in_its_order():
    assert [*rows()] == [*FIELD]


@pytest.mark.parametrize("name", FIELD)
def test_the_table_has_each_inputs_default(name):
    default, _ = rows()[name]
    given = FIELD[name].default
    if given is None:
        assert default == FIELD[name].default_is
    else:
        assert default == ('""' if given == "" else f"{given:g}" if isinstance(given, float) else str(given))


@pytest.mark.parametrize("name", [name for name in FIELD if name not in ("sampler", "timestep_spacing", "seed")])
def test_the_table_has_each_inputs_limits(name):
    assert rows()[name][1].startswith(FIELD[name].allowed)


def test_the_table_says_what_only_the_stream_takes():
    marked = {name for name, (_, allowed) in rows().items() if "diffusion only" in allowed}
    assert marked == {name for name, field in FIELD.items() if field.stream_only}


def test_every_folder_that_the_readme_names_is_there():
    listed = README.partition("## Where things are\n\n")[2].partition("\n\n")[0]
    for folder in re.findall(r"^    (\w+)/ ", listed, re.MULTILINE):
        assert (ROOT / folder).is_dir()
