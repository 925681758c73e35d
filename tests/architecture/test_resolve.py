"""The grammar of `model`: three forms of a design, merging, layers, patterns; and what is refused, in which words."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmmodel.architecture.declaration import Declaration
from lmmodel.architecture.resolve import designs, load_declaration, published, resolve
from lmmodel.params.document import parse
from lmmodel.params.refusal import Refusal

SIZE = "model:\n  width: 256\n  depth: 6\n  heads: 4\n  context: 256\n"
FULL = """\
  design:
    norm:         {kind: rms, epsilon: 1e-5}
    position:     {kind: rotary, theta: 500_000}
    attention:    {kind: multi_head, queries_per_kv: 4}
    feed_forward: {kind: gated, activation: silu, expansion: 3.5}
    block:        prenorm
    embedding: {tied: false}
"""


def declared(design: str, size: str = SIZE) -> Declaration:
    return resolve(parse(size + design, name="params.yaml"), vocab_size=4096)


def refused(design: str, size: str = SIZE) -> str:
    with pytest.raises(Refusal) as error:
        declared(design, size)
    return str(error.value)


def test_a_design_in_one_word_is_the_same_in_full():
    assert declared("  design: llama3\n").canonical() == declared(FULL).canonical()


def test_defaults_spelled_out_and_another_order_of_keys_give_the_same_bytes():
    short = declared("  design: {norm: rms, attention: {kind: multi_head, kv_heads: 2}}\n")
    long = declared(
        "  design: {attention: {kv_heads: 2, kind: multi_head}, feed_forward: gated, norm: {kind: rms},"
        " position: {kind: rotary, theta: 10_000}, embedding: {tied: true}, block: {kind: prenorm}}\n"
    )
    assert short.canonical() == long.canonical()


def test_a_ratio_and_the_number_it_comes_to_are_the_same_declaration():
    assert (
        declared("  design: {attention: {kind: multi_head, queries_per_kv: 2}}\n").canonical()
        == declared("  design: {attention: {kind: multi_head, kv_heads: 2}}\n").canonical()
    )


def test_like_keeps_what_it_does_not_name_and_replaces_a_part_that_names_a_kind():
    changed = declared("  design: {like: gpt2, attention: {window: 64}, feed_forward: gated}\n").layers[0]
    assert changed.attention.options.window == 64
    assert changed.attention.options.bias is True  # GPT-2's, kept
    assert changed.feed_forward.kind == "gated"
    replaced = declared("  design: {like: gpt2, attention: {kind: multi_head, window: 64}}\n").layers[0]
    assert replaced.attention.options.bias is False  # the kind was named: its own defaults


@pytest.mark.parametrize("told", ["{attention: {window: 64}}", "{position: {theta: 20_000}}", "{}", ""])
def test_a_layer_under_like_keeps_what_it_does_not_name_too(told):
    local = declared(f"  design: {{like: gemma3, layers: {{local: {told}}}}}\n").layers[0]
    assert local.position.options.theta == (20_000 if "theta" in told else 10_000)
    assert local.attention.options.window == (64 if "window" in told else 4)  # 1/64 of the context


def test_an_option_of_a_layer_under_like_is_one_of_the_kind_that_the_layer_names():
    changed = declared("  design: {like: deepseek_v3, layers: {dense: {attention: {kv_rank_ratio: 2}}}}\n").layers
    assert [layer.feed_forward.kind for layer in changed[2:4]] == ["gated", "experts"]
    assert [layer.attention.options.kv_rank for layer in changed[2:4]] == [128, 256]
    changed = declared("  design: {like: deepseek_v3, layers: {dense: {feed_forward: {hidden: 100}}}}\n").layers
    assert [layer.feed_forward.options.hidden for layer in changed[2:4]] == [100, 72]
    replaced = declared("  design: {like: gemma3, layers: {local: {attention: {kind: multi_head}}}}\n").layers[0]
    assert replaced.attention.options.window is None
    assert replaced.position.options.theta == 10_000


def test_what_is_wrong_in_a_layer_under_like_is_refused_where_it_was_written():
    message = refused("  design:\n    like: gemma3\n    layers:\n      local: {attention: {windw: 3}}\n")
    assert message.startswith("params.yaml:9: model.design.layers.local.attention.windw is not an option of multi_head")
    message = refused("  design:\n    like: gemma3\n    layers:\n      local: {attention: 3}\n")
    assert message.startswith("params.yaml:9: model.design.layers.local.attention should be one of ")


def test_layers_follow_the_pattern_to_the_depth():
    local = "{local: {attention: {window: 64}}, global: {}}"
    told = declared(f"  design: {{layers: {local}, pattern: [local, local, global]}}\n")
    assert told.names == ("local", "local", "global") * 2
    assert [layer.attention.options.window for layer in told.layers] == [64, 64, None, 64, 64, None]
    assert declared(f"  design: {{layers: {local}, pattern: [{{local: 2}}, global]}}\n").names == told.names


def test_a_pattern_may_begin_and_end_otherwise():
    layers = "{dense: {feed_forward: {kind: gated, expansion: 4}}, sparse: {}, tail: {attention: none}}"
    told = declared(
        f"  design: {{layers: {layers}, pattern: {{first: [{{dense: 2}}], repeat: [sparse], last: [tail]}}}}\n"
    )
    assert told.names == ("dense", "dense", "sparse", "sparse", "sparse", "tail")


def test_layers_with_one_part_only():
    told = declared(
        "  design: {layers: {mix: {feed_forward: none}, think: {attention: none}}, pattern: [mix, think]}\n"
    )
    assert [layer.feed_forward.kind for layer in told.layers][:2] == ["none", "gated"]
    assert [layer.attention.kind for layer in told.layers][:2] == ["multi_head", "none"]


def test_a_cut_round_and_an_unused_layer_are_remarks_outside_the_identity():
    told = declared("  design: {layers: {a: {}, b: {attention: {window: 9}}, c: {}}, pattern: [a, a, a, b]}\n")
    assert told.names == ("a", "a", "a", "b", "a", "a")
    assert len(told.remarks) == 2
    assert b"remarks" not in told.canonical()
    assert b"names" not in told.canonical()
    renamed = declared("  design: {layers: {x: {}, y: {attention: {window: 9}}}, pattern: [x, x, x, y]}\n")
    assert renamed.canonical() == told.canonical()


def test_what_was_written_is_read_back():
    told = declared("  design: llama3\n")
    assert Declaration.parse(told.canonical()).canonical() == told.canonical()
    assert json.loads(told.canonical())["layers"][0]["attention"]["kind"] == "multi_head"


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"width": "wide"}'])
def test_a_damaged_declaration_is_refused_by_name(text):
    with pytest.raises(Refusal, match="models/declaration.json"):
        Declaration.parse(text, name="models/declaration.json")


@pytest.mark.parametrize("name", designs())
def test_every_shipped_design_builds_at_width_64_and_gives_its_published_size(name):
    small = SIZE.replace("256", "64")
    assert declared(f"  design: {name}\n", small).width == 64
    size = published(name)
    vocab_size = size.pop("vocab_size")
    whole = "model:\n" + "".join(f"  {key}: {value}\n" for key, value in size.items())
    assert resolve(parse(whole, name="p"), vocab_size=vocab_size, design=name).context == size["context"]


@pytest.mark.parametrize(
    ("design", "message"),
    [
        ("  design: lama3\n", "params.yaml:6: model.design 'lama3' is not one of bloom, deepseek_v3"),
        ("  design: 3\n", "params.yaml:6: model.design should be parts, or the name of a design: bloom, deepseek_v3"),
        ("  design: /tmp/x.yaml\n", "params.yaml:6: model.design '/tmp/x.yaml' should be a file experiments/....yaml"),
        ("  design: experiments/x.yaml\n", "params.yaml:6: model.design 'experiments/x.yaml' does not exist here."),
        ("  design: {like: 3}\n", "params.yaml:6: model.design.like should be the name of a design"),
        (
            "  design:\n    attention: {kind: multihead}\n",
            "params.yaml:7: model.design.attention.kind 'multihead' is not one of ",
        ),
        ("  design:\n    attention: multihead\n", "params.yaml:7: model.design.attention 'multihead' is not one of "),
        (
            "  design:\n    norm: rms\n    attention: {kind: none,\n      kv_heads: 2}\n",
            "params.yaml:9: model.design.attention.kv_heads is not an option of none",
        ),
        (
            "  design: {like: gpt2,\n    attention: {windw: 3}}\n",
            "params.yaml:7: model.design.attention.windw is not an option of multi_head",
        ),
        (
            "  design: {like: gpt2, attention: {kv_heads: two}}\n",
            "params.yaml:6: model.design.attention.kv_heads 'two' is text, and a whole number is needed",
        ),
        ("  design: {attntion: none}\n", "params.yaml:6: model.design.attntion is not part of a design; there are"),
        (
            "  design:\n    embedding:\n      tied: yes\n",
            "params.yaml:8: model.design.embedding.tied 'yes' is a word in YAML 1.2, not a truth value: write true",
        ),
        ("  design: {embedding: {tide: true}}\n", "params.yaml:6: model.design.embedding.tide is not a key here"),
        ("  design: {embedding: tied}\n", "params.yaml:6: model.design.embedding should hold keys and values"),
        ("  design: {layers: {a: {}}}\n", "params.yaml:6: model.design.layers a need a `pattern`"),
        ("  design: {pattern: [a]}\n", "params.yaml:6: model.design.pattern orders layers, and there are none"),
        (
            "  design:\n    layers: {local: {}, global: {}}\n    pattern:\n    - local\n    - globl\n",
            "params.yaml:10: model.design.pattern.1 'globl' is not one of the layers local, global: did you mean",
        ),
        (
            "  design: {layers: {a: {}}, pattern: [{a: 0}]}\n",
            "params.yaml:6: model.design.pattern.0 should be the name",
        ),
        ("  design: {layers: {a: {}}, pattern: {frist: [a]}}\n", "params.yaml:6: model.design.pattern.frist is not a"),
        (
            "  design: {layers: {a: {}}, pattern: {first: [{a: 9}]}}\n",
            "params.yaml:6: model.design.pattern does not come to a depth of 6",
        ),
        (
            "  design: {layers: {a: {attntion: none}}, pattern: [a]}\n",
            "params.yaml:6: model.design.layers.a.attntion is not a part of a layer; there are norm, position",
        ),
        (
            "  design:\n    layers:\n      a: {attention: {windw: 3}}\n    pattern: [a]\n",
            "params.yaml:8: model.design.layers.a.attention.windw is not an option of multi_head",
        ),
        ("  accept: [nothing]\n", "params.yaml:6: model.accept.0 'nothing' is not one of shape, causality"),
        ("  dept: 3\n", "params.yaml:6: model.dept is not a key here; there are width, depth"),
    ],
)
def test_what_does_not_fit_is_refused_where_it_stands(design, message):
    assert refused(design).startswith(message)


@pytest.mark.parametrize(
    ("size", "message"),
    [
        (SIZE.replace("width: 256", "width: 250"), "params.yaml:2: model.width 250 is not divisible by heads, 4"),
        (SIZE.replace("context: 256", "context: 0"), "params.yaml:5: model.context 0 should be at least 1"),
        (
            SIZE.replace("depth: 6", "depth: six"),
            "params.yaml:3: model.depth 'six' is text, and a whole number is needed",
        ),
        ("model: {kind: gpt}\n", "params.yaml:1: model.kind is not a key here"),
        ("modell: {}\n", "params.yaml: model is missing"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(size, message):
    assert refused("", size).startswith(message)


def test_key_value_heads_must_divide_the_heads():
    message = refused("  design: {attention: {kind: multi_head, kv_heads: 3}}\n")
    assert message.startswith("params.yaml:6: model.design.attention")
    assert "3" in message
    assert "4" in message


def test_a_mistake_inside_a_design_file_names_that_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.yaml").write_text("norm: rms\nattention:\n  kind: multi_hed\n")
    message = refused("  design: experiments/mine.yaml\n")
    assert message.startswith("experiments/mine.yaml:3: attention.kind 'multi_hed' is not one of ")


@pytest.mark.parametrize(
    ("files", "chain"),
    [
        ({"a": "like: experiments/a.yaml\n"}, "experiments/a.yaml is like experiments/a.yaml"),
        (
            {"a": "norm: rms\nlike: experiments/b.yaml\n", "b": "like: experiments//a.yaml\n"},
            "experiments/a.yaml is like experiments/b.yaml is like experiments/a.yaml",
        ),
    ],
)
def test_a_design_that_is_like_itself_is_refused_with_the_way_back(tmp_path, monkeypatch, files, chain):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    for name, text in files.items():
        (tmp_path / "experiments" / f"{name}.yaml").write_text(text)
    message = refused("  design: experiments/a.yaml\n")
    assert message.startswith(f"experiments/{list(files)[-1]}.yaml:1: like ")
    assert message.endswith(chain)


def test_a_parameter_file_is_enough_to_load_a_declaration(tmp_path):
    path = tmp_path / "params.yaml"
    path.write_text(SIZE + "tokenizer: {vocab_size: 300, algorithm: bpe}\n")
    assert load_declaration(path).vocab_size == 300
    assert load_declaration(path, design="gpt2").norm.kind == "layer"


@given(st.lists(st.sampled_from(["a", "b", "c"]), min_size=1, max_size=5), st.integers(1, 40))
def test_a_pattern_repeats_to_any_depth(pattern, depth):
    size = SIZE.replace("depth: 6", f"depth: {depth}")
    told = declared(f"  design: {{layers: {{a: {{}}, b: {{}}, c: {{}}}}, pattern: [{', '.join(pattern)}]}}\n", size)
    assert told.names == tuple(pattern[index % len(pattern)] for index in range(depth))
    assert len(told.layers) == depth


def test_changing_to_a_number_leaves_the_ratio_that_was_there():
    told = declared("  design: {like: llama3, attention: {kv_heads: 2}, feed_forward: {hidden: 512}}\n").layers[0]
    assert told.attention.options.kv_heads == 2
    assert told.feed_forward.options.hidden == 512
    assert "not both" in refused("  design: {attention: {kind: multi_head, kv_heads: 2, queries_per_kv: 2}}\n")


INHERITED = """
from lmmodel.architecture.attention.multi_head import Attention as MultiHead
from lmmodel.params.settings import Settings

class Options(Settings):
    pass

class Attention(MultiHead):
    pass
"""
SAYS_NOTHING = """
from torch import nn
from lmmodel.params.settings import Settings

class Options(Settings):
    pass

"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Writes experiments/mine.py in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "experiments").mkdir()
    return (tmp_path / "experiments" / "mine.py").write_text


@pytest.mark.parametrize(
    ("mixer", "position"), [("multi_head", "alibi"), ("gated_delta", "rotary"), ("linear", "rotary")]
)
def test_what_a_mixer_inherits_counts_as_declared(own, mixer, position):
    own(INHERITED.replace("multi_head", mixer))
    told = declared(f"  design: {{attention: experiments/mine.py, position: {position}}}\n")
    assert told.layers[0].attention.kind == "experiments/mine.py"


def test_a_mixer_that_says_it_all_itself_is_not_even_imported(own):
    own(f"import nowhere\n{SAYS_NOTHING}class Attention(nn.Module):\n    honours = frozenset({{'queries and keys'}})\n")
    assert declared("  design: {attention: experiments/mine.py}\n").depth == 6


def test_a_mixer_that_has_to_be_imported_and_cannot_be_is_refused(own):
    own(f"import nowhere\n{INHERITED}")
    assert "experiments/mine.py: cannot be imported: ModuleNotFoundError" in refused(
        "  design: {attention: experiments/mine.py}\n"
    )


@pytest.mark.parametrize(
    ("family", "member", "message"),
    [
        ("attention", "Attention", "model.design.attention 'experiments/mine.py' should say what it honours, such as"),
        ("position", "Position", "model.design.position 'experiments/mine.py' should say acts_on, one of 'nothing', "),
    ],
)
def test_a_kind_of_ones_own_that_does_not_say_what_goes_with_it_is_refused(own, family, member, message):
    own(f"{SAYS_NOTHING}class {member}(nn.Module):\n    pass\n")
    assert message in refused(f"  design: {{{family}: experiments/mine.py}}\n")


def test_a_mixer_that_orders_itself_need_not_say_what_it_honours(own):
    own(f"{SAYS_NOTHING}class Attention(nn.Module):\n    orders_itself = True\n")
    assert declared("  design: {attention: experiments/mine.py}\n").depth == 6


def test_the_part_of_a_head_that_latent_turns_is_held_against_the_position():
    latent = "{kind: latent, rotary_width: 6}"
    message = refused(f"  design: {{attention: {latent}, position: {{kind: rotary, fraction: 0.5}}}}\n")
    assert "model.design.position 'rotary' with attention 'latent' turns pairs of numbers" in message
    assert "fraction 0.5 of head width 6 is 3" in message


@pytest.mark.parametrize("own", ["learned", "sinusoidal"])
def test_a_layer_has_no_position_of_its_own_on_the_embedding_that_all_share(own):
    message = refused(f"  design:\n    layers:\n      a: {{position: {own}}}\n      b: {{}}\n    pattern: [a, b]\n")
    assert message.startswith(f"params.yaml:8: model.design.layers.a.position '{own}' acts on the embedding, which all")
    beside = "position: {kind: sinusoidal, theta: 100}, layers: {a: {position: {theta: 10}}}, pattern: [a]"
    assert "say it beside `layers`" in refused(f"  design: {{{beside}}}\n")


def test_a_layer_may_repeat_the_position_on_the_embedding_or_turn_as_well():
    told = declared("  design: {position: learned, layers: {a: {position: learned}, b: {}}, pattern: [a, b]}\n")
    assert {layer.position.kind for layer in told.layers} == {"learned"}
    told = declared("  design: {position: learned, layers: {a: {position: rotary}, b: {}}, pattern: [a, b]}\n")
    assert [layer.position.kind for layer in told.layers[:2]] == ["rotary", "learned"]


def test_a_position_is_held_against_what_is_turned_and_nothing_else():
    odd = SIZE.replace("width: 256", "width: 100")  # heads of 25 numbers, which are no pairs
    assert "head width 25 is 25" in refused("  design: {}\n", odd)
    assert declared("  design: {attention: {kind: latent, rotary_width: 8}}\n", odd).layers[0].position.kind == "rotary"
    told = declared("  design: {attention: gated_delta}\n", odd)
    assert Declaration.parse(told.canonical()).canonical() == told.canonical()
    hybrid = "attention: gated_delta, layers: {a: {}, b: {attention: multi_head}}, pattern: [a, b]"
    message = refused(f"  design: {{{hybrid}}}\n", odd)
    assert "model.design.position 'rotary' turns pairs of numbers" in message


def test_a_position_is_complete_at_the_width_that_is_turned():
    scaled = "position: {kind: rotary, scaling: yarn, original_context: 64}"
    for mixer in ("multi_head", "latent", "gated_delta"):
        assert declared(f"  design: {{attention: {mixer}, {scaled}}}\n").layers[0].position.options.factor == 4


def test_the_halves_of_a_head_that_differential_turns_are_held_against_the_position():
    message = refused("  head_width: 2\n  design: {attention: differential, position: {kind: rotary}}\n")
    assert "model.design.position 'rotary' with attention 'differential' turns pairs of numbers" in message


@pytest.mark.parametrize("kind", ["multi_head", "differential"])
def test_a_window_of_one_token_is_refused(kind):
    assert "has a window of 1" in refused(f"  design: {{attention: {{kind: {kind}, window: 1}}}}\n")
    told = declared(f"  design: {{attention: {{kind: {kind}, window_fraction: 0.001}}}}\n")
    assert told.layers[0].attention.options.window == 2


def test_a_window_of_one_token_has_a_choice_where_there_is_a_sink():
    told = declared("  design: {attention: {kind: multi_head, window: 1, sinks: true}}\n")
    assert told.layers[0].attention.options.window == 1
