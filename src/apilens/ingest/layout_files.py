"""Files that hold layouts (nginx.conf, httpd.conf, …), opened together with what they include."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path

from apilens.errors import ConfigError
from apilens.formats.configs import read_layouts
from apilens.formats.format import FoundLayout

#: A gateway's configuration is text written by people; more is another file by mistake.
_MAX_BYTES = 16 << 20
_MAX_FILES = 2_000


def layouts_from(path: str) -> tuple[FoundLayout, ...]:
    """The layouts in the configuration at `path` and in the files it includes.

    An include is looked for from the folder of `path`, then from that of the file it stands in, as the gateways do from
    their own root; one that is not there is passed over, because a configuration is often read on another machine.
    Raises ConfigError naming file and line.
    """
    root = Path(path).parent
    opened = 0

    def include(pattern: str, inside: str) -> Iterator[tuple[str, str]]:
        nonlocal opened
        folders = dict.fromkeys((root, Path(inside).parent))
        # Path.glob takes no absolute patterns, and a configuration is full of them.
        matches = (sorted(glob.glob(str(folder / pattern))) for folder in folders)  # noqa: PTH207
        for match in next((found for found in matches if found), []):
            # httpd includes the files of a folder that is named.
            files = [Path(match)] if Path(match).is_file() else sorted(p for p in Path(match).rglob("*") if p.is_file())
            for file in files:
                opened += 1
                if opened > _MAX_FILES:
                    raise ConfigError(f"{path}: includes more than {_MAX_FILES:,} files")
                yield str(file), _text(file)

    return read_layouts(_text(Path(path)), path, include)


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > _MAX_BYTES:
            raise ConfigError(f"{file}: is larger than {_MAX_BYTES >> 20} MiB; expected a gateway's configuration")
        return file.read_bytes().decode("utf-8", "replace")
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read: {error.strerror or error}") from None
