"""The needs of other families than plain ViTs: where prompts stand, what a pool reads, how long a text is, which pictures; and refusals."""

import sys
import types

import open_clip
import pytest
import torch
import torch.nn.functional as F

from pipeline import methods
from pipeline.adapters import checkpoint
from pipeline.clip import OPENAI, architecture, blocks, loading, tokens
from pipeline.clip.attention import attend
from pipeline.clip.preprocessing import Preprocessing
from pipeline.clip.tower import Flow
from pipeline.config.dataset import Frames
from pipeline.config.parse import stated
from pipeline.config.schema import Backbone, Train
from pipeline.config.settings import Sampling, text
from pipeline.inputs.stores import refuse_pictures
from pipeline.methods.parts.anchor import Anchor
from pipeline.training.loss import pairwise
from tests.conftest import make_batch, small_clip
from tests.methods.cases import CLS_ALONE, SHAPE

OTHER = ("siglip", "pe")
SQUASHED = Preprocessing((0.5,) * 3, (0.5,) * 3, "squash", "bilinear")


def prompted(family, **config):
    """VoP on a small CLIP, with prompts that matter."""
    clip = small_clip(family=family)
    torch.manual_seed(3)
    methods.attach(clip, methods.load("vop", config=config), shape=SHAPE)
    with torch.no_grad():
        for parameter in clip.trained().values():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return clip


def attention(block, x, rotary, places):
    """The attention of a block head by head; the tokens at `places` have the rows of `rotary`, all others have no place."""
    attn, width = block.attn, x.shape[-1] // block.attn.num_heads
    parts = F.linear(x, attn.in_proj_weight, attn.in_proj_bias).chunk(3, dim=-1)
    mixed = []
    for q, k, v in zip(*(part.split(width, dim=-1) for part in parts), strict=True):
        if rotary is not None:
            q, k = q.clone(), k.clone()
            for part in (q, k):
                for row, place in enumerate(places):
                    sin, cos = rotary[row].chunk(2)
                    even, odd = part[:, place, ::2].clone(), part[:, place, 1::2].clone()
                    part[:, place, ::2] = even * cos[::2] - odd * sin[::2]
                    part[:, place, 1::2] = odd * cos[1::2] + even * sin[1::2]
        mixed.append(torch.softmax(q @ k.mT / width**0.5, dim=-1) @ v)
    return attn.out_proj(torch.cat(mixed, dim=-1))


@pytest.mark.parametrize("family", OTHER)
@pytest.mark.parametrize("depth", [3, 2])
@torch.no_grad()
def test_prompts_stand_before_the_patches_have_no_place_in_the_grid_and_are_not_read(family, depth):
    clip, (frames, mask, _) = prompted(family, depth=depth), make_batch()
    visual, cls = clip.model.visual, clip.vision.cls
    pixels = ((frames.float() / 255 - clip.mean) / clip.std).flatten(0, 1)
    x = visual.conv1(pixels).flatten(2).mT
    x = torch.cat([visual.class_embedding.expand(len(x), 1, -1), x], 1) if cls else x
    x = visual.ln_pre(torch.cat([(x + visual.positional_embedding)[:, :cls], clip.adapter.visual_prompts[0].expand(len(x), -1, -1),
                                 (x + visual.positional_embedding)[:, cls:]], 1))  # fmt: skip
    for layer, block in enumerate(clip.vision.blocks):
        if 0 < layer < depth:
            prompts = clip.adapter.visual_prompts[layer].expand(len(x), -1, -1)
            x = torch.cat([x[:, :cls], prompts, x[:, cls + 8 :]], 1)
        x = x + attention(block, block.ln_1(x), visual.rotary, range(x.shape[1] - 4, x.shape[1]))
        x = x + block.mlp(block.ln_2(x))
    own = visual.ln_post(torch.cat([x[:, :cls], x[:, cls + 8 :]], 1))
    pool, width = visual.attn_pool, x.shape[-1]
    k, v = F.linear(own, pool.attn.in_proj_weight[width:], pool.attn.in_proj_bias[width:]).chunk(2, -1)
    q = F.linear(pool.query, pool.attn.in_proj_weight[:width], pool.attn.in_proj_bias[:width])
    heads = zip(*(part.split(width // 2, dim=-1) for part in (q.expand(len(x), 1, -1), k, v)), strict=True)
    seen = torch.cat([torch.softmax(q @ k.mT / (width // 2) ** 0.5, dim=-1) @ v for q, k, v in heads], dim=-1)
    seen = pool.attn.out_proj(seen)[:, 0]
    seen = seen + pool.mlp(pool.ln_2(seen))
    wanted = seen if visual.proj is None else visual.proj(seen)
    torch.testing.assert_close(clip.encode_frames(frames, mask=mask).flatten(0, 1), wanted, atol=2e-5, rtol=1e-4)


TWO = Flow(num_frames=2, read=torch.zeros(1), patches=4)


@pytest.mark.parametrize(("family", "auto"), [("plain", "cls"), ("siglip", "patches"), ("pe", "patches")])
@torch.no_grad()
def test_what_stands_for_a_frame_is_where_it_is_read_or_the_mean_of_its_patches(family, auto):
    clip = small_clip(family=family)
    cls, before = torch.rand(2, clip.vision.cls, 32), len(dict(clip.named_parameters()))
    prompts, patches = torch.rand(2, 3, 32), torch.rand(2, 4, 32)
    tokens = torch.cat([cls, prompts, patches], dim=1)
    found = {kind: Anchor(clip, kind, method="m") for kind in ("auto", "patches")}
    torch.testing.assert_close(found["patches"](tokens, TWO), patches.mean(1))
    assert torch.equal(found["auto"](tokens, TWO), Anchor(clip, auto, method="m")(tokens, TWO))
    if clip.vision.cls:
        assert torch.equal(Anchor(clip, "cls", method="m")(tokens, TWO), cls[:, 0])
    if clip.vision.pooled:
        visual, pool = clip.model.visual, Anchor(clip, "pool", method="m")
        assert torch.equal(pool(tokens, TWO), visual.attn_pool(visual.ln_post(torch.cat([cls, patches], dim=1))))
        assert not list(pool.parameters()) and len(dict(clip.named_parameters())) == before


@pytest.mark.parametrize(
    ("family", "run", "anchor", "message"),
    [
        ("siglip", "vop_fc", "cls", "vop: anchor is cls, but small-siglip has no CLS token; leave it out, which takes the mean"),
        ("siglip", "mv_adapter", "cls", "mv_adapter: anchor is cls, but small-siglip has no CLS token"),
        ("plain", "vop_c", "pool", "vop: anchor is pool, but small is read at its CLS token and has no pool; leave it out"),
    ],
)
def test_an_anchor_that_is_not_there_is_refused_in_one_sentence(family, run, anchor, message):
    with pytest.raises(ValueError, match=message):
        methods.attach(small_clip(family=family), methods.load(run, config={"anchor": anchor}), shape=SHAPE)


def test_projections_that_are_not_there_cannot_be_trained():
    clip = small_clip(family="siglip")
    clip.model.text_projection = None
    with pytest.raises(ValueError, match="which is 'proj', but small-siglip has no such tensor; train others of it"):
        methods.attach(clip, methods.load("proj", config={}), shape=SHAPE)


RUNNING = [name for name in methods.names() if name not in CLS_ALONE]


@pytest.mark.parametrize(("family", "runs"), [("pe", RUNNING), ("siglip", ["vop", "vop_p", "vop_c", "vop_fc", "mv_adapter"])])
def test_on_another_family_as_much_is_attached_to_frames_as_the_papers_count(family, runs):
    def attached(run, family):
        clip = methods.attach(small_clip(family=family), methods.load(run, config={}), shape=SHAPE)
        return {name: p.shape for name, p in clip.adapter.named_parameters() if runs == RUNNING or not name.startswith("text")}

    for run in runs:
        assert attached(run, family) == attached(run, "plain"), run


@torch.no_grad()
def test_where_a_pool_reads_mv_adapter_adds_what_comes_of_the_mean_of_patches_to_all_tokens():
    clip = small_clip(family="pe")
    methods.attach(clip, methods.load("mv_adapter", config={"cmt_position": "none"}), shape=SHAPE)
    adapter, u, mask = clip.adapter["vision"]["0"], torch.rand(2, 3, 5, 32), torch.ones(2, 3, dtype=torch.bool)
    torch.nn.init.normal_(adapter.bottleneck.up.weight)
    down = adapter.bottleneck.down(u)
    h = down * torch.sigmoid(1.702 * down)
    change, _ = adapter.temporal(h[:, :, 1:].mean(2), h[:, :, 1:], mask=mask)
    torch.testing.assert_close(adapter(u, mask=mask, patches=4), adapter.bottleneck.up(h + change[:, :, None]))


@pytest.mark.parametrize("run", ["vop_c", "mv_adapter"])
def test_an_adapter_says_its_anchor_only_where_one_was_chosen(run):
    assert "anchor" not in stated(methods.load(run, config={}))
    assert stated(methods.load(run, config={"anchor": "patches"}))["anchor"] == "patches"
    with pytest.raises(ValueError, match=r"methods.mv_adapter.config: anchor is 'pool'; choose one of auto, cls, patches"):
        methods.load("mv_adapter", config={"anchor": "pool"})


@torch.no_grad()
def test_prompts_of_the_first_layer_have_no_positions_where_captions_fill_the_context():
    clip, captions = prompted("siglip"), make_batch()[2]
    ids, model = clip.tokenize(captions, num_words=SHAPE.num_words), clip.model
    x = model.token_embedding(ids) + model.positional_embedding
    for layer, block in enumerate(clip.text.blocks):
        prompts = clip.adapter.text_prompts[layer].expand(len(x), -1, -1)
        x = torch.cat([x[:, :1], prompts, x[:, 1 if layer == 0 else 9 :]], 1)
        x = block(x)
    wanted = model.text_projection(model.ln_final(x[:, -1]))
    torch.testing.assert_close(clip.encode_text(ids), wanted, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_frames_that_are_joined_in_a_row_keep_the_places_of_their_patches():
    flow = Flow(num_frames=3, read=torch.zeros(2), frame_mask=torch.ones(2, 3, dtype=torch.bool), rotary=torch.rand(4, 8))
    assert flow.turn(6) is flow.rotary
    torch.testing.assert_close(flow.turn(2), torch.cat([flow.rotary] * 3))
    x, turn = torch.rand(1, 2, 5, 4), torch.rand(2, 8)
    found = blocks.turned(x, turn)
    assert torch.equal(found[:, :, :3], x[:, :, :3])
    sin, cos = turn.chunk(2, -1)
    torch.testing.assert_close(found[0, 1, 3, 0], x[0, 1, 3, 0] * cos[0, 0] - x[0, 1, 3, 1] * sin[0, 0])
    torch.testing.assert_close(found[0, 1, 4, 3], x[0, 1, 4, 3] * cos[1, 3] + x[0, 1, 4, 2] * sin[1, 3])


@pytest.mark.parametrize("family", OTHER)
@torch.no_grad()
def test_what_is_stored_at_any_level_starts_a_tower_there(family):
    clip, (frames, mask, captions) = small_clip(family=family), make_batch()
    ids = clip.tokenize(captions, num_words=SHAPE.num_words)
    for level in range(1, 5):
        seen, said = clip.frames_at(level, frames, mask=mask), clip.text_at(level, ids)
        assert seen.ndim == (4 if level < 3 else 3) and said.ndim == (3 if level < 3 else 2)
        assert torch.equal(clip.encode_frames(seen, mask=mask, start=level), clip.encode_frames(frames, mask=mask))
        assert torch.equal(clip.encode_text(ids, said, start=level), clip.encode_text(ids))


@pytest.mark.parametrize("name", ["clip-tiny-siglip", "clip-tiny-pe"])
@torch.no_grad()
def test_a_file_by_the_names_of_open_clip_or_by_ours_loads_to_the_same_bits(name, tmp_path):
    ours = loading.build(name)
    config = open_clip.get_model_config(name)
    config.pop("custom_text")
    theirs = open_clip.CustomTextCLIP(**config)
    for model in (ours, theirs):
        torch.save(model.state_dict(), tmp_path / f"{type(model).__name__}.pt")
    clip = loading.load_backbone(Backbone(name, str(tmp_path / "CustomTextCLIP.pt")))
    assert (clip.vision.cls, clip.vision.pooled, clip.text.whole_rows) == ((0, True, True) if "siglip" in name else (1, True, False))
    again = tmp_path / "again.pt"
    torch.save(clip.model.state_dict(), again)
    assert loading.load_backbone(Backbone(name, str(again))).digest == clip.digest
    assert loading.load_backbone(Backbone(name, str(tmp_path / "CLIP.pt"))).digest != clip.digest
    frames = torch.randint(0, 256, (1, 2, 3, 64, 64), dtype=torch.uint8)
    found = clip.encode_frames(frames, mask=torch.ones(1, 2, dtype=torch.bool))[0]
    pixels = (frames[0].float() / 255 - clip.mean) / clip.std
    torch.testing.assert_close(found, theirs.eval().encode_image(pixels), atol=1e-5, rtol=1e-5)
    with pytest.raises(ValueError, match=r"CustomTextCLIP.pt does not hold the weights of clip-tiny: found .* lacks"):
        loading.load_backbone(Backbone("clip-tiny", str(tmp_path / "CustomTextCLIP.pt")))


def test_a_bias_without_keys_is_that_of_queries_and_values():
    def block(biases):
        inside = blocks.mlp(4, 8, activation=torch.nn.GELU())
        norms = torch.nn.LayerNorm(4), torch.nn.LayerNorm(4)
        return blocks.Block(blocks.Attention(4, heads=2, biases=biases), inside, norms=norms, scales=(False, False))

    own, whole = block(8), block(12)
    torch.nn.init.normal_(own.attn.in_proj_weight)
    own.attn.in_proj_bias.data = torch.arange(8.0)
    entries = torch.tensor([0, 1, 2, 3, 0, 0, 0, 0, 4, 5, 6, 7.0])
    whole.attn.load_state_dict(own.attn.state_dict() | {"in_proj_bias": entries})
    x = torch.rand(2, 5, 4)
    torch.testing.assert_close(attend(own, x, None), attend(whole, x, None))


# What nobody would notice by an error: each of these must move the features that are compared with open_clip's own.
def padded_to_the_longest(clip, batch, monkeypatch):
    monkeypatch.setattr(clip, "refuse_words", lambda _: None)
    return clip.encode_text(clip.tokenize(batch[2], num_words=8))


def prompts_read(clip, batch, monkeypatch):
    monkeypatch.setattr(architecture, "read", lambda visual, x, _: visual.attn_pool(visual.ln_post(x)))
    return clip.encode_frames(batch[0], mask=batch[1])


def rows_shifted(clip, batch, _):
    clip.model.visual.rotary = clip.model.visual.rotary.roll(1, 0)
    return clip.encode_frames(batch[0], mask=batch[1])


def another_mean(clip, batch, _):
    clip.mean += 0.02
    return clip.encode_frames(batch[0], mask=batch[1])


@pytest.mark.parametrize(
    ("family", "wrong"),
    [("siglip", padded_to_the_longest), ("siglip", prompts_read), ("pe", prompts_read), ("pe", rows_shifted), ("pe", another_mean)],
)
@torch.no_grad()
def test_silent_mistakes_move_features(family, wrong, monkeypatch):
    clip, batch = prompted(family, depth=2) if wrong is prompts_read else small_clip(family=family), make_batch()
    ids = clip.tokenize(batch[2], num_words=SHAPE.num_words)
    right = clip.encode_text(ids) if wrong is padded_to_the_longest else clip.encode_frames(batch[0], mask=batch[1])
    found = wrong(clip, batch, monkeypatch)
    assert float((found - right).norm() / right.norm()) > 1e-3


def test_texts_without_an_end_have_one_length():
    clip = small_clip(family="siglip")
    for call in (
        lambda: clip.tokenize(["a star"], num_words=8),
        lambda: methods.attach(clip, methods.load("zero_shot", config={}), shape=methods.Shape(4, 8)),
    ):
        with pytest.raises(ValueError, match=r"dataset.words is 8, but small-siglip reads padding too, .* set it to 12"):
            call()
    with pytest.raises(ValueError, match=r"dataset.words is 13, but small-siglip reads at most 12"):
        clip.tokenize(["a star"], num_words=13)


def test_the_bias_of_a_sigmoid_is_never_trained_by_a_method():
    for run in ("full_finetune", "bias", "mv_adapter", "clip4clip_full"):
        clip = small_clip(family="siglip")
        methods.attach(clip, methods.load(run, config={}), shape=SHAPE)
        assert "clip.logit_bias" not in clip.trained() and len(clip.trained()) > 3


def test_the_sigmoid_of_each_pair_by_hand():
    found = pairwise(torch.tensor([[0.5, -0.5], [0.0, 1.0]]), scale=torch.tensor(2.0), bias=torch.tensor(-1.0))
    logits = [(1, 0.0), (-1, -2.0), (-1, -1.0), (1, 1.0)]
    wanted = sum(-torch.log(torch.sigmoid(torch.tensor(sign * logit))) for sign, logit in logits) / 2
    torch.testing.assert_close(found, wanted)


@pytest.mark.parametrize(
    ("backbone", "wanted"),
    [
        (Backbone("ViT-B-32-quickgelu", "openai"), OPENAI),
        (Backbone("ViT-L-14", "laion2b_s32b_b82k"), Preprocessing((0.5,) * 3, (0.5,) * 3)),
        (Backbone("ViT-H-14-quickgelu", "dfn5b"), Preprocessing(OPENAI.mean, OPENAI.std, "squash")),
        (Backbone("ViT-B-16-SigLIP2", "webli"), Preprocessing((0.5,) * 3, (0.5,) * 3, "squash")),
        (Backbone("ViT-B-16-SigLIP2", "a/file.pt"), Preprocessing((0.5,) * 3, (0.5,) * 3, "squash")),
        (Backbone("PE-Core-B-16", "./file"), SQUASHED),
        (Backbone("ViT-L-14", "file.pt"), OPENAI),  # whose tags differ
        (Backbone("clip-tiny", "file.pt"), OPENAI),
        (Backbone("ViT-L-14", "file.pt", mean=[0.5] * 3, std=[0.5] * 3, resize="squash", interpolation="bilinear"), SQUASHED),
        (Backbone("PE-Core-B-16", "meta", resize="crop"), Preprocessing((0.5,) * 3, (0.5,) * 3, "crop", "bilinear")),
    ],
)
def test_preprocessing_is_that_of_the_tag_or_of_keys_or_of_all_tags_of_an_architecture(backbone, wanted):
    assert loading.preprocessing(backbone) == wanted


def test_two_numbers_are_no_mean():
    with pytest.raises(ValueError, match=r"backbone.mean is \[0.5, 0.5\]; give three numbers"):
        loading.preprocessing(Backbone("clip-tiny", "w.pt", mean=[0.5, 0.5]))


def test_pictures_of_another_kind_are_refused_with_the_key_to_set():
    clip = small_clip(family="pe")
    clip.resize, clip.interpolation = "squash", "bilinear"
    refuse_pictures(Frames(size=32, resize="squash", interpolation="bilinear"), clip)
    with pytest.raises(ValueError, match=r"frames.resize is crop, but small-pe was trained with squash; set frames.resize to that"):
        refuse_pictures(Frames(size=32), clip)
    with pytest.raises(ValueError, match=r"frames.interpolation is bicubic, but small-pe was trained with bilinear"):
        refuse_pictures(Frames(size=32, resize="squash"), clip)


def test_what_is_as_it_was_says_no_word_more_than_before():
    assert str(OPENAI) == "mean (0.48145466, 0.4578275, 0.40821073), deviation (0.26862954, 0.26130258, 0.27577711)"
    assert str(SQUASHED) == "mean (0.5, 0.5, 0.5), deviation (0.5, 0.5, 0.5), squash, bilinear"
    assert text(Frames()) == '{"grid": "centres", "number": 12, "size": 224}'
    assert text(Backbone("x", "y")) == '{"name": "x", "weights": "y"}'
    assert "loss" not in stated(Train()) and stated(Train(loss="sigmoid"))["loss"] == "sigmoid"
    assert stated(Sampling(frames=Frames(resize="squash")))["frames"] == {"number": 12, "size": 224, "grid": "centres", "resize": "squash"}


def test_an_adapter_belongs_to_its_backbone_and_its_pictures_and_one_from_before_to_openais(tmp_path):
    old = {"backbone": "small", "backbone_digest": small_clip().digest}
    assert checkpoint.described(small_clip()) == old
    checkpoint.refuse_other_backbone(old, small_clip(), tmp_path)
    clip = small_clip(family="pe")
    with pytest.raises(ValueError, match=r"was trained on backbone small \(.*\), not on small-pe"):
        checkpoint.refuse_other_backbone(old, clip, tmp_path)
    clip.preprocessing = str(SQUASHED)
    new = checkpoint.described(clip)
    checkpoint.refuse_other_backbone(new, clip, tmp_path)
    with pytest.raises(ValueError, match=r"was trained with mean \(0.5, .* squash, bilinear, and small-pe has mean \(0.48.* here; set"):
        checkpoint.refuse_other_backbone(new, small_clip(family="pe"), tmp_path)


HF = {"hf_tokenizer_name": "some/words", "context_length": 5, "tokenizer_kwargs": {"clean": "canonicalize"}}


def test_without_the_package_or_the_files_of_a_tokeniser_one_sentence_says_what_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(ValueError, match=r"X needs the tokeniser some/words, .* transformers: pip install 'petl-vtr\[tokenizers\]'"):
        tokens.load(HF, name="X", folder="")
    auto = types.SimpleNamespace(from_pretrained=_absent)
    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoTokenizer=auto))
    with pytest.raises(ValueError, match=r"some/words of X cannot be read from the cache of the hub \(no files\); fetch it with"):
        tokens.load(HF, name="X", folder="")
    with pytest.raises(ValueError, match=r"cannot be read from /a/folder \(no files\)"):
        tokens.load(HF, name="X", folder="/a/folder")
    with pytest.raises(ValueError, match=r"backbone.tokenizer is '/a', but X has CLIP's own tokeniser; leave it out"):
        tokens.load({"context_length": 5}, name="X", folder="/a")


def _absent(*_, **__):
    raise OSError("no\nfiles")


def test_a_tokeniser_is_read_from_this_machine_alone_and_cleans_as_its_architecture_says(monkeypatch):
    asked = []

    class Words:
        def __call__(self, texts, *, max_length, **_):
            asked.append(texts)
            return types.SimpleNamespace(input_ids=torch.zeros(len(texts), max_length, dtype=torch.long))

        batch_encode_plus = __call__  # as open_clip 3.2 calls it, and transformers below 5 have it

    def words(place, **options):
        asked.append((place, options))
        return Words()

    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoTokenizer=types.SimpleNamespace(from_pretrained=words)))
    assert tokens.load(HF, name="X", folder="/a/folder")(["A Dog!"], context_length=5).shape == (1, 5)
    assert asked == [("/a/folder", {"cache_dir": None, "local_files_only": True}), ["a dog"]]


def test_without_weights_words_stand_for_numbers_and_end_as_captions_do():
    model = types.SimpleNamespace(vocab_size=1000, text_eos_id=2, context_length=6)
    ids = tokens.without_weights(model)(["a dog", "a b c d e f g h"], context_length=6)
    assert ids[0, 2] == 2 and ids[0, 3:].tolist() == [0, 0, 0] and ids[1, 5] == 2
    assert int(ids.max()) < 1000 and ids[0, 0] == ids[1, 0] > 2


def test_lengths_of_captions_are_those_before_any_is_cut(monkeypatch):
    own = tokens.load({"context_length": 5}, name="X", folder="")
    assert own.lengths(["a dog", "a dog runs over a hill"]) == [4, 8] and own.described() == {}
    words = types.SimpleNamespace(
        from_pretrained=lambda *_, **__: lambda texts: types.SimpleNamespace(input_ids=[t.split() for t in texts])
    )
    monkeypatch.setitem(sys.modules, "transformers", types.SimpleNamespace(AutoTokenizer=words))
    assert tokens.load(HF, name="X", folder="").lengths(["A, dog!", "a b c d e f g"]) == [2, 7]
    assert tokens.load(HF, name="X", folder="").lengths([]) == []


def test_an_adapter_belongs_to_its_tokeniser_wherever_its_folder_lies(tmp_path):
    def numbered(first, folder):
        made = lambda captions, context_length: torch.arange(first, first + context_length).expand(len(captions), -1)  # noqa: E731
        return tokens.Tokenizer("some/words", made, len, folder)

    clip = small_clip(family="pe")
    clip.tokenizer = numbered(0, "a/folder")
    header = checkpoint.described(clip)
    assert header["tokenizer"] == {"name": "some/words", "folder": "a/folder", "digest": header["tokenizer"]["digest"]}
    clip.tokenizer = numbered(0, "elsewhere")
    checkpoint.refuse_other_backbone(header, clip, tmp_path)
    clip.tokenizer = numbered(1, "a/folder")
    with pytest.raises(ValueError, match=r"with the tokeniser 'some/words' of folder 'a/folder' \('\w+'\), and small-pe has the .* here;"):
        checkpoint.refuse_other_backbone(header, clip, tmp_path)
    with pytest.raises(ValueError, match=r"with the tokeniser 'some/words' .*, and small-pe has CLIP's tokeniser here; set backbone.tok"):
        checkpoint.refuse_other_backbone(header, small_clip(family="pe"), tmp_path)


def test_the_folder_of_a_tokeniser_comes_from_the_header_where_it_is_there(tmp_path):
    header = {"backbone": "clip-tiny", "tokenizer": {"folder": str(tmp_path)}}
    assert checkpoint.backbone(header, tmp_path, "w.pt") == Backbone("clip-tiny", "w.pt", tokenizer=str(tmp_path))
    for folder in (str(tmp_path / "gone"), "x" * 5000, "\0", 5, ""):  # a header may be a stranger's
        header["tokenizer"]["folder"] = folder
        assert checkpoint.backbone(header, tmp_path, "w.pt") == Backbone("clip-tiny", "w.pt")
    assert Backbone("x", "w.pt", tokenizer="words").seen_from(tmp_path) == Backbone("x", f"{tmp_path}/w.pt", tokenizer=f"{tmp_path}/words")


@pytest.mark.parametrize("seen", [OPENAI, SQUASHED, Preprocessing((0.0,) * 3, (1.0, 1e-05, 1.5), "crop", "bilinear")])
def test_preprocessing_is_read_from_what_an_adapter_says(seen):
    assert Preprocessing.read(str(seen)) == seen
    assert loading.preprocessing(loading.seen_as("PE-Core-B-16", "file.pt", str(seen))) == seen
    assert loading.seen_as("PE-Core-B-16", "file.pt", str(SQUASHED)) == Backbone("PE-Core-B-16", "file.pt")


def test_a_tokeniser_of_a_folder_reads_pads_and_counts(tmp_path):
    """With the packages of the extra `tokenizers` alone."""
    made, real = pytest.importorskip("tokenizers"), pytest.importorskip("transformers")
    words = made.Tokenizer(made.models.WordLevel({"<pad>": 0, "</s>": 1, "<unk>": 2, "a": 3, "dog": 4}, unk_token="<unk>"))
    words.pre_tokenizer = made.pre_tokenizers.Whitespace()
    words.post_processor = made.processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    real.PreTrainedTokenizerFast(tokenizer_object=words, pad_token="<pad>", eos_token="</s>", unk_token="<unk>").save_pretrained(tmp_path)
    found = tokens.load(HF, name="X", folder=str(tmp_path))
    assert found(["A Dog!", "a a a a a a"], context_length=5).tolist() == [[3, 4, 1, 0, 0], [3, 3, 3, 3, 1]]
    assert found.lengths(["A Dog!", "a a a a a a"]) == [3, 7] and found.described()["folder"] == str(tmp_path)
    with pytest.raises(ValueError, match=r"some/words of X cannot be read from .*/none \("):
        tokens.load(HF, name="X", folder=str(tmp_path / "none"))
