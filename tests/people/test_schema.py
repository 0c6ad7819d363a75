"""The administration API against its own description: whatever is sent, no answer is the server's fault."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from registry.server.admin import VIEWS
from tests.people.conftest import Visitor

NAMES = ["team/api", "team/api:1.0", "spectro-packs/archive/local-storage", "../../etc", "a@sha256:0", "%00"]


@pytest.mark.parametrize("user", ["admin", "reader", "nothing"])
@pytest.mark.parametrize("is_good", [True, False], ids=["as described", "against the description"])
@pytest.mark.parametrize("view", VIEWS, ids=lambda view: view.path)
def test_no_request_breaks_the_api(visitor: Visitor, view: Any, is_good: bool, user: str) -> None:  # noqa: ANN401 - a row
    schemathesis = pytest.importorskip("schemathesis", reason="schemathesis is not installed")
    checks = pytest.importorskip("schemathesis.specs.openapi.checks")
    described = json.loads(visitor.by("admin").ask("/api/v1/openapi.json").data)
    schema = schemathesis.openapi.from_dict(described)
    operation = schema[f"/api/v1/{view.path.replace(':path', '')}"]["GET"]
    places = {one["in"] for one in described["paths"][operation.path]["get"].get("parameters", [])}
    if not is_good and "query" not in places:
        return  # any text is a name, so nothing can be asked wrongly
    mode = schemathesis.GenerationMode.POSITIVE if is_good else schemathesis.GenerationMode.NEGATIVE
    wanted = [
        schemathesis.checks.not_a_server_error,
        checks.content_type_conformance,
        checks.response_headers_conformance,
        checks.response_schema_conformance,
        checks.status_code_conformance,
        *([] if is_good else [checks.negative_data_rejection]),
    ]

    @settings(max_examples=40, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Any) -> None:  # noqa: ANN401 - schemathesis' own
        case.call_and_validate(base_url=visitor.url, auth=(user, f"pw-{user}"), checks=wanted)

    ask()


@pytest.mark.parametrize("name", NAMES)
def test_names_of_any_kind_get_an_answer_in_the_apis_form(visitor: Visitor, name: str) -> None:
    for view in VIEWS:
        if "{" in view.path:
            answer = visitor.by("admin").ask("/api/v1/" + view.path.replace("{name:path}", name))
            assert answer.status in (200, 404)
            assert ("errors" in json.loads(answer.data)) == (answer.status == 404)


def test_the_description_is_for_whoever_may_ask_and_names_every_path(visitor: Visitor) -> None:
    assert visitor.ask("/api/v1/openapi.json").status == 401
    value = json.loads(visitor.by("nothing").ask("/api/v1/openapi.json").data)
    assert set(value["paths"]) == {f"/api/v1/{view.path.replace(':path', '')}" for view in VIEWS}
    assert "422" not in json.dumps(value)
