"""The shape of the tree: imports lead one way, files fit in the head, folders can be listed from memory."""

import ast
import subprocess
from collections import Counter
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

ROOT = Path(__file__).parents[1]
LOOP = "model_repository/diffusion/1"
PLACES = {
    "model_repository/diffusion/1": (LOOP,),
    "model_repository/text_to_image/1": ("model_repository/text_to_image/1",),
    "client": ("client", ""),
    "docker": ("docker", "", "client"),
    "export": ("", LOOP),
    "shapes": ("", LOOP),
    "benchmarks": ("", "client", LOOP),
}
"""Folders that are on the path of the programs in each part."""
MAX_LINES = 300
MAX_FILES = 16
NOT_IMPORTED = {
    "model_repository": {"export", "client", "docker", "shapes", "benchmarks", "tests"},
    "client": {"export", "model_repository", "docker", "shapes", "benchmarks", "tests"},
    "docker": {"export", "model_repository", "client", "shapes", "benchmarks", "tests"},
    "export": {"client", "docker", "shapes", "benchmarks", "tests"},
    "shapes": {"client", "docker", "benchmarks", "tests"},
    "benchmarks": {"tests"},
}
"""Parts of the project that a part must not know."""
EXCEPTIONS = {("benchmarks", "tests/support"), ("docker/demo.py", "client/triton_diffusion")}
"""Measurements start servers and clients as the tests do; the demonstration is a user of the client."""


def tracked() -> list[Path]:
    said = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True)
    return [Path(line) for line in said.stdout.splitlines() if (ROOT / line).is_file()]


def sources() -> list[Path]:
    return [path for path in tracked() if path.suffix == ".py" and path.parts[0] != "tests"]


def imported(path: Path) -> set[Path]:
    """The project's own files that `path` imports, at its head or later."""
    found: set[Path] = set()
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            found |= {file for alias in node.names if (file := locate(path, alias.name))}
        elif isinstance(node, ast.ImportFrom):
            package = path.parents[node.level - 1] if node.level else None
            for alias in node.names:
                module = locate(path, f"{node.module}.{alias.name}" if node.module else alias.name, package)
                module = module or (locate(path, node.module, package) if node.module else None)
                if module:
                    found.add(module)
    return found - {path}


def locate(importer: Path, module: str, package: Path | None = None) -> Path | None:
    """The file of `module`, relative to `package` or on the path of `importer`; None where it is not the project's."""
    on_path = next(places for part, places in PLACES.items() if importer.is_relative_to(part))
    places = [package] if package is not None else [Path(place) for place in on_path]
    for place in places:
        path = place.joinpath(*module.split("."))
        for file in (path.with_suffix(".py"), path / "__init__.py"):
            if (ROOT / file).is_file():
                return file
    return None


def test_no_files_import_each_other_in_a_circle():
    graph = {path: imported(path) for path in sources()}
    assert sum(map(len, graph.values())) > 300, "the imports were not found"
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError("circle: " + " -> ".join(map(str, error.args[1]))) from None


def test_no_folders_import_each_other_in_a_circle():
    graph: dict[Path, set[Path]] = {}
    for path in sources():
        graph.setdefault(path.parent, set()).update(
            other.parent
            for other in imported(path)
            # a folder's face hands on what lies below it, and a file may use what lies beside its folder
            if path.name != "__init__.py" and other.parent not in (path.parent, *path.parents)
        )
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError("circle: " + " -> ".join(map(str, error.args[1]))) from None


def test_each_part_knows_only_the_parts_below_it():
    wrong = [
        f"{path} imports {other}"
        for path in sources()
        for other in imported(path)
        if other.parts[0] in NOT_IMPORTED.get(path.parts[0], ())
        and not {(part, "/".join(other.parts[:2])) for part in (path.parts[0], str(path))} & EXCEPTIONS
    ]
    assert not wrong


def test_every_file_fits_in_the_head():
    lines = {path: (ROOT / path).read_text().count("\n") for path in tracked() if path.suffix == ".py"}
    assert {str(path): count for path, count in lines.items() if count > MAX_LINES} == {}


def test_every_folder_can_be_listed_from_memory():
    files = Counter(path.parent for path in tracked() if path.parts[0] != "tests")
    assert {str(folder): count for folder, count in files.items() if count > MAX_FILES} == {}
