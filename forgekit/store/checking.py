"""`forgekit check`: what DuckDB cannot declare, looked up."""

from __future__ import annotations

from dataclasses import dataclass, field

from forgekit.errors import ItemError
from forgekit.store import Store
from forgekit.store.images import stored_file

MIRROR_NOTE = "mlartifacts/lies-in.txt"  # where the folder lay when `forgekit track` wrote there

# Each query names rows that should not be: (what, id).
PROBLEMS = {
    "best_image_id is no image of the prompt": """
        select p.id from prompts p
        where p.best_image_id is not null
          and not exists (from generated_images i where i.id = p.best_image_id and i.prompt_id = p.id)
    """,
    "first_prompt_id is no prompt of the scene": """
        select s.scene_hash as id from scenes s
        where not exists (from prompts p where p.id = s.first_prompt_id and p.scene_hash = s.scene_hash)
    """,
    "evaluation and image disagree about the prompt": """
        select e.id from image_evaluations e
        join generated_images i on i.id = e.image_id
        where e.prompt_id <> i.prompt_id
    """,
    "evaluation and prompt disagree about the scene": """
        select e.id from image_evaluations e
        join prompts p on p.id = e.prompt_id
        where e.scene_hash <> p.scene_hash
    """,
    "parent prompt belongs to another scene or experiment": """
        select c.id from prompts c
        join prompts p on p.id = c.parent_prompt_id
        where (c.scene_hash, c.experiment) <> (p.scene_hash, p.experiment)
    """,
    "an element score lies outside [0, 1]": """
        select evaluation_id as id from element_scores where not score between 0 and 1
    """,
    "generated, but without an image": """
        select p.id from prompts p
        where p.status in ('generated', 'evaluating', 'evaluated')
          and not exists (from generated_images i where i.prompt_id = p.id)
    """,
    "no call is on record for the decision of a learning": """
        select l.id from prompt_learnings l
        where not exists (from api_logs a where a.learning_id = l.id and a.stage = 'refine')
    """,
}


@dataclass
class CheckReport:
    """What is wrong with a store: one line per finding."""

    images: int
    findings: list[str] = field(default_factory=list)

    @property
    def failed(self) -> int:
        """How many findings there are."""
        return len(self.findings)

    def __str__(self) -> str:
        if not self.findings:
            return f"check: all is well ({self.images} images, {len(PROBLEMS)} rules)"
        return "\n".join([f"check: {len(self.findings)} findings", *(f"  {finding}" for finding in self.findings)])

    __repr__ = __str__


def check(store: Store) -> CheckReport:
    """Look for rows that contradict each other, and for image files that are missing."""
    paths = store.rows("select id, image_path from generated_images order by id")
    report = CheckReport(images=len(paths))
    for problem, sql in PROBLEMS.items():
        report.findings += [f"{problem}: {row['id']}" for row in store.rows(f"{sql} order by all")]
    for row in paths:
        file = stored_file(store.folder, row["image_path"])
        if isinstance(file, ItemError):
            report.findings.append(f"image path is refused: {file.reason} (image {row['id']})")
        elif not file.exists():
            report.findings.append(f"image file is missing: {row['image_path']} (image {row['id']})")
    return _with_mirror(store, report)


def _with_mirror(store: Store, report: CheckReport) -> CheckReport:
    """Note where the MLflow mirror beside the store was written elsewhere: MLflow keeps absolute paths of its artifacts."""
    note = store.folder / MIRROR_NOTE
    place = note.read_text(errors="replace")[:1000].strip() if note.is_file() else str(store.folder)
    if place != str(store.folder):
        finding = "the MLflow mirror shows no pictures until the next `forgekit track`: it was written when it lay in"
        report.findings.append(f"{finding} {place!r}")
    return report
