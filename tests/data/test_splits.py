import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import transform

from mammo_utils.data import catalogs, dicom, splits
from mammo_utils.synth import exams


def women(count, seed=0, views=("L CC", "L MLO", "R CC", "R MLO")):
    """A tidy table of ``count`` women with every column that split and audit use."""
    rng = np.random.default_rng(seed)
    rows = []
    for woman in range(count):
        density, cancer = rng.choice(list("ABCD"), p=[0.1, 0.4, 0.4, 0.1]), rng.random() < 0.2
        for view in views:
            side, direction = view.split()
            rows.append(
                {
                    "image_id": f"w{woman}-{side}{direction}",
                    "path": f"/nowhere/{woman}.dcm",
                    "patient_id": f"w{woman}",
                    "exam_id": f"e{woman}",
                    "laterality": side,
                    "view": direction,
                    "density": density,
                    "cancer": int(cancer and side == "L"),
                    "group": f"w{woman}",
                }
            )
    table = pd.DataFrame(rows)
    kinds = {column: kind for column, kind in catalogs.COLUMNS.items() if column in table}
    return table.astype(kinds)


@settings(max_examples=60, deadline=None)
@given(
    groups=st.lists(st.integers(0, 30), min_size=1, max_size=80),
    shares=st.lists(st.integers(1, 9), min_size=1, max_size=4),
    seed=st.integers(0, 5),
    order=st.randoms(),
)
def test_no_group_crosses_shares_are_met_and_the_order_of_rows_does_not_matter(groups, shares, seed, order):
    table = pd.DataFrame({"group": [f"g{g}" for g in groups], "cancer": [g % 3 == 0 for g in groups]})
    fractions = {f"s{i}": share / sum(shares) for i, share in enumerate(shares)}
    done = splits.split(table, stratify="cancer", fractions=fractions, seed=seed)
    splits.check(done)
    women_of = done.drop_duplicates("group")
    counts = women_of["split"].value_counts()
    for name, share in fractions.items():
        assert abs(counts.get(name, 0) - share * len(women_of)) <= len(shares)
    rows = list(range(len(table)))
    order.shuffle(rows)
    again = splits.split(table.iloc[rows], stratify="cancer", fractions=fractions, seed=seed)
    pd.testing.assert_series_equal(again["split"].sort_index(), done["split"])


def test_strata_have_the_same_mix_in_every_split():
    table = splits.split(women(500), stratify=["cancer", "density"], seed=3)
    woman = table.groupby("group").agg(
        split=("split", "first"), cancer=("cancer", "max"), density=("density", "max")
    )
    for column in ("cancer", "density"):
        overall = woman[column].value_counts(normalize=True)
        for _, part in woman.groupby("split"):
            assert (part[column].value_counts(normalize=True) - overall).abs().max() < 0.02
    assert woman["split"].value_counts().to_dict() == {"train": 300, "valid": 100, "test": 100}


def test_a_number_of_many_values_is_spread_evenly_too():
    table = women(300).assign(percent_density=np.repeat(np.random.default_rng(1).gamma(2, 10, 300), 4))
    table = splits.split(table, stratify="percent_density", fractions={"a": 0.5, "b": 0.5})
    means = table.groupby("split")["percent_density"].mean()
    assert abs(means["a"] - means["b"]) < 0.5  # random halves differ by about 1.6


def test_seeds_differ_and_one_seed_repeats():
    table = women(100)
    first, again, other = (splits.split(table, seed=seed)["split"] for seed in (0, 0, 1))
    assert first.equals(again)
    assert 0.3 < (first != other).mean() < 0.8


def test_missing_strata_are_a_stratum_of_their_own():
    table = women(90)
    table.loc[table.index < 120, "density"] = pd.NA
    done = splits.split(table, stratify="density", fractions={"a": 2 / 3, "b": 1 / 3})
    unknown = done[done["density"].isna()].drop_duplicates("group")
    assert unknown["split"].value_counts().to_dict() == {"a": 20, "b": 10}


@pytest.mark.parametrize("fractions", [{"a": 0.5, "b": 0.4}, {"a": 1.2, "b": -0.2}, {}])
def test_fractions_that_make_no_sense_are_refused(fractions):
    with pytest.raises(ValueError, match="sum to 1"):
        splits.split(women(5), fractions=fractions)


def test_rows_without_a_group_are_refused():
    table = women(5)
    table.loc[3, "group"] = pd.NA
    with pytest.raises(splits.SplitError, match="1 rows have no group"):
        splits.split(table)


def test_check_names_the_groups_that_cross_and_reading_checks_again(tmp_path):
    table = splits.split(women(20), seed=0)
    path = splits.write(table, tmp_path / "split.csv")
    pd.testing.assert_frame_equal(splits.read(path), table)

    text = path.read_text().splitlines()
    row = next(i for i, line in enumerate(text) if line.endswith(",test"))
    text[row] = text[row][: -len("test")] + "train"
    path.write_text("\n".join(text) + "\n")
    with pytest.raises(splits.SplitError, match="1 of 20 groups") as caught:
        splits.read(path)
    assert caught.value.groups == [table["group"][row - 1]]
    with pytest.raises(splits.SplitError, match="'split'"):
        splits.check(women(3))


def kinds(table, **options):
    return splits.audit(table, **options)["kind"].value_counts().to_dict()


def test_audit_finds_nothing_in_a_split_by_woman():
    assert kinds(splits.split(women(40)), pixels=False) == {}


def test_audit_of_a_split_by_breast_shows_the_other_breast_and_not_the_same_one():
    # Two women by hand: the first straddles, the second does not.
    table = women(2).assign(split=["train", "train", "test", "test", "train", "train", "train", "train"])
    leaks = splits.audit(table, pixels=False).set_index("kind")
    assert set(leaks.index) == {"group", "woman", "exam", "other breast"}
    row = leaks.loc["other breast"]
    assert (row["key"], {row["split_a"], row["split_b"]}) == ("w0", {"train", "test"})
    assert {row["images_a"], row["images_b"]} == {("w0-LCC", "w0-LMLO"), ("w0-RCC", "w0-RMLO")}


def test_audit_of_a_split_by_image_shows_the_same_breast():
    table = women(1, views=("L CC", "L MLO")).assign(split=["train", "valid"])
    leaks = splits.audit(table, pixels=False)
    assert set(leaks["kind"]) == {"group", "woman", "exam", "breast"}
    assert leaks.set_index("kind").loc["breast", "key"] == "w0/L"


def test_the_share_of_women_that_straddle_a_split_by_breast_is_the_published_one():
    # By (patient, side) an 80/20 split puts the two breasts of 2·0.8·0.2 = 32 % of women apart.
    table = women(2000)
    table["breast"] = table["patient_id"] + table["laterality"]
    table = splits.split(table, group="breast", fractions={"train": 0.8, "valid": 0.2})
    assert abs(kinds(table, pixels=False)["other breast"] / 2000 - 0.32) < 0.03


def test_what_is_unknown_is_not_shared():
    table = women(3, views=("L CC",)).assign(split=["a", "b", "c"])
    table["exam_id"] = pd.Series([pd.NA] * 3, dtype="string")
    assert kinds(table, pixels=False) == {}


@pytest.fixture(scope="module")
def phantom(tmp_path_factory):
    """Twelve women in three splits."""
    root = tmp_path_factory.mktemp("phantom")
    exams.write(root, range(12), layout="phantom", size=128)
    table = splits.split(catalogs.load("phantom", root), seed=1)
    assert table["split"].nunique() == 3
    return table


def planted(table, row, image, folder, **save):
    """The row of a copy of ``table``'s image in another split, under the name of a woman of that split."""
    original = table.loc[row]
    other = table[table["split"] != original["split"]].iloc[0]
    path = folder / f"copy-{row}.{save.pop('suffix', 'png')}"
    Image.fromarray(np.clip(image * 255, 0, 255).astype(np.uint8)).save(path, **save)
    change = {"image_id": f"copy-{row}", "path": str(path), "split": other["split"]}
    change |= {column: f"stranger-{row}" for column in ("patient_id", "exam_id", "group")}
    return original.to_frame().T.assign(**change)


def test_audit_is_quiet_about_the_pixels_of_different_women(phantom):
    assert kinds(phantom) == {}
    # even if all women are compared with each other, and the two sides of each of them
    pixels = kinds(phantom.assign(split=phantom["image_id"]))
    assert not {kind for kind in pixels if "pixels" in kind}


def test_audit_finds_planted_copies(phantom, tmp_path):
    image = {row: dicom.read(phantom["path"][row]).image for row in (0, 5, 10, 15, 20, 25)}
    copies = [
        planted(phantom, 0, transform.resize(image[0], (77, 63), anti_aliasing=True), tmp_path),
        planted(phantom, 5, image[5] * 1.3 + 0.02, tmp_path),
        planted(phantom, 10, image[10][:, ::-1] ** 0.7, tmp_path),
        planted(phantom, 15, image[15], tmp_path, suffix="jpg", quality=60),
        planted(phantom, 20, 0.9 * transform.resize(image[20], (200, 162)), tmp_path),
    ]
    file = tmp_path / "same.dcm"
    file.write_bytes(Path(phantom["path"][25]).read_bytes())
    copies.append(planted(phantom, 25, image[25], tmp_path).assign(path=str(file)))
    leaks = splits.audit(pd.concat([phantom, *copies], ignore_index=True))
    found = {}
    for _, leak in leaks.iterrows():
        names = sorted([*leak["images_a"], *leak["images_b"]], key=lambda name: name.startswith("copy"))
        found[names[1]] = (names[0], leak["kind"])
        assert leak["split_a"] != leak["split_b"]
    expected = {
        f"copy-{row}": (phantom["image_id"][row], "near-identical pixels") for row in (0, 5, 10, 15, 20)
    }
    expected["copy-25"] = (phantom["image_id"][25], "identical pixels")
    assert found == expected


def test_audit_takes_the_images_of_a_cache_and_reports_unreadable_files(phantom, tmp_path):
    twice = pd.concat([phantom[:4], phantom[:4]], ignore_index=True)
    twice["split"] = ["a"] * 4 + ["b"] * 4
    for column in ("patient_id", "exam_id", "group"):
        twice.loc[4:, column] = "stranger"
    pixels = np.stack([dicom.read(path).image for path in phantom["path"][:4]] * 2)
    assert kinds(twice, images=pixels) == {"identical pixels": 4}
    with pytest.raises(ValueError, match="7 images for 8 rows"):
        splits.audit(twice, images=pixels[:7])
    twice.loc[0, "path"] = str(tmp_path / "gone.dcm")
    with pytest.warns(UserWarning, match=r"1 images cannot be read .* gone\.dcm"):
        assert kinds(twice) == {"identical pixels": 3}


def test_the_real_films_are_told_apart(phantom):
    samples = os.environ.get("MAMMO_SAMPLES")
    if not samples:
        pytest.skip("MAMMO_SAMPLES is not set: no real films to compare")
    paths = sorted(map(str, (Path(samples) / "ddsm_density" / "images").iterdir()))
    table = women(len(paths), views=("R MLO",)).assign(path=paths, split=[f"s{i}" for i in range(len(paths))])
    assert kinds(table) == {}


@pytest.mark.parametrize(
    "options", [{"stratify": "canser"}, {"stratify": ["cancer", "canser"]}, {"group": "canser"}]
)
def test_a_column_that_is_not_there_is_named_with_those_that_are(options):
    with pytest.raises(splits.SplitError, match=r"no column canser; it has: image_id, .*cancer, group$"):
        splits.split(women(3), **options)


def test_an_audit_needs_a_split_and_its_keys():
    with pytest.raises(splits.SplitError, match=r"no column split; it has: image_id.*splits\.split\(table\)"):
        splits.audit(women(3))
    table = splits.split(women(3))
    with pytest.raises(splits.SplitError, match=r"no column exam_id; it has"):
        splits.audit(table.drop(columns="exam_id"), pixels=False)
    with pytest.raises(splits.SplitError, match=r"no column path; it has"):
        splits.audit(table.drop(columns="path"))
    assert splits.audit(table.drop(columns="path"), pixels=False).empty


@pytest.fixture(scope="module")
def density(tmp_path_factory):
    """Six women as VinDr-Mammo has them, and the dense-tissue masks of the women 1 and 4 among them."""
    root = tmp_path_factory.mktemp("pool")
    exams.write(root / "vindr", range(6), layout="vindr", size=128)
    exams.write(root / "density", (1, 4), layout="density", size=128)
    return catalogs.load("vindr", root / "vindr"), catalogs.load("density", root / "density")


def together(rest, labelled):
    both = [rest.assign(split="pool"), labelled.assign(split="labelled")]
    return pd.concat(both, ignore_index=True)


def test_the_pool_holds_no_labelled_woman_and_the_audit_agrees(density):
    everyone, labelled = density
    assert len(everyone) == 24
    # One labelled image of a woman is enough to keep out the other three.
    for some in (labelled, labelled.drop_duplicates("group")):
        rest = splits.pool(everyone, some)
        assert set(rest["group"]) == set(everyone["group"]) - set(labelled["group"])
        assert list(rest.index) == list(range(16))
        assert list(rest.columns) == list(everyone.columns)
        assert rest.attrs["shared"] == {"women": 2, "images": 8}
        assert splits.audit(together(rest, some)).empty


def test_the_audit_reports_every_woman_whom_the_transductive_pool_keeps(density):
    everyone, labelled = density
    rest = splits.pool(everyone, labelled, transductive=True)
    pd.testing.assert_frame_equal(rest, everyone)
    assert rest.attrs["shared"] == {"women": 2, "images": 8}
    assert "shared" not in everyone.attrs
    leaks = splits.audit(together(rest, labelled))
    for kind in ("group", "woman", "exam"):
        assert set(leaks["key"][leaks["kind"] == kind]) == set(labelled["group"])
    assert (leaks["kind"] == "identical pixels").sum() == 8


def test_names_are_those_of_their_data_set_unless_it_may_hold_anybody_s_images():
    table, labelled = women(4).assign(dataset="rsna"), women(2).assign(dataset="vindr")
    rest = splits.pool(table, labelled)
    assert (len(rest), rest.attrs["shared"]) == (16, {"women": 0, "images": 0})
    assert kinds(together(rest, labelled), pixels=False) == {}
    shared = {"group": 2, "woman": 2, "exam": 2, "breast": 4, "other breast": 4}
    for ours, theirs in [
        ("vindr", "vindr"),
        ("vindr", "density"),
        ("folder", "vindr"),
        ("rsna", "folder"),
        ("rsna", pd.NA),
    ]:
        table, labelled = table.assign(dataset=ours), labelled.assign(dataset=theirs)
        assert splits.pool(table, labelled)["group"].unique().tolist() == ["w2", "w3"]
        assert kinds(together(table, labelled), pixels=False) == shared
    assert set(splits.pool(table, labelled.drop(columns="dataset"))["group"]) == {"w2", "w3"}


def test_an_image_gives_away_its_woman_and_she_her_other_images():
    table = women(3).assign(dataset="vindr")
    copied = table[5:6].assign(dataset="folder", patient_id="own", group="own", exam_id=pd.NA)
    rest = splits.pool(table, copied)
    assert set(rest["group"]) == {"w0", "w2"}
    assert rest.attrs["shared"] == {"women": 1, "images": 4}


def test_a_number_and_its_text_are_one_name():
    table = women(3).assign(group=lambda rows: rows["group"].str[1:])
    labelled = table[:1].assign(group=0, patient_id="other", exam_id=pd.NA, image_id="other")
    assert set(splits.pool(table, labelled)["group"]) == {"1", "2"}


row = st.tuples(
    st.sampled_from(["rsna", "vindr", "density", "folder", None]),
    *[st.integers(0, 9).map(str)] * 2,
    *[st.none() | st.integers(0, 9).map(str)] * 2,
)


@settings(max_examples=100, deadline=None)
@given(st.lists(row, min_size=1, max_size=4), st.lists(row, min_size=1, max_size=12))
def test_the_pool_is_what_no_chain_of_shared_names_reaches(labelled, table):
    source = {"rsna": "rsna", "vindr": "vindr", "density": "vindr"}

    def same(a, b):
        one, other = source.get(a[0]), source.get(b[0])
        names = zip(a[1:], b[1:], strict=True)
        return (one == other or None in (one, other)) and any(x == y and x is not None for x, y in names)

    rows, reached = [*labelled, *table], list(range(len(labelled)))
    for here in reached:
        reached += [n for n in range(len(rows)) if n not in reached and same(rows[here], rows[n])]
    expected = [n - len(labelled) for n in range(len(labelled), len(rows)) if n not in reached]

    names = ["dataset", "group", "image_id", "patient_id", "exam_id"]
    frames = [pd.DataFrame(part, columns=names, dtype="string") for part in (labelled, table)]
    frames[1]["number"] = range(len(table))
    assert list(splits.pool(frames[1], frames[0], transductive=True)["number"]) == list(range(len(table)))
    if expected:
        assert list(splits.pool(frames[1], frames[0])["number"]) == expected
    else:
        with pytest.raises(splits.SplitError, match="none is left"):
            splits.pool(frames[1], frames[0])


def test_a_pool_needs_the_keys_and_the_woman_of_every_row():
    table = women(3)
    with pytest.raises(splits.SplitError, match="no column exam_id"):
        splits.pool(table, table[:1].drop(columns="exam_id"))
    unknown = table.assign(group=table["group"].mask(table["group"] == "w1"))
    with pytest.raises(splits.SplitError, match="4 rows have no group"):
        splits.pool(unknown, table[:1])
    with pytest.raises(splits.SplitError, match="4 rows have no group"):
        splits.pool(table, unknown)
