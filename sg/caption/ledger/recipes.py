"""Recipes in a ledger: the identities behind their names, and the renaming of results of an earlier version.

A recipe is a prompt, a model and the settings that decide an answer. A ledger keeps the results of every recipe.
"""

import contextlib
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from sg.caption.ledger.ledger import SUCCEEDED, Ledger
from sg.caption.ledger.reading import open_for_reading
from sg.core.errors import MissingInputError
from sg.core.identity import Identity, from_plain


def task_key(item_key: str, recipe: str) -> str:
    """The key of the task to caption a video with a recipe: the same in every ledger."""
    return hashlib.sha256(f"{item_key}|{recipe}".encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class OtherRecipe:
    """A recipe of the ledger that is not the current one; `identity` is None in ledgers of an early version."""

    captions: int
    identity: Identity | None


def record_recipe(ledger: Ledger, recipe: Identity) -> None:
    """Store the identity behind a recipe's name, so that a later run can say which setting differs."""
    values = (recipe.name, json.dumps(recipe.plain(), sort_keys=True))
    with ledger.transaction() as db:
        db.execute("INSERT OR REPLACE INTO recipe VALUES (?, ?)", values)


def other_recipes(path: Path, recipe: str) -> list[OtherRecipe]:
    """The other recipes of a ledger that has no task of `recipe`, the one with most captions first; else nothing."""
    if not path.is_file():
        return []
    with contextlib.closing(Ledger(path)) as ledger:
        db = ledger.connection
        if db.execute("SELECT 1 FROM task WHERE recipe=? LIMIT 1", (recipe,)).fetchone():
            return []
        rows = db.execute(
            "SELECT COUNT(*), r.identity FROM task t LEFT JOIN recipe r ON r.name=t.recipe WHERE t.state=? "
            "GROUP BY t.recipe ORDER BY 1 DESC",
            (SUCCEEDED,),
        ).fetchall()
    return [OtherRecipe(int(count), from_plain(json.loads(text)) if text else None) for count, text in rows]


def rename_recipe(path: Path, former: str, name: str) -> int:
    """Give the tasks, results and attempts of recipe `former` the name `name`; returns the number of tasks.

    Earlier versions named the same recipe in another way. Without the renaming, its answers would be bought again.
    """
    try:
        opened = open_for_reading(path, whole=False)
    except MissingInputError:
        return 0
    with contextlib.closing(opened) as db:
        if not db.execute("SELECT 1 FROM task WHERE recipe=? LIMIT 1", (former,)).fetchone():
            return 0
    with contextlib.closing(Ledger(path)) as ledger:
        ledger.connection.create_function("key_of", 2, task_key, deterministic=True)
        with ledger.transaction() as db:
            for table in ("result", "attempt"):
                db.execute(
                    f"UPDATE OR IGNORE {table} SET task_key=(SELECT key_of(t.item_key, ?) FROM task t "
                    f"WHERE t.task_key={table}.task_key) WHERE task_key IN (SELECT task_key FROM task WHERE recipe=?)",
                    (name, former),
                )
            renamed = db.execute(
                "UPDATE OR IGNORE task SET task_key=key_of(item_key, ?), recipe=? WHERE recipe=?", (name, name, former)
            ).rowcount
    return int(renamed)
