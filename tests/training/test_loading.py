"""From folders and a recipe to batches."""
from src.training.loading import load_training, make_batches, make_dataset
from src.training.recipe import Recipe


def test_a_recipe_becomes_the_batches_of_an_epoch(discs, tmp_path):
    recipe = Recipe(batch_size=2, accumulate=2, steps_per_epoch=3, input_size=64, semantic_only_dir=str(discs),
                    background_dir=str(discs / "val/fg"), scale=(1.2, 1.2))
    dataset = make_dataset(discs, recipe, tmp_path / "cache")
    batches = make_batches(dataset, recipe)
    loaded = list(load_training(dataset, batches))
    assert batches.steps == 3 and [tuple(batch["image"].shape) for batch in loaded] == [(2, 3, 64, 64)] * 6
    assert sum(batch["semantic_only"].sum().item() for batch in loaded) in range(4, 8)
    assert dataset.crops.scale == (1.2, 1.2) and len(list((tmp_path / "cache").glob("*.npy"))) == 5
