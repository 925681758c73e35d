"""A file is read with the line of everything in it, and a file that cannot be used says why."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ruamel.yaml import YAML

from lmmodel.params.document import parse, read
from lmmodel.params.refusal import Refusal

TEXT = """\
# a comment
model:
  width: 256   # a comment
  layers: {local: {attention: {window: 64}}}
  pattern:
    - local
    - {global: 2}
rate: 3e-4
"""


def test_every_key_and_entry_knows_its_line():
    document = parse(TEXT, name="params.yaml")
    assert document.line(("model", "width")) == 3
    assert document.line(("model", "layers", "local", "attention", "window")) == 4
    assert document.line(("model", "pattern", 1)) == 7
    assert document.line(("model", "pattern", 1, "global")) == 7
    assert document.line(("model", "depth")) == 2  # not written out: the nearest parent


def test_data_is_plain_and_numbers_are_yaml_1_2():
    data = parse("a: 3e-4\nb: 10_000\nc: yes\nd: true\ne: '4'\nf: [1, x]\n", name="p").data
    assert data == {"a": 3e-4, "b": 10_000, "c": "yes", "d": True, "e": "4", "f": [1, "x"]}
    assert [type(value) for value in data.values()] == [float, int, str, bool, str, list]


def test_a_value_with_an_anchor_is_what_it_is_without_and_so_is_what_refers_to_it():
    data = parse("a: &t true\nb: *t\nc: &n 3\nd: *n\ne: &x 0.5\nf: &w word\n", name="p").data
    assert [(value, type(value)) for value in data.values()] == [
        (True, bool),
        (True, bool),
        (3, int),
        (3, int),
        (0.5, float),
        ("word", str),
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "p.yaml: is empty"),
        ("# only a comment\n", "p.yaml: is empty"),
        ("a: [1, 2\n", "p.yaml:2: is not YAML"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", "p.yaml:4: key 'c' is written twice"),
        ("- a\n- b\n", "p.yaml: should hold keys and values, not a list"),
        ("just words\n", "p.yaml: should hold keys and values, not 'just words'"),
        ("1: a\n", "p.yaml:1: key 1 should be a word"),
        ("a: \x00\n", "p.yaml: is not YAML"),
    ],
)
def test_a_file_that_cannot_be_used_says_why(text, message):
    with pytest.raises(Refusal) as refused:
        parse(text, name="p.yaml")
    assert str(refused.value).startswith(message)


def test_missing_folder_and_binary_files_are_named(tmp_path):
    (tmp_path / "binary.yaml").write_bytes(b"a: \xff\xfe")
    for path, message in [
        (tmp_path / "nowhere.yaml", "there is no such file"),
        (tmp_path, "is a folder"),
        (tmp_path / "binary.yaml", "is not text in UTF-8"),
    ]:
        with pytest.raises(Refusal, match=message):
            read(path)


values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | st.text("abc é", max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text("abcd", min_size=1, max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.dictionaries(st.text("abcd", min_size=1, max_size=3), values, min_size=1, max_size=4))
def test_reading_gives_back_what_was_written(data):
    import io

    stream = io.StringIO()
    YAML().dump(data, stream)
    document = parse(stream.getvalue(), name="p")
    assert document.data == data
    lines = stream.getvalue().splitlines()
    for keys, line in document.lines.items():
        if isinstance(keys[-1], str):
            assert keys[-1] in lines[line - 1]
