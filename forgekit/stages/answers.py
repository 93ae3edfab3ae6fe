"""What a stage asks a language model about one prompt: an answer is on record before it is used, and is paid for once."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from forgekit.errors import ForgekitError, ItemError
from forgekit.models import LanguageModel
from forgekit.stages.calls import reason_of
from forgekit.stages.recording import Call, recorded_call, storable
from forgekit.store import Store
from forgekit.store.rows import insert_rows

# An answer that a killed worker left behind: since then the prompt has not moved. An attempt that came to an end, also
# to a bad one, moves it, and what was answered in that attempt is not used again.
LEFT_BEHIND = """
select l.id, l.response ->> '$.text' as text
from api_logs l
join prompts p on p.id = l.prompt_id
where l.prompt_id = $prompt_id::uuid
  and l.stage = $stage
  and l.endpoint = $endpoint
  and l.request ->> '$.text' = $request
  and l.ok
  and l.learning_id is null
  and l.response is not null
  and l.created_at >= p.last_updated
  and l.id not in (select unnest($used::uuid[]))
order by l.created_at, l.id
limit 1
"""


@dataclass
class Conversation:
    """One attempt at one prompt. `calls` are the `api_logs` ids of the answers it has had, in order."""

    store: Store
    stage: str
    prompt_id: str
    calls: list[str] = field(default_factory=list)
    raised: Exception | None = None

    def ask(self, model: LanguageModel, request: str) -> str | ItemError:
        """Return the model's answer, after its row was committed; an exception of the model is recorded and goes on."""
        left = self.store.rows(
            LEFT_BEHIND,
            prompt_id=self.prompt_id,
            stage=self.stage,
            endpoint=model.name,
            request=request,
            used=self.calls,
        )
        if left:
            self.calls.append(left[0]["id"])
            return left[0]["text"]
        try:
            with recorded_call(self.stage, model.name, request, prompt_id=self.prompt_id) as call:
                answer = _one_answer(model, request)
                if isinstance(answer, ItemError):
                    call.errors.append(answer.reason)
                else:
                    call.response = answer
        except Exception as error:
            self.raised = error
            self._keep(call.row())
            raise
        self._keep(call.row())
        return answer

    def failure(self, call: Call, error: Exception) -> tuple[str, list[dict[str, Any]]]:
        """Return why the attempt failed, and for an unexpected error its row with the traceback.

        There is no row where the model itself raised: its call has one.
        """
        told = isinstance(error, ForgekitError) or error is self.raised
        return reason_of(error), [] if told else [call.row()]

    def _keep(self, row: dict[str, Any]) -> None:
        self.calls.append(row["id"])
        with self.store.transaction() as con:
            insert_rows(con, "api_logs", [row])


def _one_answer(model: LanguageModel, request: str) -> str | ItemError:
    answers = model.generate([request])
    if len(answers) != 1 or not isinstance(answers[0], str | ItemError):
        return ItemError(f"{model.name} answered one request with {answers!r:.100}; it must be one text")
    answer = answers[0]  # what the store cannot hold (half a character) is made such that it can
    return storable(answer) if isinstance(answer, str) else ItemError(storable(answer.reason))
