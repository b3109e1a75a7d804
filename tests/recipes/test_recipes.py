"""Each recipe of docs/extending.md, applied to a copy of the tree and run there."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.recipes.recipe import PAGE, Recipe, copy_tree, recipes

MOST_FILES = {
    "An activation": 5,
    "A loss": 4,
    "A layer with parameters": 6,
    "An optimizer": 4,
    "A figure of a step": 3,
    "An HTTP route": 4,
    "A client method": 4,
    "A command": 5,
}
"""Files that a recipe may touch, its test and the changelog among them."""

RECIPES = {recipe.title: recipe for recipe in recipes(PAGE.read_text())}


def test_the_page_has_these_recipes() -> None:
    assert list(RECIPES) == list(MOST_FILES)


@pytest.mark.parametrize("title", MOST_FILES)
def test_a_recipe_touches_few_files(title: str) -> None:
    recipe = RECIPES[title]
    assert len(recipe.files) <= MOST_FILES[title], recipe.files
    assert "CHANGELOG.md" in recipe.files
    assert recipe.tests


@pytest.mark.parametrize("title", MOST_FILES)
def test_a_recipe_works(title: str, tmp_path: Path) -> None:
    recipe = RECIPES[title]
    copy_tree(tmp_path)
    for edit in recipe.edits:
        edit.apply(tmp_path)
    check(recipe, tmp_path)


def check(recipe: Recipe, root: Path) -> None:
    """The recipe's own tests and format, in the copy."""
    paths = [str(root / part) for part in ("clients", "workers", "service")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
    changed = sorted(path for path in recipe.files if path.endswith(".py"))
    for command in (
        ["ruff", "check", "--no-cache", *changed],
        ["ruff", "format", "--check", "--no-cache", *changed],
        ["pytest", "-q", *recipe.tests],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command],
            cwd=root,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
