"""Tests of `siamese.report.files`, `curves` and `words`."""

import json

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from siamese.errors import DiskError
from siamese.evaluation.baselines import plain_baselines
from siamese.evaluation.evaluate import evaluate
from siamese.report.curves import curve_plots, curves_figure
from siamese.report.files import write_report
from siamese.report.words import comparison_table, summary
from tests.test_evaluate import CATALOG, SCORES, TRUTH, decision, evaluated
from tests.test_sheets import match, row


def history(num_rounds=3):
    rounds = np.arange(1, num_rounds + 1)
    shares = dict.fromkeys(("accuracy", "correct_pairs"), 1 - 0.5 / rounds)
    seconds = {f"seconds_{stage}": 2.0 * rounds for stage in ("embed", "score", "assign", "fit")}
    settings = {"phase": 1, "learning_rate": 64e-5, "noise": 100.0 / rounds**3, "l2": 0.0}
    return pd.DataFrame({"round": rounds, "loss": 1 / rounds, "mean_score": -rounds, **shares, **seconds, **settings})


def metrics_with_baselines(evaluation):
    nearest = {"map5": np.float32(0.25), "map5_known": 0.1, "auc_new": float("nan")}
    return {
        **evaluation.metrics,
        "seconds": 12.5,
        "baselines": {**plain_baselines(evaluation), "nearest_pixels": nearest},
    }


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes]


def test_a_report_holds_numbers_tables_and_pictures(tmp_path):
    evaluation = evaluated()
    metrics = metrics_with_baselines(evaluation)
    write_report(
        tmp_path / "report", evaluation=evaluation, metrics=metrics, history=history(), sheet_rows=[row(match(True))]
    )
    names = sorted(path.name for path in (tmp_path / "report").iterdir())
    assert names == ["curves.png", "metrics.json", "ranking.csv", "sheet.png", "submission.csv", "summary.md"]
    ranking = pd.read_csv(tmp_path / "report" / "ranking.csv")
    assert ranking[ranking["rank"] == 1]["identity"].tolist()[:4] == ["ann", "ann", "new_individual", "new_individual"]
    submission = pd.read_csv(tmp_path / "report" / "submission.csv")
    assert submission.loc[2].tolist() == ["c", "new_whale cleo ann bob"]
    with Image.open(tmp_path / "report" / "curves.png") as curves:
        assert curves.width > 1000


def test_the_metrics_are_valid_json_with_null_for_what_was_not_measured(tmp_path):
    evaluation = evaluate(SCORES[:2], CATALOG, TRUTH[:2], query_ids=["a", "b"], decision=decision())
    write_report(tmp_path, evaluation=evaluation, metrics=metrics_with_baselines(evaluation))

    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    metrics = json.loads((tmp_path / "metrics.json").read_text(), parse_constant=refuse)
    assert metrics["auc_new"] is None
    assert metrics["baselines"]["nearest_pixels"] == {"map5": 0.25, "map5_known": 0.1, "auc_new": None}
    assert {"map5", "map5_known", "top1", "top5", "seconds", "num_known"} <= set(metrics)


def test_without_rows_there_is_no_sheet(tmp_path):
    write_report(tmp_path, evaluation=evaluated(), metrics=evaluated().metrics)
    assert not (tmp_path / "sheet.png").exists()


def test_the_table_sets_the_model_against_its_baselines():
    table = comparison_table(metrics_with_baselines(evaluated()))
    assert table["method"].tolist() == ["this model", "nearest pixels", "always new individual", "chance"]
    assert table.columns.tolist() == ["method", "map5", "map5_known", "map5_closed", "top1", "top5", "auc_new"]
    assert table["map5"].tolist() == pytest.approx([0.7, 0.25, 0.4, (1 + 1 / 2 + 1 / 3 + 1 / 4) / 4])
    assert table["top1"].isna().tolist() == [False, True, True, True]


def test_the_table_stands_in_the_summary(tmp_path):
    evaluation = evaluated()
    write_report(tmp_path, evaluation=evaluation, metrics=metrics_with_baselines(evaluation))
    text = (tmp_path / "summary.md").read_text()
    assert "| this model | 0.700 | 0.667 | 0.833 | 0.667 | 1.000 |" in text
    assert "| nearest pixels | 0.250 | 0.100 |  |  |  |  |" in text


def test_the_summary_says_in_words_what_was_asked_and_found():
    words = summary(evaluated().metrics)
    for sentence in (
        "Asked were 5 photos that took no part in training",
        "3 of individuals in the catalog (which holds 3) and 2 of new ones.",
        "1 more were not counted",
        "stands first for 66.7% of the photos of known ones and among the first five for 100.0%.",
        'A best score under 5.000 is answered "new individual".',
        "That was said of 50.0% of the photos of new individuals, rightly.",
        "It was said of 33.3% of the photos of known ones, wrongly.",
        "MAP@5 is 0.700 (0.667 over known individuals).",
    ):
        assert sentence in words


def test_the_summary_passes_over_what_was_not_measured():
    assert summary({"map5": 0.5, "auc_new": float("nan"), "top1": None}) == "MAP@5 is 0.500."


def test_the_curves_show_training_and_evaluation():
    assert titles(curves_figure(evaluated(), history())) == [
        "Loss",
        "Pairs told apart",
        "Mean score of the score matrix",
        "K: noise on the scores",
        "Learning rate",
        "Time of each stage",
        "Known individuals found (CMC)",
        "MAP@5 against the threshold",
        "Best score of each query",
    ]


@pytest.mark.parametrize("records", [None, pd.DataFrame(), history()[["loss", "seconds_fit"]], history(1)])
def test_the_curves_draw_what_is_there(tmp_path, records):
    figure = curves_figure(evaluated(), records)
    figure.savefig(tmp_path / "curves.png")
    training = 0 if records is None else min(6, len(records.columns))
    assert len(figure.axes) == training + 3


def test_a_column_without_numbers_is_left_out():
    assert "Loss" not in titles(curves_figure(evaluated(), history().assign(loss=np.nan)))


def test_a_report_over_no_query_can_be_drawn(tmp_path):
    evaluation = evaluate(np.ones((0, 4)), CATALOG, [], query_ids=[], decision=decision())
    write_report(tmp_path, evaluation=evaluation, metrics=metrics_with_baselines(evaluation), history=history())
    assert json.loads((tmp_path / "metrics.json").read_text())["map5"] is None


def test_a_place_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "report").write_text("a file, not a folder")
    with pytest.raises(DiskError, match="must be writable"):
        write_report(tmp_path / "report", evaluation=evaluated(), metrics=evaluated().metrics)


def test_the_plots_of_the_page_say_what_they_show():
    plots = {title: (svg, shows) for title, svg, shows in curve_plots(evaluated(), history())}
    assert plots["Loss"][1] == "loss (lower is better), over round"
    assert plots["Best score of each query"][1] == "share of its kind, over score (higher is more alike)"
    assert all(svg.startswith("<?xml") for svg, _ in plots.values())


def test_the_shares_at_the_ticks_are_told_whole():
    figure = curves_figure(evaluated())
    axes = figure.axes[-1]
    axes.set_ylim(0, 0.21)
    axes.set_yticks([0.025, 0.05, 0.075])
    figure.canvas.draw()
    assert [tick.get_text() for tick in axes.get_yticklabels()] == ["2.5%", "5.0%", "7.5%"]
