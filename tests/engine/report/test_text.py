import pytest

from everface.engine.report.text import byte_size, clean, duration, number


@pytest.mark.parametrize(
    ("value", "printed"),
    [
        (0.0123456, "0.012"),
        (0.5, "0.500"),
        (-0.25, "−0.250"),
        (3.14159, "3.14"),
        (27.456, "27.5"),
        (1234.5, "1234"),
        (0, "0"),
        (3e-9, "3.00e-09"),
        (None, "–"),
        (float("nan"), "–"),
    ],
)
def test_numbers(value, printed):
    assert number(value) == printed


def test_sizes_and_times():
    assert [byte_size(v) for v in (None, 812, 1434, 12 * 1024**2)] == ["–", "812 B", "1.4 KiB", "12 MiB"]
    assert [duration(v) for v in (None, 0.7, 3.46, 125)] == ["–", "42 s", "3.5 min", "2 h 05 min"]


def test_odd_file_names_become_text():
    assert clean("a\udcffb\x00c\nd") == "a�b�c\nd"
