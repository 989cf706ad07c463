"""The map of the house in `sts_async/README.md`: it shows each room and each public module, and names no other file."""

import re
from pathlib import Path

import attrs
from documents import DOCUMENTS, README, blocks, section
from test_layering import LAYERS

import sts_async
from sts_async import credentials, events

PACKAGE = Path(sts_async.__file__).parent
TEXT = DOCUMENTS["sts_async/README.md"]


def rooms() -> set[str]:
    """Return the folders and modules at the top of the package, as the map writes them."""
    return {
        path.name + "/" * path.is_dir()
        for path in PACKAGE.iterdir()
        if (path.suffix == ".py" or (path / "__init__.py").exists()) and not path.name.startswith(("__", "_version"))
    }


def drawn() -> set[str]:
    """Return the entries of the map."""
    (picture,) = re.findall(r"^```\n(sts_async/\n.*?)\n```$", TEXT, re.MULTILINE | re.DOTALL)
    return set(re.findall(r"^  (\S+)", picture, re.MULTILINE))


def test_the_map_shows_every_room() -> None:
    """A reader finds a subject from the list of files alone."""
    assert drawn() == rooms()


def named(text: str) -> set[str]:
    """Return the words that a text shows as code."""
    return set(re.findall(r"`(\w+)`", text))


def layers_told() -> dict[str, range]:
    """Return the layers of rooms and modules, as the table says them."""
    told = {}
    rows = re.findall(
        r"^\| (\d+)(?: (?:to|and) (\d+))? \| (.+?) \| ", section(TEXT, "Who may import whom"), re.MULTILINE
    )
    for first, last, cell in rows:
        for part in cell.split("; "):
            room, _, names = part.rpartition(": ")
            prefix = "".join(f"{name}." for name in re.findall(r"\w+", " ".join(re.findall(r"`([\w/]+)`", room))))
            for name in re.findall(r"`(\w+)`", names):
                told[f"{prefix}{name}".replace("__init__", "")] = range(int(first), int(last or first) + 1)
    return told


def test_the_layers_are_those_that_are_held() -> None:
    """The first question of a writer is from where a room may be imported. A part without a line is in its room's."""
    told = layers_told()
    wrong = {
        name: layer
        for name, layer in LAYERS.items()
        if layer not in told.get(name, told.get(name.partition(".")[0], range(0)))
    }

    assert wrong == {}
    assert {*told} - {*LAYERS} == set()


def test_every_provider_and_every_event_is_named() -> None:
    """A reader of the documents finds each of them."""
    providers = {name for name in credentials.__all__ if name.endswith(("Provider", "Chain"))}
    told = {name for name, value in vars(events).items() if attrs.has(value)}

    assert providers - named(DOCUMENTS["sts_async/credentials/README.md"]) == set()
    assert len(told) > 4
    assert told - named(section(README, "Observing, and request handlers")) == set()


def test_the_files_that_are_named_exist() -> None:
    """Those of the package are named from its folder."""
    files = re.findall(r"`([\w/]+(?:\.py|/))`", TEXT)

    assert len(files) > 10
    assert [name for name in files if not (PACKAGE / name).exists() and not (PACKAGE.parent / name).exists()] == []


def test_the_rooms_of_the_tests_are_those_of_the_package() -> None:
    """A reader who knows a room finds its tests by the name."""
    tests = Path(__file__).parent
    mirrored = {path.name for path in tests.iterdir() if (tests / path.name).is_dir()}

    assert {room.strip("_/") for room in rooms() if room.endswith("/")} - mirrored == set()
    assert blocks(TEXT, "python") != []
