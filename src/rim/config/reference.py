"""The reference of the configuration, made from its types.

`rim config schema` prints the published JSON schema (workflow/schemas/study.schema.json) and `rim config markdown` the
tables of workflow/config/README.md. A test keeps both in step with the types.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

from rim.config.choices import choices
from rim.config.study import Pair, Study
from rim.data.adapters import ADAPTERS, Published
from rim.models.families import FAMILIES, MODELS, SERVED, UNREADABLE, UNSERVED
from rim.settings.common import COST, Settings
from rim.settings.datasets import Columns, Dataset, KindColumn, Source
from rim.settings.forgetting import Forgetting
from rim.settings.hardware import Hardware
from rim.settings.inference import Benchmark, Inference
from rim.settings.instruments import Annotator, Endpoint, Injection, Judge, Rewrite
from rim.settings.mechanism import Mechanism
from rim.settings.models import Finetune, Graft, Lora, Mitigation, Model, Organism, Prompt, Variant

PARTS: tuple[type[Settings], ...] = (
    Study,
    Dataset,
    Source,
    Columns,
    KindColumn,
    Model,
    Prompt,
    Organism,
    Graft,
    Variant,
    Mitigation,
    Finetune,
    Lora,
    Benchmark,
    Inference,
    Endpoint,
    Judge,
    Annotator,
    Rewrite,
    Injection,
    Pair,
    Mechanism,
    Forgetting,
    Hardware,
)


# What works with every family, each with the test that is run for it by name.
TRIED = {
    "every job": "tests/workflow/test_families.py::test_a_family_goes_through_every_step",
    "probes, attention": "tests/unit/models/test_families.py::test_reads_what_plain_hooks_and_eager_attention_give_one_prompt_at_a_time",
    "neurons": "tests/unit/models/test_families.py::test_neurons_are_the_inputs_of_the_down_projection_of_dense_layers_and_of_each_expert",
    "heads": "tests/unit/models/test_families.py::test_the_sweep_is_exact_for_every_head",
    "held neurons": "tests/unit/training/test_mitigation.py::test_neurons_of_every_family_can_be_held",
}
TRIED_WITH_VLLM = "tests/unit/models/test_vllm.py::test_families_agree_token_by_token"


def schema() -> dict[str, Any]:
    """The JSON schema of a study, as published in workflow/schemas."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **_schema_of(Study)}


def _schema_of(model: type[Settings]) -> dict[str, Any]:
    """The JSON schema of some settings, in which each key that chooses a name lists what may be chosen, and each that only
    costs says so."""
    described = model.model_json_schema()
    for part in PARTS:
        own = _own_schema(described, model, part)
        for name, field in part.model_fields.items() if own else ():
            if COST in field.metadata:
                own["properties"][name]["description"] += " A change of it runs nothing again."
    for choice in choices():
        own = _own_schema(described, model, choice.settings)
        if own:
            key = own["properties"][choice.key]
            key["description"] += choice.about
            _text_of(key)["enum"] = choice.names
    return described


def _own_schema(described: dict[str, Any], model: type[Settings], part: type[Settings]) -> dict[str, Any]:
    """Where the schema of `model` describes settings of type `part`; empty where it has none."""
    own: dict[str, Any] = described if part is model else described.get("$defs", {}).get(part.__name__, {})
    return own


def _text_of(schema: dict[str, Any]) -> dict[str, Any]:
    """The part of a schema that describes a text: itself, an item of its list, or the first of its options."""
    while schema.get("type") != "string":
        schema = schema["anyOf"][0] if "anyOf" in schema else schema["items"]
    return schema


def markdown() -> str:
    """Every key with its type, default and meaning, as the tables of workflow/config/README.md."""
    text = []
    for model in PARTS:
        properties = _schema_of(model)["properties"]
        text += [f"## {model.__name__}", "", " ".join(inspect.cleandoc(model.__doc__ or "").split()), ""]
        text += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for name, field in model.model_fields.items():
            default = "required" if field.is_required() else f"`{json.dumps(_plain(field.default))}`"
            text.append(
                f"| `{name}` | {_type_name(properties[name])} | {default} | {properties[name]['description']} |"
            )
        text.append("")
    return "\n".join([*text, *_adapters(), *_families()])


def _adapters() -> list[str]:
    """The adapters of published sets, with what a local file of each holds."""
    text = ["## Adapters", "", "| adapter | columns of a local file | kind | hub |", "|---|---|---|---|"]
    for name, adapter in ADAPTERS.items():
        if isinstance(adapter, Published):
            hub = ", ".join(f"`{each}`" for each in adapter.hub) or "none; needs a local file"
            text.append(f"| `{name}` | {adapter.columns} | {' and '.join(adapter.row_kinds)} | {hub} |")
    return [*text, ""]


def _families() -> list[str]:
    """The families of models with what works, and those that cannot be analysed with the reason."""
    text = [
        "## Families",
        "",
        "`model_type` in a model's `config.json`. Each cell stands for a test of that name with the family's:",
        "",
    ]
    text += [f"- {column}: `{test}[…]`" for column, test in (TRIED | {"vLLM": TRIED_WITH_VLLM}).items()]
    columns = ["family", "models", *TRIED, "vLLM"]
    text += ["", f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
    for name in FAMILIES:
        served = "yes" if name in SERVED else f"no: {UNSERVED[name]}" if name in UNSERVED else "not tried"
        cells = [f"`{name}`", MODELS.get(name, name), *["yes"] * len(TRIED), served]
        text.append(f"| {' | '.join(cells)} |")
    text += ["", "These cannot be analysed. Jobs that do not look into a model were not tried with them.", ""]
    text += ["| family | why |", "|---|---|"]
    for why in dict.fromkeys(UNREADABLE.values()):
        names = ", ".join(f"`{name}`" for name, reason in UNREADABLE.items() if reason == why)
        text.append(f"| {names} | {why} |")
    return [*text, ""]


def _plain(value: Any) -> Any:
    return "the defaults below" if isinstance(value, Settings) else value


def _type_name(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[-1]
    if "anyOf" in schema:
        return " or ".join(_type_name(option) for option in schema["anyOf"])
    if "enum" in schema or "const" in schema:
        return " / ".join(f"`{value}`" for value in schema.get("enum", [schema.get("const")]))
    if schema.get("type") == "array":
        return f"list of {_type_name(schema['items'])}"
    if schema.get("type") == "object":
        named = schema.get("patternProperties")
        return f"mapping to {_type_name(next(iter(named.values())))}" if named else "mapping"
    return str(schema.get("type"))
