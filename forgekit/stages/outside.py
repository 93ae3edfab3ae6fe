"""Prompts whose pictures came from outside: judged like all others, and left alone by what rewrites and draws."""

from __future__ import annotations

from forgekit.store import Store

# A condition on `prompts`: their pictures were drawn here.
DRAWN_HERE = """
not exists (from generated_images i where i.prompt_id = prompts.id and json_exists(i.generation_metadata, '$.outside'))
"""
WAITING = f"""
select model, count(*) as n
from prompts
where status = 'evaluated'
  and ($experiment is null or experiment = $experiment)
  and not ({DRAWN_HERE})
group by model
order by model
"""


def outside_notes(store: Store, experiment: str | None) -> list[str]:
    """Return a note on each generator whose judged pictures came from outside: it is a name, and cannot draw a rewrite."""
    return [
        f"{row['n']} prompts have pictures from outside by {row['model']!r}, which is a name here and draws nothing: they are not "
        "refined. To go on with a generator that is here, import their texts with import_prompts(…, model=NAME), and give it as "
        "image_generator=NAME to generate_images"
        for row in store.rows(WAITING, experiment=experiment)
    ]
