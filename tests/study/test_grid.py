"""Studies are run for real, in processes of their own, and disturbed in every way that a long one meets."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import pandas as pd
import psutil
import pytest

from mammo_utils import profile
from mammo_utils.__main__ import main
from mammo_utils.study import grid, process, provenance, results
from mammo_utils.study.grid import Study, product
from mammo_utils.synth import histology

# What the child processes import.  While there is a file "hang", the runs of seed 1 do not end.
TINY = """
import os, signal, subprocess, sys
from pathlib import Path
from mammo_utils import profile
from mammo_utils.study.grid import Study, product

HERE = Path(__file__).parent


def run(settings, seed):
    print('{"metrics": {}}')  # no answer, whatever it looks like
    with open(HERE / "ran.txt", "a") as file:
        file.write(f"{settings['loss']} {settings.get('labels')} {seed}\\n")
    if seed == 1 and (HERE / "hang").exists():
        with subprocess.Popen([sys.executable, "-S", "-c", "import time; time.sleep(120)"]) as sleeper:
            with open(HERE / "pids.txt", "a") as file:
                file.write(f"{os.getpid()} {sleeper.pid}\\n")
    labels = settings["labels"]
    return {"score": len(settings["loss"]) / 3 + labels * (seed + 1), "labels_seen": labels}


def fails(settings, seed):
    with open(HERE / "ran.txt", "a") as file:
        file.write(f"{settings['how']} {seed}\\n")
    if not (HERE / "mended").exists():
        if settings["how"] == "raise":
            raise ValueError("wrong\\nin two lines")
        if settings["how"] == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if settings["how"] == "leave":
            sys.exit(0)
        if settings["how"] == "word":
            return {"score": "high"}
        if settings["how"] == "clash":
            return {"seconds": 1}
    return {"score": 1}


def surroundings(settings, seed):
    ballast = bytearray(settings["mib"] << 20)
    threads = int(os.environ["OMP_NUM_THREADS"])
    return {"size": profile.current().size, "threads": threads, "held": len(ballast)}


def unsteady(settings, seed):
    return {"score": 1 + 0.001 * os.getpid() / 2**22, "steady": 1 / 3, "absent": float("nan")}


STUDY = Study("tiny", "tiny_study:run", product(loss=["bce", "dice"], labels=[16, 64]), range(2))
"""
STUDY = Study("tiny", "tiny_study:run", product(loss=["bce", "dice"], labels=[16, 64]), range(2))
LASTING = ["loss", "labels", "seed", "score", "labels_seen", "profile", "phantom"]


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A folder that the runs find their module in."""
    (tmp_path / "tiny_study.py").write_text(TINY)
    known = [str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(known))
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "tiny_study", raising=False)
    return tmp_path


def ran(here):
    return (here / "ran.txt").read_text().splitlines() if (here / "ran.txt").exists() else []


def expected(study=STUDY):
    """The lasting columns as they must be, without the code under test."""
    rows = [
        (
            s["loss"],
            s["labels"],
            seed,
            float(f"{len(s['loss']) / 3 + s['labels'] * (seed + 1):.6g}"),
            s["labels"],
        )
        for s in study.settings
        for seed in study.seeds
    ]
    table = pd.DataFrame(rows, columns=LASTING[:5]).sort_values(LASTING[:3], ignore_index=True)
    return table.assign(
        labels_seen=table["labels"].astype(float), profile="cpu", phantom=results.phantom_version()
    )


def assert_complete(out, study=STUDY):
    pd.testing.assert_frame_equal(grid.read(out)[LASTING], expected(study), check_dtype=True)


def command(out, *more):
    return [sys.executable, "-m", "mammo_utils", "study", "tiny_study:STUDY", "--out", str(out), *more]


def wait_for(condition):
    end = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end, "it did not happen within a minute"
        time.sleep(0.02)


def lines(path):
    return path.read_text().count("\n") if path.exists() else 0


def ended(pid):
    """Whether a process is gone; one that nobody has asked after yet is a zombie."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def all_ended(here):
    return all(ended(int(pid)) for pid in (here / "pids.txt").read_text().split())


# ---- a study that nothing disturbs ----


def test_every_run_gives_one_row_with_what_it_measured(here, capsys):
    out = here / "new" / "tiny.csv"
    assert grid.run(STUDY, out=out, jobs=2) == []
    assert_complete(out)
    table = grid.read(out)
    assert list(table.columns) == [*LASTING[:5], *results.MEASURED]
    assert (table["seconds"] >= 0).all()
    assert table["memory_mib"].between(5, 500).all()
    assert table["cuda_mib"].isna().all()
    assert table["commit"].unique() == [provenance.commit()]
    assert table["date"].str.fullmatch(r"\d{4}-\d\d-\d\d").all()
    said = capsys.readouterr().out.splitlines()
    assert said[0] == "8 runs, 0 done before"
    assert said[-1].startswith("[8 of 8] ")
    assert sum("loss=dice labels=64 seed=1: score 129.3 labels_seen 64 | " in line for line in said) == 1
    assert said[-1].endswith(" | 0.0 s left")
    before = out.read_bytes()
    assert grid.run(STUDY, out=out) == []
    assert capsys.readouterr().out == "8 runs, 8 done before\n"
    assert out.read_bytes() == before
    assert len(ran(here)) == 8


def test_a_run_has_the_profile_and_threads_of_its_study_and_memory_of_its_own(here, monkeypatch):
    monkeypatch.setenv("MAMMO_PROFILE", "gpu")
    ballast = b"x" * (400 << 20)  # of this process: none of it may be counted as the run's
    study = Study("around", "tiny_study:surroundings", product(mib=[0, 200]), [0], profile="smoke")
    grid.run(study, out=here / "around.csv", threads=3)
    table = grid.read(here / "around.csv")
    assert (table["size"] == profile.PROFILES["smoke"].size).all()
    assert (table["profile"] == "smoke").all()
    assert (table["threads"] == 3).all()
    small, large = table["memory_mib"]
    assert small < 250 < len(ballast) >> 20
    assert 190 < large - small < 210


def test_rows_of_two_profiles_stand_side_by_side(here):
    out = here / "around.csv"
    study = Study("around", "tiny_study:surroundings", product(mib=[0]), [0], profile="smoke")
    grid.run(study, out=out)
    grid.run(replace(study, profile="cpu"), out=out)
    assert grid.read(out).set_index("profile")["size"].to_dict() == {"cpu": 128, "smoke": 64}


# ---- order, choice and what a study may not be ----


def test_paired_runs_come_first_or_seeds_do():
    study = Study("x", "m:f", product(loss=["bce", "dice"]), [3, 5])
    assert [(s["loss"], seed) for s, seed in study.runs()] == [
        ("bce", 3),
        ("dice", 3),
        ("bce", 5),
        ("dice", 5),
    ]
    study = replace(study, order="settings")
    assert [(s["loss"], seed) for s, seed in study.runs()] == [
        ("bce", 3),
        ("bce", 5),
        ("dice", 3),
        ("dice", 5),
    ]


def test_runs_can_be_chosen_by_setting_and_seed():
    settings = [*product(loss=["bce"], rate=[0.1, 1e-5]), {"loss": "focal", "gamma": None}]
    study = Study("x", "m:f", settings, range(3))
    assert study.runs(only={"rate": ["1e-05"]}, seeds=[2]) == [({"loss": "bce", "rate": 1e-5}, 2)]
    assert len(study.runs(only={"loss": ["bce", "focal"], "rate": [0.1, ""]})) == 6
    for options, message in (
        ({"only": {"los": ["bce"]}}, "unknown setting 'los'; choose one of: loss, rate, gamma"),
        ({"only": {"loss": ["dice"]}}, "unknown value of loss 'dice'; choose one of: bce, focal"),
        ({"seeds": [3]}, "unknown seed 3; choose one of: 0, 1, 2"),
    ):
        with pytest.raises(ValueError, match=message):
            study.runs(**options)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"order": "random"}, "unknown order 'random'"),
        ({"profile": "huge"}, "unknown profile 'huge'"),
        ({"seeds": [1, 1]}, "a run twice: loss=bce labels=16 seed=1"),
        ({"settings": [{"a": 0.1}, {"a": 0.10000001}]}, "a run twice: a=0.1 seed=0"),
        ({"settings": [{"a": 1, "b": None}, {"a": 1}]}, "a run twice"),
        ({"settings": [{"seed": 1}]}, "cannot be called 'seed'"),
        ({"settings": [{"machine": 1}]}, "cannot be called 'machine'"),
        ({"settings": [{"a": [1, 2]}]}, r"a=\[1, 2\] is not text"),
        ({"settings": [{"a": "two\nlines"}]}, "is not text"),
    ],
)
def test_a_study_that_cannot_be_told_apart_or_written_is_refused(change, message):
    with pytest.raises(ValueError, match=message):
        replace(STUDY, **change)


@pytest.mark.parametrize("option", ["jobs", "threads"])
def test_no_jobs_or_threads_are_refused(here, option):
    with pytest.raises(ValueError, match="at least one of each"):
        grid.run(STUDY, out=here / "tiny.csv", **{option: 0})


# ---- disturbances ----


def test_a_killed_study_ends_its_runs_and_resumes_to_the_undisturbed_table(here):
    out = here / "tiny.csv"
    (here / "hang").touch()
    with open(here / "log.txt", "w") as log:
        parent = subprocess.Popen(command(out, "--jobs", "2"), stdout=log, stderr=log)
    wait_for(lambda: lines(here / "pids.txt") == 2)
    parent.kill()
    assert parent.wait() == -signal.SIGKILL
    wait_for(lambda: all_ended(here))
    assert grid.read(out)["seed"].tolist() == [0] * 4  # paired runs first
    (here / "hang").unlink()
    assert grid.run(STUDY, out=out, jobs=2) == []
    assert_complete(out)
    times = pd.Series(ran(here)).value_counts()
    assert times.filter(regex=" 0$").tolist() == [1] * 4
    assert sorted(times.filter(regex=" 1$")) == [1, 1, 2, 2]  # lost: the two that were under way


def test_an_interrupt_ends_the_runs_keeps_the_rows_and_says_so(here):
    out = here / "tiny.csv"
    (here / "hang").touch()
    parent = subprocess.Popen(
        command(out, "--jobs", "2"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # a background shell ignores it
    )
    wait_for(lambda: lines(here / "pids.txt") == 2)
    parent.send_signal(signal.SIGINT)
    said, error = parent.communicate(timeout=60)
    assert parent.returncode == 130
    assert said.splitlines()[-1].startswith("[4 of 8] ")
    assert "the same command goes on from there" in error
    assert "Traceback" not in error
    wait_for(lambda: all_ended(here))
    assert len(grid.read(out)) == 4


def test_two_processes_share_a_table_and_run_nothing_twice(here):
    out = here / "tiny.csv"
    both = [subprocess.Popen(command(out), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [one.communicate(timeout=120)[0] for one in both]
    assert [one.returncode for one in both] == [0, 0]
    assert_complete(out)
    assert len(ran(here)) == len(set(ran(here))) == 8
    assert sum(f"another process is writing {out}" in one for one in said) == 1
    assert sorted(one.splitlines()[-1] == "8 runs, 8 done before" for one in said) == [False, True]


def test_runs_that_fail_are_reported_and_only_they_are_tried_again(here, capsys):
    out = here / "fails.csv"
    ways = ["raise", "kill", "fine", "leave", "word", "clash"]
    study = Study("fails", "tiny_study:fails", product(how=ways), [0])
    failed = dict(line.split(" seed=0: ", 1) for line in grid.run(study, out=out, jobs=2))
    assert failed == {
        "how=raise": "in two lines",
        "how=kill": "ended by SIGKILL (out of memory?)",
        "how=leave": "exit status 0: no message",
        "how=word": "ValueError: could not convert string to float: 'high'",
        "how=clash": "ValueError: metrics need names of their own, other than seconds",
    }
    assert list(grid.read(out)["how"]) == ["fine"]
    report = grid.failures_of(out).read_text()
    assert 'raise ValueError("wrong\\nin two lines")' in report  # the line of the traceback
    assert all(reason in report for reason in failed.values())
    assert "seed=0: failed: ended by SIGKILL" in capsys.readouterr().out
    (here / "mended").touch()
    assert grid.run(study, out=out) == []
    assert sorted(grid.read(out)["how"]) == sorted(ways)
    assert not grid.failures_of(out).exists()
    assert len(ran(here)) == 6 + 5


def test_a_function_that_is_not_there_is_a_failure_that_names_it(here):
    study = replace(STUDY, run="tiny_study:walk", seeds=[0])
    failed = grid.run(study, out=here / "tiny.csv", only={"loss": ["bce"], "labels": [16]})
    (line,) = failed
    assert line.endswith("AttributeError: module 'tiny_study' has no attribute 'walk'")


def test_a_half_written_last_line_is_dropped_and_its_run_repeated(here):
    out, study = here / "tiny.csv", replace(STUDY, seeds=[0])
    grid.run(study, out=out, jobs=2)
    out.write_bytes(out.read_bytes()[:-20])
    assert len(grid.read(out)) == 3
    assert grid.run(study, out=out) == []
    assert_complete(out, study)
    assert ran(here).count("dice 64 0") == 2
    assert len(ran(here)) == 5


def finished(settings, seed, metrics, **measured):
    """A run as if it had ended, for tables that need none."""
    run = object.__new__(process.Run)
    run.settings, run.seed, run.metrics = settings, seed, metrics
    run.measured = dict.fromkeys(results.MEASURED) | {
        "profile": "cpu",
        "phantom": results.phantom_version(),
        "commit": "1234567",
        "machine": 'a "machine", 2 cores',
        "date": "2025-01-31",
        **measured,
    }
    return run


def test_wherever_a_write_stopped_the_lines_before_it_are_read_and_the_next_write_mends_it(tmp_path):
    out = tmp_path / "x.csv"
    for seed in range(2):
        results.append(out, finished({"λ": '½, "a"'}, seed, {"score": seed / 3}))
    whole = out.read_bytes()
    rows = results.load(out)[1]
    assert [row["score"] for row in rows] == ["0", "0.333333"]
    for length in range(len(whole)):
        out.write_bytes(whole[:length])
        there = whole[:length].count(b"\n") - 1
        assert results.load(out)[1] == rows[: max(there, 0)]
        if there < 1:
            results.append(out, finished({"λ": '½, "a"'}, 0, {"score": 0.0}))
        results.append(out, finished({"λ": '½, "a"'}, 1, {"score": 1 / 3}))
        assert out.read_bytes() == whole


@pytest.mark.parametrize("damage", ["a,b\n1,2\n", "<<<<<<< ours\n"])
def test_a_file_that_is_no_table_is_left_alone(here, damage):
    out = here / "tiny.csv"
    out.write_text(damage)
    with pytest.raises(ValueError, match="is not a table of results"):
        grid.run(STUDY, out=out)
    assert out.read_text() == damage
    assert ran(here) == []


def test_a_damaged_line_is_named(tmp_path):
    out = tmp_path / "x.csv"
    results.append(out, finished({"a": 1}, 0, {"score": 1.0}))
    out.write_text(out.read_text() + "=======\n")
    with pytest.raises(ValueError, match=r"x\.csv, line 3: 1 fields under 11 columns"):
        grid.read(out)


def test_changed_settings_only_add_runs(here):
    out = here / "tiny.csv"
    small = replace(STUDY, settings=product(loss=["bce"], labels=[16]), seeds=[0])
    grid.run(small, out=out)
    large = replace(
        small, settings=[*product(loss=["dice"], labels=[64], rate=[0.5]), *small.settings], seeds=[0, 1]
    )
    grid.run(large, out=out)
    assert ran(here) == ["bce 16 0", "dice 64 0", "dice 64 1", "bce 16 1"]
    table = grid.read(out)
    assert list(table.columns[:6]) == ["loss", "labels", "rate", "seed", "score", "labels_seen"]
    assert table["rate"].isna().tolist() == [True, True, False, False]
    grid.run(small, out=out)
    assert len(ran(here)) == 4
    pd.testing.assert_frame_equal(grid.read(out), table)


def test_a_setting_that_was_taken_away_does_not_pass_for_done(here):
    out = here / "tiny.csv"
    grid.run(replace(STUDY, settings=product(loss=["bce"], labels=[16], rate=[0.5]), seeds=[0]), out=out)
    grid.run(replace(STUDY, settings=product(loss=["bce"], labels=[16]), seeds=[0]), out=out)
    assert len(grid.read(out)) == 2


def test_rows_of_another_phantom_histology_are_refused_and_do_not_pass_for_done(here):
    out, tissue = here / "tiny.csv", histology.VERSION
    study = replace(STUDY, settings=product(loss=["bce"], labels=[16], tissue=[tissue]), seeds=[0, 1])
    grid.run(study, out=out)
    grid.run(replace(STUDY, settings=product(loss=["dice"], labels=[16]), seeds=[0]), out=out)
    assert len(grid.read(out)) == 3  # a run without tissue is of no phantom histology
    old = pd.read_csv(out, dtype=str)
    old.loc[old["seed"].eq("1"), "tissue"] = str(tissue + 1)
    old.to_csv(out, index=False)
    with pytest.raises(ValueError, match=f"1 of 3 rows stem from another phantom.*tissue {tissue};"):
        grid.read(out)
    assert len(grid.read(out, stale=True)) == 3
    grid.run(study, out=out)
    assert len(grid.read(out, stale=True)) == 4


def test_rows_of_another_phantom_are_refused_then_repeated_and_replaced(here):
    out, study = here / "tiny.csv", replace(STUDY, seeds=[0])
    grid.run(study, out=out, jobs=2)
    content = out.read_text()
    old = pd.read_csv(out)
    old.loc[[1, 3], "phantom"] = 999
    old.loc[[1, 3], "score"] = -1
    old.to_csv(out, index=False)
    with pytest.raises(ValueError, match="2 of 4 rows stem from another phantom"):
        grid.read(out)
    assert (grid.read(out, stale=True)["score"] == -1).sum() == 2
    with pytest.raises(ValueError, match="another phantom"):
        grid.again(study, 1, out=out)
    grid.run(study, out=out)
    assert_complete(out, study)
    assert len(ran(here)) == 4 + 2
    assert out.read_text().count("\n") == content.count("\n")


# ---- reading ----


def test_types_do_not_depend_on_the_values(tmp_path):
    out = tmp_path / "x.csv"
    for seed, commit in ((10, "1234567"), (9, "12e4567")):
        metrics = {"epochs": 12.0, "error": float("nan"), "parameters": 1_600_123.0, "ratio": 0.123456789}
        results.append(out, finished({"weights": "None", "labels": 16}, seed, metrics, commit=commit))
    results.arrange(out)
    table = grid.read(out)
    assert table["seed"].tolist() == [9, 10]  # by number
    assert table["commit"].tolist() == ["12e4567", "1234567"]
    assert table["weights"].tolist() == ["None", "None"]
    assert table["labels"].dtype == table["seed"].dtype == table["phantom"].dtype == "int64"
    assert (
        table[["epochs", "error", "parameters", "ratio", "seconds", "cuda_mib"]].dtypes == "float64"
    ).all()
    assert table["parameters"].tolist() == [1_600_123] * 2
    assert table["ratio"].tolist() == [0.123457] * 2
    assert table["error"].isna().all()
    assert table["machine"].tolist() == ['a "machine", 2 cores'] * 2


def test_a_table_that_comes_with_the_package_is_read_by_its_name(tmp_path, monkeypatch):
    monkeypatch.setattr(profile, "__file__", str(tmp_path / "mammo_utils" / "profile.py"))
    (tmp_path / "data" / "results").mkdir(parents=True)
    results.append(tmp_path / "data" / "results" / "losses.csv", finished({"a": 1}, 0, {"score": 0.5}))
    assert grid.read("losses")["score"].tolist() == [0.5]
    with pytest.raises(FileNotFoundError, match=r"results/loses\.csv.*it has: results/losses\.csv"):
        grid.read("loses")
    with pytest.raises(FileNotFoundError):
        grid.read(tmp_path / "none.csv")
    (tmp_path / "empty.csv").touch()
    with pytest.raises(ValueError, match=r"empty\.csv holds no row yet"):
        grid.read(tmp_path / "empty.csv")


# ---- repeating a row ----


def test_a_row_is_repeated_within_the_tolerance_of_its_study(here):
    out = here / "unsteady.csv"
    study = Study("unsteady", "tiny_study:unsteady", product(loss=["bce"]), [0])
    grid.run(study, out=out)
    table = pd.read_csv(out)
    table["score"] += 0.01
    table.to_csv(out, index=False)
    both = grid.again(study, 0, out=out)
    assert both["agrees"].to_dict() == {"score": False, "steady": True}
    assert both.loc["steady", "again"] == 1 / 3
    assert both.loc["score", "recorded"] - both.loc["score", "again"] == pytest.approx(0.01, abs=2e-3)
    both = grid.again(replace(study, tolerance={"score": 0.02}), 0, out=out)
    assert both["agrees"].all()
    assert both.loc["score", "tolerance"] == 0.02
    assert len(grid.read(out)) == 1
    with pytest.raises(ValueError, match="rows 0 to 0, not 1"):
        grid.again(study, 1, out=out)
    with pytest.raises(ValueError, match="is not a run of the study"):
        grid.again(replace(study, seeds=[1]), 0, out=out)


# ---- the command ----


def test_the_command_runs_a_part_lists_what_is_missing_and_checks_a_row(here, monkeypatch, capsys):
    monkeypatch.setitem(grid.STUDIES, "tiny", "tiny_study:STUDY")
    out = here / "tiny.csv"
    place = ["--out", str(out)]
    assert main(["study", "tiny", *place, "--only", "loss=dice", "labels=16", "--seeds", "0-1"]) == 0
    assert sorted(ran(here)) == ["dice 16 0", "dice 16 1"]
    capsys.readouterr()
    assert main(["study", "tiny", "--list", *place]) == 0
    assert capsys.readouterr().out == f"tiny: 8 runs, 2 done, 6 missing, {out}\n"
    out.write_text(out.read_text().replace(f",cpu,{results.phantom_version()},", ",cpu,999,", 1))
    assert main(["study", "--list", "tiny", *place]) == 0
    said = capsys.readouterr().out
    assert said == f"tiny: 8 runs, 1 done, 7 missing (1 of them of another phantom), {out}\n"
    assert main(["study", "tiny", *place, "--only", "loss=dice", "labels=16"]) == 0
    assert main(["study", "tiny", *place, "--check", "1"]) == 0
    assert "True" in capsys.readouterr().out
    changed = pd.read_csv(out)
    changed.loc[1, "score"] += 1
    changed.to_csv(out, index=False)
    assert main(["study", "tiny", *place, "--check", "1"]) == 1
    assert "False" in capsys.readouterr().out


def test_the_command_ends_with_1_if_a_run_failed(here, capsys):
    with open(here / "tiny_study.py", "a") as file:
        file.write('BAD = Study("bad", "tiny_study:fails", product(how=["raise"]), [0])\n')
    out = here / "bad.csv"
    assert main(["study", "tiny_study:BAD", "--out", str(out)]) == 1
    assert f"1 runs failed, see {here / 'bad.failures.txt'}" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["losing"], "unknown study 'losing'"),
        (["no_module:STUDY"], "no study at no_module:STUDY: No module named 'no_module'"),
        (["tiny_study:NONE"], "no study at tiny_study:NONE"),
        ([], "name a study"),
        (["tiny_study:STUDY", "--only", "loss=l1"], "unknown value of loss 'l1'; choose one of: bce, dice"),
        (["tiny_study:STUDY", "--seeds", "0-9"], "unknown seed 2; choose one of: 0, 1"),
        (["tiny_study:STUDY", "--check", "0", "--out", "none.csv"], "none.csv"),
    ],
)
def test_the_command_says_what_is_wrong_with_its_options(here, capsys, monkeypatch, arguments, message):
    monkeypatch.chdir(here)
    assert main(["study", *arguments]) == 1
    assert message in capsys.readouterr().err
    assert ran(here) == []


@pytest.mark.parametrize("seeds", ["", "a", "3-", "1,,2", "-1"])
def test_seeds_that_cannot_be_read_are_refused(seeds, capsys):
    with pytest.raises(SystemExit):
        main(["study", "x", f"--seeds={seeds}"])
    assert "write seeds as in 0-2 or 0,3,5-7" in capsys.readouterr().err


def test_tables_go_to_the_clone_or_else_to_the_present_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "PACKAGE", tmp_path / "mammo_utils")
    assert str(grid.table_of(STUDY)) == "tiny.csv"
    (tmp_path / "pyproject.toml").touch()
    assert grid.table_of(STUDY) == tmp_path / "data" / "results" / "tiny.csv"
    assert grid.table_of(replace(STUDY, result="shared")).name == "shared.csv"
