"""Are the language models there that instruments ask: the key, the server, and the model's name on it.

Only what still has to be asked counts. A job whose requests have begun to be answered may have nothing left to ask, which
only the job knows, so that what is wrong with its language model is a warning then.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING

from rim.config import runs
from rim.config.study import Study
from rim.core.errors import UserError
from rim.instruments import judges
from rim.instruments.classifiers import Classifier
from rim.instruments.llm.http import OPENAI, api_key
from rim.preflight.findings import Finding, Findings, error, warning
from rim.preflight.todo import Todo, job_of
from rim.settings.instruments import Endpoint

if TYPE_CHECKING:
    import openai

TIMEOUT = 5.0  # seconds without a sign of life, for a server that does not answer
DEADLINE = 8.0  # seconds for the whole list of its models
LONGEST = 10_000_000  # bytes of that list
LISTED = 12  # models of a server that a message names
SHOWN = 80  # characters of a model's name there
COMPARED = 10_000  # models among which the one that was meant is looked for


def findings(study: Study, todo: Todo, on_cluster: bool = False) -> Findings:
    """What is wrong with the servers that jobs still have to ask.

    Args:
        on_cluster: the jobs run on other machines, which may reach what this one does not.
    """
    asked = {name: must for name in study.endpoints if (must := must_ask(study, name, todo)) is not None}
    servers = {name: study.endpoints[name] for name in asked if study.endpoints[name].kind == "openai"}
    with ThreadPoolExecutor(max(1, len(servers))) as together:
        checked = together.map(lambda name: list(_server(name, servers[name], on_cluster)), servers)
        for name, found in zip(servers, checked, strict=True):
            yield from found if asked[name] else (warning(each.where, each.what) for each in found)


def must_ask(study: Study, endpoint: str, todo: Todo) -> bool | None:
    """Whether something has to be asked of an endpoint: surely, or only perhaps (False); None where nothing has."""
    requests = [file for rule, job, file in _asking(study, endpoint) if todo(rule, job)]
    return any(not file.exists() for file in requests) if requests else None


def asked_in_chat(study: Study, endpoint: str) -> bool:
    """Whether something is asked of an endpoint as a turn of a conversation, rather than as a text to be continued."""
    continuing = {name for name, kind in judges.kinds().items() if isinstance(kind, Classifier) and kind.continued}
    asking = [judge.endpoint for judge in study.judges.values() if judge.kind not in continuing]
    asking += [annotator.endpoint for annotator in study.annotators.values()]
    asking += [rewrite.endpoint for rewrite in study.rewrites.values()]
    return endpoint in asking


def _asking(study: Study, endpoint: str) -> Iterator[tuple[str, str, Path]]:
    """The jobs that ask an endpoint, (rule, job), each with the file that keeps its requests."""
    kept = Path("data", study.study, "requests")
    for name, annotator in study.annotators.items():
        if annotator.endpoint == endpoint:
            yield "annotate_patterns", name, kept / "annotate_patterns" / f"{name}.jsonl"
    for name, rewrite in study.rewrites.items():
        if endpoint in (rewrite.endpoint, study.annotators[rewrite.annotator].endpoint):
            yield "rewrite_cot", name, kept / "rewrite_cot" / f"{name}.jsonl"
    for name, judge in study.judges.items():
        if judge.endpoint == endpoint:
            for job in _judged(study, name):
                yield "judge_responses", job, kept / "judge_responses" / f"{job}.jsonl"


def _judged(study: Study, judge: str) -> Iterator[str]:
    """The replies that a judge judges, as its jobs are named."""
    found = [("plain", runs.judged_runs(study, judge))]
    if judge == runs.main_judge(study):
        jobs = runs.model_jobs(study)
        kinds = {
            "injected": "inject_patterns",
            "without_neurons": "ablate_neurons",
            "counterfactuals": "answer_counterfactuals",
            "checkpoints": "measure_checkpoints",
        }
        found += [(replies, jobs.get(rule, [])) for replies, rule in kinds.items()]
        found.append(("without_heads", runs.ablated_runs(study)))
    for replies, each in found:
        yield from (f"{judge}/{job_of(run)}/{replies}" for run in each)


def _server(name: str, endpoint: Endpoint, on_cluster: bool) -> Findings:
    """What is wrong with a server: it is asked for its models once."""
    import openai

    where = f"endpoints.{name}"
    address = endpoint.base_url or OPENAI
    try:
        key = api_key(name, endpoint)
    except UserError as problem:
        path, _, message = str(problem).partition(": ")
        yield error(path, message)
        return
    try:
        known = asyncio.run(_models(address, key))
    except openai.AuthenticationError:
        given = f"rejects the key in {endpoint.api_key_env}; correct the key"
        wanted = "wants a key; name the environment variable that holds it"
        yield error(f"{where}.api_key_env", f"{address} {given if endpoint.api_key_env else wanted}")
    except openai.APIConnectionError as problem:
        yield _unreachable(where, address, problem, on_cluster)
    except openai.NotFoundError:
        advice = "make sure that it ends as the server's documentation says, most often in /v1"
        yield warning(
            f"{where}.base_url", f"{address}/models is not there (HTTP 404), so nothing was checked; {advice}"
        )
    except openai.APIStatusError as problem:
        status = f"answers HTTP {problem.status_code} when asked for its models"
        yield warning(where, f"{address} {status}, so nothing was checked; see whether it is up")
    except TimeoutError:
        slow = f"{address} does not send its list of models within {DEADLINE:.0f} s, so nothing was checked"
        yield warning(where, f"{slow}; see whether it is up")
    except Exception:  # whatever a server sends, it is no fault of this program
        unread = f"{address}/models cannot be read as a list of models, so nothing was checked"
        yield warning(f"{where}.base_url", f"{unread}; correct the address")
    else:
        yield from _model(name, endpoint, address, known)


async def _models(address: str, key: str) -> list[str]:
    """The names of a server's models.

    Raises:
        TimeoutError: the answer is not whole by the deadline, however steadily it drips.
        ValueError, LookupError, TypeError, RecursionError: it is no list of models.
        openai.OpenAIError: there is none.
    """
    import openai

    body = bytearray()
    async with (
        asyncio.timeout(DEADLINE),
        openai.AsyncOpenAI(base_url=address, api_key=key, timeout=TIMEOUT, max_retries=0) as client,
        client.models.with_streaming_response.list() as response,
    ):
        async for chunk in response.iter_bytes():
            body += chunk
            if len(body) > LONGEST:
                raise ValueError("too long for a list of models")
    names = [each["id"] for each in json.loads(body)["data"]]
    if not all(isinstance(each, str) for each in names):
        raise ValueError("a model without a name")
    return names


def _unreachable(where: str, address: str, problem: openai.APIConnectionError, on_cluster: bool) -> Finding:
    """A server that does not answer; a machine without a network is no verdict on it."""
    causes: list[BaseException] = [problem]
    while cause := causes[-1].__cause__ or causes[-1].__context__:
        causes.append(cause)
    if on_cluster or any(isinstance(each, socket.gaierror) for each in causes):
        return warning(where, f"{address} is not in reach from here, so it was not checked; jobs that ask it need it")
    return error(f"{where}.base_url", f"{address} does not answer; start the server there, or correct the address")


def _model(name: str, endpoint: Endpoint, address: str, known: list[str]) -> Findings:
    """Whether a server lists the model; a tag after a colon, as Ollama's `:latest`, may be left out.

    Some servers answer to names that they do not list, so that this is no verdict: the first question will tell.
    """
    names = {each for model in known for each in (model, model.partition(":")[0])}
    if endpoint.model in names or not known or any("*" in each for each in known):
        return
    near = get_close_matches(endpoint.model, known[:COMPARED], 1)
    more = f" and {len(known) - LISTED} more" if len(known) > LISTED else ""
    hint = f"; did you mean '{near[0]}'?" if near else ""
    there = f"there are: {', '.join(each[:SHOWN] for each in sorted(known)[:LISTED])}{more}"
    yield warning(f"endpoints.{name}.model", f"{address} lists no model '{endpoint.model}'; {there}{hint}")
