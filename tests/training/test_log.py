"""The log of a training run."""
import json

from src.training.log import open_tensorboard, write_log, write_scalars

ROW = {"epoch": 0, "semantic": 0.5, "detail": 0.25, "matte": 1.0, "loss": 1.75}


def test_tensorboard_gets_every_number_and_forgets_what_is_done_again(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    for start, factor in ((0, 1), (1, 10)):
        writer = open_tensorboard(tmp_path / "a", start)
        for epoch in range(start, 2):
            write_scalars(writer, {**ROW, "epoch": epoch, "loss": factor * 1.75})
        writer.close()
    events = EventAccumulator(str(tmp_path / "a_tensorboard"))
    events.Reload()
    assert [(event.step, event.value) for event in events.Scalars("loss")] == [(0, 1.75), (1, 17.5)]
    assert set(events.Tags()["scalars"]) == ROW.keys()


def test_epochs_without_validation_are_left_out_of_the_curves(tmp_path):
    write_log([ROW, {**ROW, "epoch": 1, "val_mse": 0.1, "val_mad": 0.2}], tmp_path / "a")
    rows = [json.loads(line) for line in (tmp_path / "a_log.jsonl").read_text().splitlines()]
    assert rows[0] == ROW and (tmp_path / "a_curves.png").stat().st_size > 1000
