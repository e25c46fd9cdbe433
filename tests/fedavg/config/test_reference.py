"""The page of settings agrees with the structs."""

from __future__ import annotations

import msgspec

from fedavg.config.reference import reference_text
from fedavg.config.settings import Config
from fedavg.data.tables.files import FileFormat
from tests.arch.tree import ROOT


def test_the_page_is_up_to_date():
    """Otherwise: write reference_text() to docs/settings.md."""
    assert (ROOT / "docs" / "settings.md").read_text(encoding="utf-8") == reference_text()


def test_every_key_of_every_table_is_there_with_its_default():
    sections = reference_text().split("\n## ")
    found = {section.split("`[")[1].split("]`")[0]: section for section in sections[2:]}
    for field in msgspec.structs.fields(Config):
        table = getattr(Config(), field.name)
        if isinstance(table, msgspec.Struct):
            for key in table.__struct_fields__:
                assert f"| `{key}` |" in found[field.name], f"{field.name}.{key}"
        else:
            assert f"| `{field.name}` |" in sections[1]
    for field in msgspec.structs.fields(FileFormat):
        assert f"| `{field.name}` |" in found["data.file"]
        assert f"- `{field.name}`: " in found["data.file"]
    assert "| `quote` | text | `'\"'` |" in found["data.file"]
    assert '| `schedule` | "constant", "step", "cosine" | *open* |' in found["server"]
    assert "| `image_size` | [whole number, whole number] | *open* |" in found["data"]
    assert "| `test_fraction` | number | `0.2` |" in found["data"]
