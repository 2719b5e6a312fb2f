"""Section 2 of the EU summary: which kinds of sources the records come from, kind by kind."""

from __future__ import annotations

from typing import Any

from curate.govern.disclosures.form import Form
from curate.govern.disclosures.known import (
    PROVIDER,
    STEWARD,
    Used,
    generated,
    lacking,
    names,
    of_category,
    period,
    plural,
    pointers,
    row,
    share,
    size,
    uncategorised,
)

LARGE = 0.03  # a dataset of more than this share of all public data of its modality is named (template, 2.1)


def add(form: Form, sources: list[Used]) -> None:
    """Add the fields of section 2."""
    _public(form, sources)
    form.section = "2.2 Private data from third parties"
    _kind(form, sources, "licensed", "2.2.1", "Data used under commercial licenses with rights holders")
    _kind(form, sources, "private", "2.2.2", "Other private data from third parties")
    _crawled(form, sources)
    form.section = "2.4 User data"
    _kind(form, sources, "user", "2.4.1", "Data of users of the provider's models or services")
    if users := of_category(sources, "user"):
        rows = [
            {
                "source": s.label,
                "service": s.about.get("publisher") or s.about.get("creator") or "not declared",
                "consent": s.about.get("consent", "not declared"),
                "notice": s.about.get("notice", "not declared"),
            }
            for s in users
        ]
        where = pointers(users, "category", "publisher", "creator", "consent", "notice")
        form.declared("2.4.3", "Services, and how their users were told or agreed", rows, where)
    _synthetic(form, sources)
    form.section = "2.6 Other sources"
    _kind(form, sources, "other", "2.6.1", "Data from sources of no other kind")


def _yes_or_no(
    form: Form, sources: list[Used], chosen: list[Used], id: str, question: str, *keys: str
) -> bool:
    """Add a Yes or No about the kinds of sources; return whether details of them are to follow."""
    where = pointers(sources, "category", *keys)
    open_ones = uncategorised(sources)
    left = f"Without a declared category, so not counted: {names(open_ones)}." if open_ones else ""
    if chosen:
        note = f"{names(chosen)}. {left}".strip()
        form.proposed(id, question, "Yes", pointers(chosen, "category", *keys), note, PROVIDER)
    elif open_ones:
        note = f"Write `category` in the source manifests of {names(open_ones)}."
        form.unanswered(id, question, STEWARD, note, where)
    else:
        form.proposed(id, question, "No", where, "No source declares this category.", PROVIDER)
    return bool(chosen)


def _kind(form: Form, sources: list[Used], category: str, id: str, question: str) -> None:
    chosen = of_category(sources, category)
    if _yes_or_no(form, sources, chosen, id, question):
        number = f"{id[:-1]}2" if id.endswith("1") and category != "licensed" else f"{id}.1"
        _described(form, chosen, number, "These sources")


def _described(form: Form, chosen: list[Used], id: str, question: str) -> None:
    whole = form.manifest["volume"]["bytes"]
    where = pointers(chosen, "name", "title", "version", "homepage", "license", "collected_from", "collected")
    note = lacking(chosen, homepage="link", version="version", collected="date")
    form.declared(
        id,
        question,
        [{"content": s.about.get("description", "not declared"), **row(s, whole)} for s in chosen],
        where,
        note,
    )


def _public(form: Form, sources: list[Used]) -> None:
    form.section = "2.1 Publicly available datasets"
    chosen = of_category(sources, "public")
    question = "Were publicly available datasets used?"
    if not _yes_or_no(form, sources, chosen, "2.1.1", question):
        if not uncategorised(sources):
            for id, what in (("2.1.2", "Large datasets"), ("2.1.3", "Other datasets")):
                form.not_applicable(id, what, "No source is declared a public dataset.")
        return
    sizes = {s.name: s.bytes for s in chosen}
    whole = sum(sizes.values())
    large = [s for s in chosen if sizes[s.name] >= LARGE * whole]
    others = [s for s in chosen if s not in large]
    total = form.manifest["volume"]["bytes"]
    keys = ("name", "title", "version", "homepage", "selection", "license", "collected_from", "collected")
    note = (
        f"Each has at least {LARGE:.0%} of the text of all public datasets here ({size(whole)}). "
        "Share: of all text of the release. "
        + lacking(large, homepage="link", version="version", selection="what part was taken")
    ).strip()
    where = ["/volume/sources", *pointers(large, *keys)]
    if large:
        form.declared("2.1.2", "Large datasets", [row(s, total) for s in large], where, note)
    else:
        form.not_applicable("2.1.2", "Large datasets", f"None has {LARGE:.0%} of the public text.", where)
    if not others:
        form.not_applicable(
            "2.1.3", "Other datasets", "Every public dataset is listed above.", ["/recipe/sources"]
        )
        return
    codes = sorted({code for s in others for code in s.about.get("languages") or ()})
    text = (
        f"{plural(len(others), 'dataset')} of text, {size(sum(s.bytes for s in others))} together "
        f"({share(sum(s.bytes for s in others), total)} of all text); collected "
        f"{period(others) or 'at times that are not declared'}; languages "
        f"{', '.join(codes) if codes else 'not declared by source'}: {names(others)}."
    )
    form.derived("2.1.3", "Other datasets", text, [s.pointer("name") for s in others])


_BEHAVIOUR = (
    ("2.3.4", "Did the crawlers follow robots.txt?", "robots"),
    ("2.3.5", "Which other opt-out protocols did they follow?", "protocols"),
    ("2.3.6", "Did they leave captchas alone?", "captchas"),
    ("2.3.7", "Did they stay out of paid content (paywalls)?", "paywalls"),
    ("2.3.8", "Did they stay out of pages behind a login or password?", "logins"),
    ("2.3.10", "Which regions or parts of the web did they cover?", "region"),
)


def _crawled(form: Form, sources: list[Used]) -> None:
    form.section = "2.3 Data crawled from the web"
    chosen = of_category(sources, "crawled")
    rest = (
        ("2.3.2", "Names and operators of the crawlers"),
        ("2.3.3", "What the crawling was for"),
        *((id, question) for id, question, _ in _BEHAVIOUR[:5]),
        ("2.3.9", "Period of crawling"),
        (_BEHAVIOUR[5][0], _BEHAVIOUR[5][1]),
        ("2.3.11", "Domains with the most content"),
    )
    if not _yes_or_no(form, sources, chosen, "2.3.1", "Was content crawled from the web for this release?"):
        for id, question in rest:
            if uncategorised(sources):
                note = "Depends on 2.3.1."
                form.unanswered(id, question, STEWARD, note)
            else:
                form.not_applicable(id, question, "No source is declared crawled.")
        return
    _said(form, chosen, *rest[0], "name", "operator")
    _said(form, chosen, *rest[1], "purpose")
    for id, question, key in _BEHAVIOUR[:5]:
        _said(form, chosen, id, question, key)
    rows = [{"source": s.label, "period": period([s]) or "not declared"} for s in chosen]
    if dates := pointers(chosen, "collected_from", "collected"):
        form.declared("2.3.9", "Period of crawling", rows, dates)
    else:
        form.unanswered("2.3.9", "Period of crawling", STEWARD, "Write `collected_from` and `collected`.")
    _said(form, chosen, *(_BEHAVIOUR[5][:2]), _BEHAVIOUR[5][2])
    _domains(form)


def _said(form: Form, chosen: list[Used], id: str, question: str, *keys: str) -> None:
    """Add what the crawled sources declare of their crawlers."""
    rows: list[dict[str, Any]] = []
    where = []
    for s in chosen:
        crawler = s.about.get("crawler") or {}
        rows.append({"source": s.label, **{key: crawler.get(key, "not declared") for key in keys}})
        where += [s.pointer(f"crawler/{key}") for key in keys if key in crawler]
    if where:
        form.declared(id, question, rows, where)
    else:
        written = " and ".join(f"`{key}`" for key in keys)
        form.unanswered(id, question, STEWARD, f"Write {written} under `crawler` in the source manifests.")


def _domains(form: Form) -> None:
    question = "Domains with the most content"
    found = form.manifest["volume"]["crawled"]
    if not found["domains"]:
        note = "No crawled record has an address with a domain. Name its column under `fields: {url: …}`."
        form.unanswered("2.3.11", question, STEWARD, note)
        return
    small = form.manifest["recipe"].get("about", {}).get("small_enterprise")
    rule = "top 5 %, at most 1,000, as for a small or medium enterprise" if small else "top 10 %"
    listed = found["listed"]
    asked = found["asked_for"]
    note = f"{plural(found['domains'], 'domain')} in all; the template asks for {asked:,} of them ({rule}), by size."
    if len(listed) < asked:
        note += f" The {len(listed):,} largest stand here, all in `disclosures/domains.csv`."
    else:
        note += " All stand in `disclosures/domains.csv`."
    rows = [
        {"domain": line["domain"], "records": line["records"], "text": size(line["bytes"])} for line in listed
    ]
    form.measured("2.3.11", question, rows, ["/volume/crawled"], note)


def _synthetic(form: Form, sources: list[Used]) -> None:
    form.section = "2.5 Synthetic data"
    chosen = generated(sources)
    question = "Was synthetic data, made by a model or program, used?"
    if not _yes_or_no(form, sources, chosen, "2.5.1", question, "generated_by"):
        if not uncategorised(sources):
            form.not_applicable("2.5.2", "Models that made it", "No source is declared synthetic.")
        return
    rows = []
    for s in chosen:
        models: list[dict[str, str]] = s.about.get("generated_by") or [{}]
        for made in models:
            rows.append(
                {
                    "source": s.label,
                    "records": s.records,
                    "model": made.get("model", "not declared"),
                    "version": made.get("version", "not declared"),
                    "provider": made.get("provider", "not declared"),
                    "wrote": made.get("wrote", "not declared"),
                    "terms": made.get("terms", "not declared"),
                    "its own summary": made.get("summary_url", "not declared"),
                }
            )
    note = lacking(chosen, generated_by="what wrote the records")
    form.declared("2.5.2", "Models that made it", rows, pointers(chosen, "category", "generated_by"), note)
