"""Tests of the certificate: what it lets serve, and every way to cheat."""

from typing import Any

import pytest
from decisions import INTRUDER, MODEL, PROMOTER, grant_of, key_of, model_digest

from pipeline.decisions.certificate import Certificate, check, issue, parse_certificate
from pipeline.decisions.keys import key_id, public_text
from pipeline.errors import VerdictError

GENUINE = issue(PROMOTER, grant_of(3, 7, gate_digest="b" * 64))
EXPECTED: dict[str, Any] = {
    "public_keys": [public_text(PROMOTER)],
    "model_name": MODEL,
    "model_bytes_digest": model_digest(3),
    "scope": "champion",
    "last_sequence": 7,
}


def forged(**fields: Any) -> Certificate:
    """The genuine certificate with fields changed, as someone without the key would."""
    return GENUINE.model_copy(update=fields)


@pytest.mark.parametrize("last_sequence", [0, 6, 7])
def test_a_genuine_certificate_lets_its_bytes_serve(last_sequence: int) -> None:
    """It holds at first, after lower numbers, and again after a restart."""
    check(GENUINE, **{**EXPECTED, "last_sequence": last_sequence}, version=3)


def test_a_certificate_survives_its_json() -> None:
    """What was written as JSON is read as the same certificate, which still holds."""
    read = parse_certificate(GENUINE.model_dump(mode="json"))
    assert read == GENUINE
    check(read, **EXPECTED)


def test_another_key_is_refused() -> None:
    """A certificate of a key that is not trusted is named as such."""
    with pytest.raises(VerdictError, match=f"another key, {key_id(public_text(INTRUDER))}"):
        check(issue(INTRUDER, grant_of(3, 7)), **EXPECTED)


def test_another_key_in_the_name_of_the_promoters_is_refused() -> None:
    """Naming the trusted key's id does not make its signature."""
    stolen = issue(INTRUDER, grant_of(3, 7)).model_copy(update={"key_id": key_id(public_text(PROMOTER))})
    with pytest.raises(VerdictError, match="does not fit its signature"):
        check(stolen, **EXPECTED)


def test_without_a_trusted_key_nothing_is_believed() -> None:
    """An empty configuration trusts nobody."""
    with pytest.raises(VerdictError, match="trusted: none"):
        check(GENUINE, **{**EXPECTED, "public_keys": []})


def test_a_key_that_is_being_replaced_still_counts() -> None:
    """Any of several trusted keys may have signed."""
    check(GENUINE, **{**EXPECTED, "public_keys": [public_text(key_of(4)), public_text(PROMOTER)]})


@pytest.mark.parametrize(
    "field",
    [
        {"model_name": "other"},
        {"version": 4},
        {"model_digest": model_digest(4)},
        {"gate_digest": "c" * 64},
        {"scope": "shadow"},
        {"sequence": 99},
        {"reviewer": "mallory"},
        {"override": True},
        {"output_contract": 2},
        {"issued_at": "2030-01-01T00:00:00+00:00"},
    ],
    ids=lambda field: next(iter(field)),
)
def test_a_forged_field_is_refused(field: dict[str, Any]) -> None:
    """Each field is under the signature, also where the reader expects what the forger wrote."""
    expected = {**EXPECTED, "model_name": field.get("model_name", MODEL), "scope": field.get("scope", "champion")}
    expected["model_bytes_digest"] = field.get("model_digest", model_digest(3))
    with pytest.raises(VerdictError, match="does not fit its signature"):
        check(forged(**field), **expected)


@pytest.mark.parametrize(
    "signature", ["", "rubbish", GENUINE.signature[:-4] + "AAA="], ids=["empty", "rubbish", "changed"]
)
def test_a_damaged_signature_is_refused(signature: str) -> None:
    """Whatever stands in its place."""
    with pytest.raises(VerdictError, match="does not fit its signature"):
        check(forged(signature=signature), **EXPECTED)


@pytest.mark.parametrize(
    ("expected", "said"),
    [
        ({"model_name": "other"}, "not for model 'other'"),
        ({"version": 4}, "not for version 4"),
        ({"scope": "canary"}, "for the scope 'champion', not for 'canary'"),
        ({"model_bytes_digest": "f" * 64}, "the model file was changed"),
        ({"last_sequence": 8}, "an older certificate is replayed"),
    ],
)
def test_a_genuine_certificate_is_refused_elsewhere(expected: dict[str, Any], said: str) -> None:
    """Another model, a copied version, a wrong scope, changed bytes or a replay: each is named."""
    with pytest.raises(VerdictError, match=said):
        check(GENUINE, **{**EXPECTED, **expected})


def test_a_champions_place_is_not_taken_with_a_shadows_certificate() -> None:
    """A lesser scope does not grant a greater one."""
    with pytest.raises(VerdictError, match="for the scope 'shadow'"):
        check(issue(PROMOTER, grant_of(3, 7, scope="shadow")), **EXPECTED)


@pytest.mark.parametrize("version", [0, 2, "1", None, True])
def test_an_unknown_schema_is_refused(version: object) -> None:
    """A certificate of another time is not guessed at."""
    with pytest.raises(VerdictError, match="schema"):
        parse_certificate({**GENUINE.model_dump(), "schema_version": version})


def test_a_schema_forged_after_reading_is_refused() -> None:
    """The check looks for itself."""
    with pytest.raises(VerdictError, match="schema 2"):
        check(forged(schema_version=2), **EXPECTED)


@pytest.mark.parametrize(
    "change", [{"extra": 1}, {"sequence": "7"}, {"sequence": 0}, {"scope": "all"}, {"override": 0}, {"reviewer": None}]
)
def test_a_malformed_certificate_is_refused(change: dict[str, Any]) -> None:
    """Unknown fields and wrong types are told by the field's name."""
    with pytest.raises(VerdictError, match=f"malformed or forged: {next(iter(change))}"):
        parse_certificate({**GENUINE.model_dump(), **change})


@pytest.mark.parametrize("content", [None, [], "text", {}])
def test_what_is_no_certificate_is_refused(content: object) -> None:
    """Whatever came in its place."""
    with pytest.raises(VerdictError, match="schema None"):
        parse_certificate(content)
