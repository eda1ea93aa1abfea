"""What stands in every notice, in the languages that we offer, and texts to begin with.

The wording is plain on purpose: a notice that nobody understands informs nobody (GDPR, Article 12).
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Words:
    """Headings and fixed texts in one language; ``purposes``: a short name and a sentence each."""

    language: str
    who: str
    dpo: str
    what: str
    choose: str
    basis: str
    basis_text: str
    machine: str
    recipients: str
    transfers: str
    retention: str
    withdrawal: str
    rights: str
    rights_text: str
    complaint: str
    required: str
    automated: str
    more: str
    purposes: dict[str, tuple[str, str]]


WORDS = {
    "en": Words(
        language="English",
        who="Who we are",
        dpo="Our data protection officer",
        what="What your pictures are for",
        choose="You choose each use on its own:",
        basis="What allows us to",
        basis_text="Only your consent: Articles 6(1)(a) and 9(2)(a) of the General Data Protection "
        "Regulation, because a face may tell more than you wish to say.",
        machine="A machine that looks at your expression",
        recipients="Who else receives something",
        transfers="Outside the European Economic Area",
        retention="How long",
        withdrawal="How to change your mind",
        rights="Your rights",
        rights_text="You may see what we hold about you and get a copy, have it corrected, "
        "have it erased, have its use restricted, and take it with you in a common format. "
        "You may withdraw each consent at any time, without giving a reason; what was lawful "
        "before stays lawful.",
        complaint="Where to complain",
        required="Do you have to?",
        automated="Decisions by machines",
        more="More",
        purposes={
            "store": ("keep", "we keep your pictures, encrypted with a key of your own."),
            "label": (
                "show",
                (
                    "trained people see the part of a picture that shows your face, and say "
                    "what it expresses."
                ),
            ),
            "prelabel": (
                "let a model guess",
                "an emotion model runs on your pictures and suggests a label.",
            ),
            "train": ("train", "your pictures help to train a model here."),
            "export_pseudonymised": (
                "share pseudonymised",
                "your face, without your name, goes to the recipients named below.",
            ),
            "export_anonymised": (
                "share averaged",
                "your face goes out only averaged with at least four other people's.",
            ),
            "publish_weights": (
                "publish the model",
                "a model that your pictures helped to train may be published.",
            ),
        },
    ),
    "de": Words(
        language="Deutsch",
        who="Wer wir sind",
        dpo="Unsere Datenschutzbeauftragte oder unser Datenschutzbeauftragter",
        what="Wofür Ihre Bilder sind",
        choose="Sie entscheiden über jede Verwendung einzeln:",
        basis="Was uns das erlaubt",
        basis_text="Allein Ihre Einwilligung: Artikel 6 Absatz 1 Buchstabe a und Artikel 9 "
        "Absatz 2 Buchstabe a der Datenschutz-Grundverordnung, denn ein Gesicht kann mehr "
        "verraten, als Sie sagen möchten.",
        machine="Eine Maschine, die Ihren Ausdruck betrachtet",
        recipients="Wer sonst etwas erhält",
        transfers="Außerhalb des Europäischen Wirtschaftsraums",
        retention="Wie lange",
        withdrawal="Wie Sie es sich anders überlegen",
        rights="Ihre Rechte",
        rights_text="Sie dürfen sehen, was wir über Sie haben, und eine Kopie bekommen, es "
        "berichtigen, löschen oder seine Verwendung einschränken lassen und es in einem "
        "gängigen Format mitnehmen. Jede Einwilligung können Sie jederzeit und ohne Grund "
        "widerrufen; was bis dahin rechtmäßig war, bleibt es.",
        complaint="Wo Sie sich beschweren können",
        required="Müssen Sie mitmachen?",
        automated="Entscheidungen durch Maschinen",
        more="Weiteres",
        purposes={
            "store": (
                "aufbewahren",
                "wir bewahren Ihre Bilder auf, verschlüsselt mit einem eigenen Schlüssel.",
            ),
            "label": (
                "zeigen",
                (
                    "geschulte Menschen sehen den Teil eines Bildes, der Ihr Gesicht zeigt, "
                    "und sagen, was es ausdrückt."
                ),
            ),
            "prelabel": (
                "ein Modell raten lassen",
                "ein Emotionsmodell betrachtet Ihre Bilder und schlägt eine Bezeichnung vor.",
            ),
            "train": ("trainieren", "Ihre Bilder helfen, hier ein Modell zu trainieren."),
            "export_pseudonymised": (
                "pseudonymisiert weitergeben",
                "Ihr Gesicht geht ohne Ihren Namen an die unten genannten Empfänger.",
            ),
            "export_anonymised": (
                "gemittelt weitergeben",
                "Ihr Gesicht verlässt uns nur gemittelt mit denen von mindestens vier anderen.",
            ),
            "publish_weights": (
                "das Modell veröffentlichen",
                (
                    "ein Modell, das mit Hilfe Ihrer Bilder trainiert wurde, darf veröffentlicht "
                    "werden."
                ),
            ),
        },
    ),
}

# Texts to begin with; what stands in curly brackets has to be replaced.
STARTERS = {
    "en": {
        "controller": "{organisation, address}",
        "contact": "{e-mail address or telephone number}",
        "dpo": "",
        "about": "We keep pictures of you to teach computers what facial expressions look like.",
        "recipients": "Nobody outside our organisation.",
        "transfers": "Nothing leaves the European Economic Area.",
        "retention": "Until your consent ends, {number} years after you gave it, and not a day "
        "longer than it takes to erase the pictures.",
        "withdrawal": "Open your own page with the link that we gave you, or write to us. Each use "
        "can be withdrawn on its own. When you withdraw everything, your key is destroyed and "
        "nobody can open your pictures again.",
        "complaint": "You may complain to the data protection authority: {authority, address}.",
        "required": "No. Taking part is free, and if you do not, nothing happens.",
        "automated": "None. Nothing is decided about you by a machine.",
        "emotion": "If you allow it, an emotion recognition system looks at your face in the "
        "pictures and suggests what it expresses; people check every suggestion. It is used for "
        "making training data, and never to judge you.",
        "more": "",
    },
    "de": {
        "controller": "{Organisation, Anschrift}",
        "contact": "{E-Mail-Adresse oder Telefonnummer}",
        "dpo": "",
        "about": "Wir bewahren Bilder von Ihnen auf, um Computern beizubringen, wie "
        "Gesichtsausdrücke aussehen.",
        "recipients": "Niemand außerhalb unserer Organisation.",
        "transfers": "Nichts verlässt den Europäischen Wirtschaftsraum.",
        "retention": "Bis Ihre Einwilligung endet, {Anzahl} Jahre nachdem Sie sie gegeben haben, "
        "und nicht länger, als das Löschen dauert.",
        "withdrawal": "Öffnen Sie Ihre eigene Seite mit dem Link, den Sie von uns haben, oder "
        "schreiben Sie uns. Jede Verwendung lässt sich einzeln widerrufen. Wenn Sie alles "
        "widerrufen, wird Ihr Schlüssel vernichtet, und niemand kann Ihre Bilder mehr öffnen.",
        "complaint": "Sie können sich bei der Datenschutzbehörde beschweren: {Behörde, Anschrift}.",
        "required": "Nein. Die Teilnahme ist freiwillig, und wenn Sie nicht mitmachen, geschieht "
        "nichts.",
        "automated": "Keine. Keine Maschine entscheidet etwas über Sie.",
        "emotion": "Wenn Sie es erlauben, betrachtet ein System zur Emotionserkennung Ihr Gesicht "
        "auf den Bildern und schlägt vor, was es ausdrückt; Menschen prüfen jeden Vorschlag. "
        "Es dient dazu, Trainingsdaten herzustellen, und nie dazu, Sie zu beurteilen.",
        "more": "",
    },
}
