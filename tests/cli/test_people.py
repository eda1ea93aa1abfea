import json

from tests.installation import ADMIN, Installation


def test_people_are_added_listed_and_disabled(installation: Installation) -> None:
    added = installation.run(
        "user", "add", "Anna@Clinic.example", "--name", "Anna", "--role", "annotator", "--json"
    )
    assert json.loads(added.stdout)["email"] == "anna@clinic.example"
    installation.run("user", "disable", "anna@clinic.example")
    rows = [
        json.loads(line)
        for line in installation.run("user", "list", "--json").stdout.split("\n")
        if line
    ]
    assert {row["email"]: row["active"] for row in rows} == {
        "anna@clinic.example": False,
        ADMIN: True,
    }


def test_the_last_admin_cannot_be_disabled(installation: Installation) -> None:
    done = installation.run("user", "disable", ADMIN, ok=False)
    assert (done.returncode, "last admin" in done.stderr) == (1, True)


def test_a_token_is_made_once_and_revoked(installation: Installation) -> None:
    made = json.loads(installation.run("token", "create", ADMIN, "--json").stdout)
    assert made["token"].startswith("ann_")
    installation.run("token", "revoke", str(made["id"]), "--email", ADMIN)
    missing = installation.run("token", "revoke", "99", "--email", ADMIN, ok=False)
    assert (missing.returncode, "no such token" in missing.stderr) == (1, True)


def test_nobody_is_one_sentence(installation: Installation) -> None:
    done = installation.run("token", "create", "nobody@clinic.example", ok=False)
    assert (done.returncode, "nobody with the address" in done.stderr) == (1, True)
    done = installation.run("subject", "withdraw", "Nope/P-1", "--yes", ok=False)
    assert (done.returncode, "no dataset 'Nope'" in done.stderr) == (1, True)
