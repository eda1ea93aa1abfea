"""The dataset card and the Croissant description: for people, and for programs."""

import json
from typing import Any

from annotator.core.emotions import EMOTION_NAMES, LABEL_NAMES
from annotator.domain.exports.contents import COLUMNS, Facts
from annotator.domain.exports.selection import REASONS
from annotator.domain.exports.splits import SPLITS

TIERS_TOLD = {
    "T1": (
        "Tier T1, pseudonymised: real face crops without names, file names or metadata, under "
        "random ids. They are still personal data, because a face can be recognised. Keep them "
        "as such, give them to nobody else, and delete what the sender tells you to delete."
    ),
}


def write_card(manifest: dict[str, Any], facts: Facts) -> bytes:
    """``README.md``: what this is, who agreed to what, how it was labelled, what it is not."""
    return "\n".join(
        [
            f"# {facts.dataset}: facial expressions, export {manifest['id'][:8]}",
            "",
            TIERS_TOLD[manifest["tier"]],
            "",
            (
                f"Made on {manifest['created']} by Annotator {manifest['application']['version']} "
                f"for {manifest['recipient']}."
            ),
            "",
            *_figures(facts),
            *_consents(facts),
            *_labelling(facts),
            *_limits(facts),
            *_checking(manifest),
        ]
    ).encode()


def _figures(facts: Facts) -> list[str]:
    counts, splits = facts.counts, facts.counts["splits"]
    lines = [
        "## What is in it",
        "",
        (
            f"{counts['faces']} faces of {counts['subjects']} people in {counts['files']} files. "
            "No person is in two splits."
        ),
        "",
        "| class | " + " | ".join(SPLITS) + " |",
        "| --- |" + " ---: |" * len(SPLITS),
    ]
    lines += [
        f"| {name} | " + " | ".join(str(splits[split][name]) for split in SPLITS) + " |"
        for name in EMOTION_NAMES
    ]
    method = facts.balance["method"]
    lines += ["", f"Balancing of the training split: {method} (see report/balance.json).", ""]
    if counts["left_out"]:
        lines += ["Left out:", ""]
        lines += [f"* {count}: {REASONS[name]}" for name, count in counts["left_out"].items()]
        lines.append("")
    return lines


def _consents(facts: Facts) -> list[str]:
    lines = ["## Who agreed to what", ""]
    lines += [
        f"* {purpose}: {count} of {facts.counts['subjects']} people"
        for purpose, count in facts.consents["purposes"].items()
    ]
    lines += ["", "What they were told, by the SHA-256 of the notice's text:", ""]
    lines += [
        f"* version {notice['version']} ({notice['locale']}), {notice['subjects']} people: "
        f"{notice['sha256']}"
        for notice in facts.consents["notices"]
    ]
    return [*lines, ""]


def _labelling(facts: Facts) -> list[str]:
    share = "not known" if facts.agreement is None else f"{100 * facts.agreement:.1f} %"
    return [
        "## How it was labelled",
        "",
        (
            f"{facts.raters} people voted, each on their own; up to {facts.votes_per_face} votes "
            "a face were asked for. The columns of labels.csv hold every vote; the distribution "
            "is the label to train on, `label` is its majority, or a reviewer's decision where "
            f"`decided_by` says so. On average {share} of a face's votes are for its label."
        ),
        "",
    ]


def _limits(facts: Facts) -> list[str]:
    return [
        "## What it is not",
        "",
        "* A label is what people saw in a face, not what the person felt.",
        "* The people in it are those who agreed; they stand for nobody else.",
        (
            "* Some people may withdraw later. The sender will name them by the pseudonym in the "
            "column `subject`: delete their files, and train again without them."
        ),
        f"* Deployment: {facts.deployment['restriction']}",
        "",
    ]


def _checking(manifest: dict[str, Any]) -> list[str]:
    return [
        "## How to check it",
        "",
        (
            "manifest.json lists the SHA-256 of every file; manifest.sig is its Ed25519 signature "
            "in base64. Ask the sender for the key's fingerprint by another way and compare:"
        ),
        "",
        f"    {manifest['public_key']}",
        "",
        "    annotator verify FOLDER",
        "",
        "or, with OpenSSL 3 and coreutils alone, for the signature:",
        "",
        "    base64 -d manifest.sig > sig.bin",
        (
            "    openssl pkeyutl -verify -pubin -inkey public_key.pem -rawin -in manifest.json "
            "-sigfile sig.bin"
        ),
        "",
    ]


def write_croissant(manifest: dict[str, Any], facts: Facts, *, table_digest: str) -> bytes:
    """``croissant.json``: MLCommons Croissant 1.1 over the folder as it lies.

    Args:
        manifest: without its files.
        facts: the same facts as the card's.
        table_digest: SHA-256 of ``labels.csv``, hex.
    """
    document = {
        "@context": _CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.1",
        "name": f"{facts.dataset}-{manifest['id'][:8]}",
        "description": f"{TIERS_TOLD[manifest['tier']]} {facts.deployment['restriction']}",
        "datePublished": manifest["created"][:10],
        "version": "1.0.0",
        "license": "For the named recipient only; see README.md.",
        "url": f"urn:uuid:{manifest['id']}",
        "citeAs": f"{facts.dataset}, export {manifest['id']}, {manifest['created'][:4]}.",
        "distribution": [
            {
                "@type": "cr:FileObject",
                "@id": "labels.csv",
                "name": "labels.csv",
                "contentUrl": "labels.csv",
                "encodingFormat": "text/csv",
                "sha256": table_digest,
            },
            {
                "@type": "cr:FileSet",
                "@id": "pictures",
                "name": "pictures",
                "encodingFormat": "image/png",
                "includes": "images/*/*/*.png",
            },
        ],
        "recordSet": [
            {
                "@type": "cr:RecordSet",
                "@id": "faces",
                "name": "faces",
                "key": {"@id": "faces/file"},
                "field": [_field(column) for column in COLUMNS],
            }
        ],
    }
    return (json.dumps(document, indent=2, ensure_ascii=False) + "\n").encode()


def _field(column: str) -> dict[str, Any]:
    kind = "sc:Text"
    if column in LABEL_NAMES:
        kind = "sc:Integer"
    elif column in {"agreement", "weight"}:
        kind = "sc:Float"
    return {
        "@type": "cr:Field",
        "@id": f"faces/{column}",
        "name": column,
        "dataType": kind,
        "source": {"fileObject": {"@id": "labels.csv"}, "extract": {"column": column}},
    }


_CROISSANT_TERMS = (
    "citeAs",
    "column",
    "extract",
    "field",
    "fileObject",
    "fileProperty",
    "fileSet",
    "format",
    "includes",
    "isLiveDataset",
    "jsonPath",
    "key",
    "md5",
    "parentField",
    "path",
    "recordSet",
    "references",
    "regex",
    "repeated",
    "replace",
    "separator",
    "source",
    "subField",
    "transform",
)
_CONTEXT: dict[str, Any] = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    **{term: f"cr:{term}" for term in _CROISSANT_TERMS},
}
