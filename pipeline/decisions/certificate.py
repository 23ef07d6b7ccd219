"""The certificate that lets a version serve, signed with the promoter's key, and every check of it."""

import hmac
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from pipeline.decisions.keys import Statement, key_id, public_text, sign, verified
from pipeline.errors import VerdictError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

SCHEMA = 1

Scope = Literal["shadow", "canary", "champion"]


class Grant(BaseModel):
    """What a certificate grants.

    Attributes:
        model_name: The registered model.
        version: Its version.
        model_digest: SHA-256 of the graph's bytes.
        gate_digest: Digest of the verdict it rests on, or goes over.
        scope: What it may serve as.
        sequence: Number of the decision in the log; whatever serves never takes a lower one again.
        reviewer: Who approved; empty where an override needed nobody.
        override: A rule was broken on purpose.
        output_contract: Version of the form of the model's answers.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    model_name: str
    version: int
    model_digest: str
    gate_digest: str
    scope: Scope
    sequence: int = Field(ge=1)
    reviewer: str
    override: bool
    output_contract: int


class Certificate(Grant):
    """A signed grant.

    Attributes:
        schema_version: Of this record.
        key_id: Of the key that signed.
        issued_at: ISO 8601, UTC.
        signature: Over all the others.
    """

    schema_version: int = SCHEMA
    key_id: str
    issued_at: str
    signature: str

    def signed_by(self, public: str) -> bool:
        """Whether this key has signed it as it stands."""
        content = self.model_dump(exclude={"signature"})
        return key_id(public) == self.key_id and verified(public, Statement.CERTIFICATE, content, self.signature)


def issue(private: "Ed25519PrivateKey", grant: Grant) -> Certificate:
    """Signs a grant."""
    content = {
        **grant.model_dump(),
        "schema_version": SCHEMA,
        "key_id": key_id(public_text(private)),
        "issued_at": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    return Certificate.model_validate({**content, "signature": sign(private, Statement.CERTIFICATE, content)})


def parse_certificate(content: object) -> Certificate:
    """Reads a certificate that came from outside; `check` says whether it holds.

    Raises:
        VerdictError: It is of an unknown schema, or has not a certificate's fields.
    """
    _check_schema(content.get("schema_version") if isinstance(content, dict) else None)
    try:
        return Certificate.model_validate(content)
    except ValidationError as error:
        fields = ", ".join(sorted({".".join(map(str, each["loc"])) for each in error.errors()}))
        raise VerdictError(f"The certificate is malformed or forged: {fields}. Only a promotion issues one.") from None


def check(
    certificate: Certificate,
    *,
    public_keys: Sequence[str],
    model_name: str,
    model_bytes_digest: str,
    scope: Scope,
    last_sequence: int,
    version: int | None = None,
) -> None:
    """Refuses a certificate that does not let exactly these bytes serve in this scope now.

    Args:
        certificate: What came with the model.
        public_keys: Of the promoter, from configuration and never from where the model comes from.
        model_name: The model that is asked for.
        model_bytes_digest: SHA-256 of the bytes that are about to be loaded.
        scope: What they are about to serve as.
        last_sequence: The highest sequence number that was ever served here; 0 before the first.
        version: The version that is asked for; None where the certificate says which.

    Raises:
        VerdictError: The message names what is wrong.
    """
    _check_schema(certificate.schema_version)
    check_signature(certificate, public_keys)
    title = f"The certificate of {certificate.model_name} version {certificate.version}"
    if not _same(certificate.model_name, model_name):
        raise VerdictError(f"{title} is not for model {model_name!r}. Load the model that it names.")
    if version is not None and certificate.version != version:
        raise VerdictError(f"{title} is not for version {version}. Promote that version to certify it.")
    if certificate.scope != scope:
        raise VerdictError(f"{title} is for the scope '{certificate.scope}', not for '{scope}'. Promote it for that.")
    if not _same(certificate.model_digest, model_bytes_digest):
        raise VerdictError(
            f"{title} is for a model with the digest {certificate.model_digest}, the bytes have {model_bytes_digest}: "
            "the model file was changed. Restore it, or register and promote what it is now."
        )
    if certificate.sequence < last_sequence:
        raise VerdictError(
            f"{title} has sequence number {certificate.sequence}, but {last_sequence} was served already: an older "
            "certificate is replayed. To go back, run `segloop rollback`, which issues a new one."
        )


def check_signature(certificate: Certificate, public_keys: Sequence[str]) -> None:
    """Refuses a certificate that none of the trusted keys has signed as it stands.

    Raises:
        VerdictError: The message tells another key from changed content.
    """
    title = f"The certificate of {certificate.model_name} version {certificate.version}"
    if any(certificate.signed_by(public) for public in public_keys):
        return
    trusted = [key_id(public) for public in public_keys]
    if certificate.key_id not in trusted:
        known = ", ".join(trusted) or "none"
        raise VerdictError(f"{title} is signed by another key, {certificate.key_id}; trusted: {known}.")
    raise VerdictError(
        f"{title} does not fit its signature: a field was changed, or another key signed in the name of "
        f"{certificate.key_id}. Take the certificate from the decision log."
    )


def _check_schema(version: Any) -> None:
    if version != SCHEMA:
        raise VerdictError(
            f"The certificate has schema {version!r}; this program knows {SCHEMA}. Use the one that fits."
        )


def _same(one: str, other: str) -> bool:
    return hmac.compare_digest(one.encode(), other.encode())
