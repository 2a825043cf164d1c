"""The table of runs: a rerun skips what is there, earlier tables go on, and processes give what one gives."""

import dataclasses

import pytest

from csrl_core.experiments import defaults, fig5
from csrl_core.experiments.fig2 import Run, jobs, make_run
from csrl_core.experiments.runs import RunTable, complete


def small(**changes):
    arguments = {"sets": ("iris",), "repetitions": 1, "backend": "numpy", "epochs": 3, "n_init": 1}
    return jobs(**arguments | changes)


def table(path):
    return RunTable(path, Run)


def test_a_rerun_makes_only_what_is_missing(tmp_path):
    listed = [job for job in small() if job.method.name in ("k-means", "TAE1", "exact likelihood")]
    path, seen = tmp_path / "runs.csv", []
    made = complete(table(path), listed[:3], make_run, n_processes=1, done=lambda *said: seen.append(said[:2]))
    assert seen == [(1, 3), (2, 3), (3, 3)]
    assert table(path).runs == made
    # A process that died while it wrote leaves half a row.
    with path.open("a") as file:
        file.write("ours,iris,TAE1,0.0")
    again, counted = table(path), []
    everything = complete(again, listed, lambda job: counted.append(job) or make_run(job), n_processes=1)
    assert counted == listed[3:]
    assert everything[:3] == made
    assert table(path).runs == everything


def test_a_run_on_another_draw_is_another_run(tmp_path):
    # Tables of older versions have runs of the papers' version on draws with a seed.
    (wanted,) = (job for job in small(versions=("papers",), sets=("orthogonal",)) if job.model == "k-means")
    (older,) = complete(table(tmp_path / "runs.csv"), [dataclasses.replace(wanted, draw=27)], make_run, n_processes=1)
    (made,) = complete(table(tmp_path / "runs.csv"), [wanted], make_run, n_processes=1)
    assert (older.draw, made.draw) == (27, None)
    assert [run.draw for run in table(tmp_path / "runs.csv").runs] == [27, None]
    assert complete(table(tmp_path / "runs.csv"), [wanted], make_run, n_processes=1) == [made]


# The first rows that earlier versions wrote, of figure 2, of figure 5, and of the defaults.
EARLIER = {
    (Run, None, "nan"): """\
version,data,model,learning_rate,repetition,draw,seed,epochs,n_init,hidden,ARI,NMI,ACC,loss,score,denoising_loss,error,\
error_assigned,parameters,n_reseeded,seconds
papers,iris,k-means,,0,,0,2,1,,0.7302382722834697,0.7581756800057784,0.8933333333333333,0.13141906904357667,\
-0.13141906904357667,0.14229354252753557,0.1319395660989405,0.1319395660989405,0,0,0.011994751999736764
ours,iris,TAE1,0.1,1,3,0,2,1,1,nan,nan,nan,nan,nan,nan,nan,nan,0,0,0.5
""",
    (fig5.Run, 6, ""): """\
data,inputs,version,model,gibbs_steps,repetition,seed,epochs,n_hidden,ais_betas,parameters,ARI,ARI_test,ARI_k_means,\
error_own,error_first,error_second,loss_first,loss_last,log_likelihood,log_likelihood_test,log_likelihood_error,\
pseudo_likelihood,pseudo_likelihood_test,n_reseeded,seconds
digits,intensities,papers,TRBM,1,0,0,2,20,20,2664,0.687364,0.703662,0.98,0.156194,0.163161,0.16344,-3.20318,-10.1024,\
-39.577,-39.6268,0.218971,-40.0548,-40.7681,0,0.0329799
digits,intensities,ours,TRBM,1,0,0,2,20,20,0,,,0.98,,,,,,,,,,,0,
""",
    (defaults.Run, None, "nan"): """\
data,model,seed,n,d,k,ARI,ARI_start,ARI_k_means,score,smallest,n_reseeded,n_warnings,seconds
iris,TAE,0,150,4,3,0.9038742317748124,0.7302382722834697,0.7302382722834697,-1.461823473111026,45,0,0,0.22878685099931317
""",
}


@pytest.mark.parametrize(("how", "text"), EARLIER.items(), ids=["fig2", "fig5", "defaults"])
def test_a_table_of_an_earlier_version_goes_on(tmp_path, how, text):
    path = tmp_path / "runs.csv"
    path.write_text(text)
    runs = RunTable(path, *how).runs
    assert path.read_text() == text
    assert all(isinstance(run.seconds, float) for run in runs)
    again = RunTable(path, *how)
    assert again.missing(runs) == []
    (other,) = again.missing([dataclasses.replace(runs[0], seed=9)])
    again.add(other)
    assert path.read_text().startswith(text)
    assert len(path.read_text().splitlines()) == len(text.splitlines()) + 1
    again.add(dataclasses.replace(other, ARI=0.25))  # of the same key: it replaces the row
    assert [run.ARI for run in RunTable(path, *how).runs][-1] == 0.25
    assert len(path.read_text().splitlines()) == len(text.splitlines()) + 1


def test_another_table_is_not_overwritten(tmp_path):
    (tmp_path / "runs.csv").write_text("a,b\n1,2\n")
    with pytest.raises(ValueError, match=r"runs.csv has other columns than this version writes"):
        table(tmp_path / "runs.csv")
    assert (tmp_path / "runs.csv").read_text() == "a,b\n1,2\n"


@pytest.mark.slow
def test_processes_give_what_one_gives(tmp_path):
    listed = [job for job in small(versions=("papers",)) if job.method.name == "AE1"]
    one = complete(table(tmp_path / "one.csv"), listed, make_run, n_processes=1)
    two = complete(table(tmp_path / "two.csv"), listed, make_run, n_processes=2)
    same = [dataclasses.replace(run, seconds=0.0) for run in one]
    assert same == [dataclasses.replace(run, seconds=0.0) for run in two]
