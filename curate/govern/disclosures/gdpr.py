"""Entry for the record of processing activities: GDPR, Regulation (EU) 2016/679, article 30(1).

What a pipeline knows of preparing a training set: kinds of data, sources, safeguards, take-downs. The rest is the
controller's, and named as open.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from curate.govern.disclosures.form import Form
from curate.govern.disclosures.known import PRIVACY, personal, pointers, stage, used

NAME = "gdpr-record"
TITLE = "Entry for the record of processing activities (GDPR, Article 30)"
BASIS = (
    "Regulation (EU) 2016/679, Article 30(1), for the activity of preparing this release as training data."
)


def fields(manifest: Mapping[str, Any]) -> Form:
    """Return the entry's fields."""
    form = Form(manifest, NAME)
    form.section = "Entry"
    why = "Declared for the release; who decides on purposes and means is for a person to say."
    form.stated("30.1.a", "Controller", "/recipe/about/creator", PRIVACY, as_proposal=why)
    form.stated(
        "30.1.a.contact", "Contact of the controller", "/recipe/about/contact", PRIVACY, as_proposal=why
    )
    form.unanswered("30.1.a.dpo", "Data protection officer", PRIVACY, "Name one, or say why none is needed.")
    form.unanswered("30.1.b", "Purposes of the processing", PRIVACY, "Say what the release is prepared for.")
    form.unanswered(
        "6.1", "Lawful basis (Article 6)", PRIVACY, "Name the basis; for legitimate interest, the test."
    )
    _data(form)
    form.unanswered("30.1.d", "Recipients", PRIVACY, "Say who gets the release, and removed/ if it is kept.")
    form.unanswered(
        "30.1.e", "Transfers to third countries", PRIVACY, "Say where the release is stored and copied to."
    )
    _keeping(form)
    _rights(form)
    return form


def _data(form: Form) -> None:
    sources = used(form.manifest)
    declared = [s for s in sources if s.about.get("personal_data")]
    rows = [{"source": s.label, "personal data": s.about["personal_data"]} for s in declared]
    question = "Categories of data subjects, and sources of the data (Article 14(2)(f))"
    if rows:
        note = "Which people these are is for a person to say."
        form.proposed("30.1.c.people", question, rows, pointers(declared, "personal_data"), note, PRIVACY)
    else:
        form.unanswered("30.1.c.people", question, PRIVACY, "Write `personal_data` in the source manifests.")
    found = personal(form.manifest)
    question = "Categories of personal data"
    if stage(form.manifest, "pii") is None:
        note = "No stage of the recipe looked for personal data; add the stage `pii`."
        form.unanswered("30.1.c.data", question, PRIVACY, note)
        return
    listed = [{"kind": kind, "finds edited in kept records": n} for kind, n in found.items()]
    note = (
        "As found by rule; special categories (Article 9), such as health or belief, no rule can tell. A find that led "
        "to a record's removal is not counted here."
    )
    form.measured("30.1.c.data", question, listed or "None was found by rule.", ["/statistics/edits"], note)


def _keeping(form: Form) -> None:
    output = form.manifest["recipe"]["output"]
    if not output["keep_removed"]:
        text = "What was dropped or quarantined, and the originals of edited records, were not kept."
    elif output.get("encrypt_removed"):
        text = "What was dropped or quarantined, and the originals of edited records, are in removed/, encrypted."
    else:
        text = "What was dropped or quarantined, and the originals of edited records, are in removed/, in the clear."
    note = "For how long the release and removed/ are kept is for a person to say."
    form.proposed("30.1.f", "Time limits for erasure", text, ["/recipe/output"], note, PRIVACY)
    place = stage(form.manifest, "pii")
    measures = ["every file is listed with its hash"]
    where = ["/outputs", "/recipe/output"]
    if place is not None:
        operator = form.manifest["recipe"]["stages"][place]["options"].get("operator")
        measures.append(f"personal data that was found was edited (operator {operator})")
        where.append(f"/recipe/stages/{place}")
    if output.get("encrypt_removed"):
        measures.append("removed/ is encrypted")
    note = "Access control and backups are the controller's."
    text = "; ".join(measures) + "."
    form.derived("30.1.g", "Technical and organisational measures", text[0].upper() + text[1:], where, note)


def _rights(form: Form) -> None:
    question = "Requests for erasure (Article 17)"
    requests = form.manifest.get("takedowns") or []
    if requests:
        rows = [
            {
                "request": r["request"],
                "received": r["received"],
                "done": r["done"],
                "records": r["records"],
                "near-duplicates": r["near_duplicates"],
            }
            for r in requests
        ]
        form.measured("17.1", question, rows, ["/takedowns"])
    else:
        note = "A record is found by id, author, address or text; see `curate takedown`."
        form.derived("17.1", question, "None was carried out on this release.", ["/counts/kept"], note)
    form.unanswered(
        "35.1",
        "Data protection impact assessment (Article 35)",
        PRIVACY,
        "Link it, or say why none is needed.",
    )
