"""What a notice must tell (GDPR, Article 13; AI Act, Article 50(3)), as fields that become a text.

Each field is what one organisation says in its own words. What the law says for everybody, the
rights and the legal basis, is in ``wording`` and stands in every notice.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, fields

from annotator.core.errors import InvalidInput
from annotator.domain.consent.wording import STARTERS, WORDS, Words

LONGEST_FIELD = 2000  # characters
# What an organisation must say, and where the law asks for it.
ARTICLES = {
    "controller": "13(1)(a)",
    "contact": "13(1)(a)",
    "dpo": "13(1)(b)",
    "about": "13(1)(c)",
    "recipients": "13(1)(e)",
    "transfers": "13(1)(f)",
    "retention": "13(2)(a)",
    "withdrawal": "13(2)(c)",
    "complaint": "13(2)(d)",
    "required": "13(2)(e)",
    "automated": "13(2)(f)",
    "emotion": "AI Act 50(3)",
}
MAY_BE_EMPTY = frozenset({"dpo", "more"})  # a data protection officer is named if there is one


@dataclass(frozen=True, slots=True)
class Facts:
    """The fields of a notice in one language.

    Attributes:
        controller: who decides what the pictures are used for, with address.
        contact: where to write.
        dpo: contact of the data protection officer, if there is one.
        about: what the pictures are for, in one or two sentences.
        recipients: who else gets something, or that nobody does.
        transfers: whether anything leaves for a third country, and how it is protected there.
        retention: how long the pictures are kept.
        withdrawal: how to take consent back.
        complaint: the authority to complain to.
        required: whether somebody must take part, and what happens if not.
        automated: whether anything is decided about them by a machine.
        emotion: that a machine infers emotions from faces, and when.
        more: free text.
    """

    controller: str = ""
    contact: str = ""
    dpo: str = ""
    about: str = ""
    recipients: str = ""
    transfers: str = ""
    retention: str = ""
    withdrawal: str = ""
    complaint: str = ""
    required: str = ""
    automated: str = ""
    emotion: str = ""
    more: str = ""

    @classmethod
    def read(cls, given: Mapping[str, str]) -> "Facts":
        """Takes the fields that it knows out of a form or a stored notice."""
        names = [field.name for field in fields(cls)]
        return cls(**{name: str(given.get(name) or "").strip() for name in names})

    def as_dict(self) -> dict[str, str]:
        """Every field by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def find_gaps(facts: Facts, *, purposes: Collection[str]) -> dict[str, str]:
    """What is missing or cannot be, by field; empty when the notice may go out."""
    gaps = {}
    for name, text in facts.as_dict().items():
        if not text and name not in MAY_BE_EMPTY:
            if name == "emotion" and "prelabel" not in purposes:
                continue  # then no model looks at a face before the labels are there
            article = ARTICLES[name]
            law = article if " " in article else f"GDPR, Article {article}"
            gaps[name] = f"The law asks for this ({law}); please fill it in."
        elif len(text) > LONGEST_FIELD:
            gaps[name] = f"At most {LONGEST_FIELD:,} characters."
        elif "{" in text or "}" in text:
            gaps[name] = "Replace the words in curly brackets by your own."
    if "store" not in purposes:
        gaps["purposes"] = "Without keeping pictures nothing else can be; tick it."
    return gaps


def compose_text(facts: Facts, *, purposes: Collection[str], locale: str) -> str:
    """The notice that people read, made of its fields.

    Raises:
        InvalidInput: there is no wording in this language.
    """
    words = words_in(locale)
    uses = "\n".join(
        f"- {name}: {sentence}"
        for purpose, (name, sentence) in words.purposes.items()
        if purpose in purposes
    )
    parts = [
        (words.who, "\n".join(filter(None, [facts.controller, facts.contact]))),
        (words.dpo, facts.dpo),
        (words.what, "\n\n".join(filter(None, [facts.about, words.choose + "\n" + uses]))),
        (words.basis, words.basis_text),
        (words.machine, facts.emotion if "prelabel" in purposes else ""),
        (words.recipients, facts.recipients),
        (words.transfers, facts.transfers),
        (words.retention, facts.retention),
        (words.withdrawal, facts.withdrawal),
        (words.rights, words.rights_text),
        (words.complaint, facts.complaint),
        (words.required, facts.required),
        (words.automated, facts.automated),
        (words.more, facts.more),
    ]
    return "\n\n".join(f"{head}\n{text}" for head, text in parts if text) + "\n"


def starter(locale: str) -> Facts:
    """Fields to begin with, with words in curly brackets to be replaced.

    Raises:
        InvalidInput: there is no wording in this language.
    """
    words_in(locale)
    return Facts(**STARTERS[locale])


def words_in(locale: str) -> Words:
    """What stands in every notice in one language.

    Raises:
        InvalidInput: there is no wording in this language.
    """
    if locale not in WORDS:
        raise InvalidInput(f"There is no wording in '{locale}'; there is {', '.join(WORDS)}.")
    return WORDS[locale]
