"""The reference of the configuration, made from its types.

`rim config schema` prints the published JSON schema (workflow/schemas/study.schema.json) and `rim config markdown` the
tables of workflow/config/README.md. A test keeps both in step with the types.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

from rim.config.study import Pair, Study
from rim.settings.common import Settings
from rim.settings.datasets import Dataset, Source
from rim.settings.forgetting import Forgetting
from rim.settings.hardware import Hardware
from rim.settings.inference import Benchmark, Inference
from rim.settings.instruments import Annotator, Endpoint, Injection, Judge, Rewrite
from rim.settings.mechanism import Mechanism
from rim.settings.models import Finetune, Lora, Mitigation, Model, Organism, Variant

PARTS: tuple[type[Settings], ...] = (
    Study,
    Dataset,
    Source,
    Model,
    Organism,
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


def schema() -> dict[str, Any]:
    """The JSON schema of a study, as published in workflow/schemas."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Study.model_json_schema()}


def markdown() -> str:
    """Every key with its type, default and meaning, as the tables of workflow/config/README.md."""
    text = []
    for model in PARTS:
        properties = model.model_json_schema()["properties"]
        text += [f"## {model.__name__}", "", " ".join(inspect.cleandoc(model.__doc__ or "").split()), ""]
        text += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for name, field in model.model_fields.items():
            default = "required" if field.is_required() else f"`{json.dumps(_plain(field.default))}`"
            text.append(f"| `{name}` | {_type_name(properties[name])} | {default} | {field.description} |")
        text.append("")
    return "\n".join(text)


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
