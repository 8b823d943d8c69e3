"""The command as people meet it: what it prints, its exit code, and one line when it refuses."""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from datetime import timedelta
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from tests.days import days_ago, last_friday, today
from tests.services.warm_processes import warm_processes
from tests.slow_cases import slow
from tests.traces import traces
from ticket_assets.mail.exports import ticket_columns

PROJECT = Path(__file__).parent.parent
COMMAND = [sys.executable, "-c", "from ticket_assets.cli import main; main()"]
EXPORT = "subject,body,category,priority\nVPN,Down,network,high\nBadge,Lost,access,low\n"
LIMIT_BYTES = 2000
INTERRUPTED = "Error: Interrupted. What was finished is kept; run the command again to go on."
"""A file may not grow beyond this where the disk is to be full."""


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@pytest.fixture
def tickets(tmp_path, data):
    return Tickets(tmp_path, data)


class Tickets:
    """Runs the command in a folder of its own; keywords are TICKETS_ settings."""

    def __init__(self, folder, data):
        self.folder = folder
        outer = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("TICKETS_", "DAGSTER_"))
        }
        self.environment = {
            **outer,
            "TICKETS_DATA_DIR": str(data),
            "TICKETS_ENCODER": "all-minilm-l6-v2",
            "TICKETS_MIN_CLASS_TICKETS": "5",
            # How good a model of so little mail is depends on the day the sample ends.
            "TICKETS_MACRO_F1_FLOOR": "0.2",
            "PYTHONPATH": str(PROJECT),
        }

    def __call__(self, *arguments, given=b"", largest_file=None, **settings):
        done = warm_processes().run(
            ["tickets", *map(str, arguments)],
            {**self.environment, **{name: str(settings[name]) for name in settings}},
            self.folder,
            given=given,
            largest_file=largest_file,
        )
        assert "Traceback" not in done.stdout + done.stderr
        return done

    def start(self, *arguments, **environment):
        """The command from its very start, as a shell starts it."""
        return subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            # A suite started in the background has inherited that Ctrl-C is ignored.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
        )

    def write(self, name, content):
        path = self.folder / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return path


def refused(done):
    """The one line of a refusal, without its mark."""
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert line.startswith("Error: ")
    return line.removeprefix("Error: ")


def test_help_names_every_command_without_loading_what_they_need(tickets):
    shown = tickets("--help")

    assert shown.returncode == 0
    for command in (
        *("sample", "import", "fetch", "run", "classify", "status", "evaluate", "erase", "purge"),
        *("prune", "model", "collection", "dagster", "doctor", "redate"),
    ):
        assert f" {command} " in shown.stdout
    heavy = (
        "import ticket_assets.cli, sys; print({'pandas', 'dagster', 'torch'} & set(sys.modules))"
    )
    loaded = subprocess.run([sys.executable, "-c", heavy], capture_output=True, check=True)
    assert loaded.stdout.decode().strip() == "set()"


@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("import",),
        *slow(
            (("import", "x.csv", "--column", "body"),),
            (("classify",),),
            (("run", "--day", "yesterday"),),
            (("run", "--day", "2026-01-02", "--to", "2026-01-03"),),
            (("sample", "--messages", "1"),),
            (("sample", "--until", "9999-12-31"),),
            (("sample", "--seed", "-1"),),
            (("erase",),),
        ),
    ],
)
def test_a_command_that_is_not_well_formed_is_a_usage_error(tickets, arguments):
    wrong = tickets(*arguments)

    assert (wrong.returncode, wrong.stdout) == (2, "")
    assert "Usage: " in wrong.stderr


@pytest.mark.parametrize(
    ("name", "content", "options", "reason"),
    [
        ("missing.mbox", None, (), "Cannot read {path}: No such file or directory."),
        ("a.csv", EXPORT, ("--column", "body=Zork"), "no column 'Zork' for body"),
        *slow(
            ("missing.csv", None, (), "Cannot read {path}: No such file or directory."),
            ("a.csv", "", (), "{path} is empty."),
            ("a.csv", b"\x00\x01binary", (), "{path} is not text, whatever its name says"),
            ("a.parquet", "PAR1", (), "{path} is not a readable Parquet file"),
            ("a.mbox", b"\x89PNG\r\n", (), "{path} is not known as a mailbox or an export"),
            ("a.csv", "x,y\n1,2\n", (), "like `--column body=MyColumn`"),
            ("a.csv", EXPORT, ("--column", "zork=body"), "There is no field 'zork' to map"),
            ("a.csv", EXPORT, ("--labels", "."), ". is not a table"),
            ("a.csv", EXPORT, ("--labels", "none.csv"), "Cannot read none.csv: No such file"),
            (
                "a.csv",
                EXPORT + "a,b,Zork,low\n",
                (),
                "unknown categories: 'Zork' (1) (known: access,",
            ),
            ("a.csv", EXPORT + "a,b,Zork,low\n", (), "`--write-routing routing.yaml`"),
        ),
    ],
)
def test_an_import_that_cannot_be_used_is_one_line_and_lands_nothing(
    tickets, name, content, options, reason
):
    path = tickets.folder / name
    if content is not None:
        tickets.write(name, content)

    line = refused(tickets("import", path, *options))

    assert reason.format(path=path) in line
    assert not (tickets.folder / "data").exists()


@pytest.mark.slow
def test_a_folder_without_mail_is_refused(tickets):
    (tickets.folder / "empty").mkdir()

    assert refused(tickets("import", "empty")).startswith("empty holds no mail")


@pytest.mark.slow
def test_an_import_that_fails_keeps_what_has_landed(tickets):
    tickets("import", tickets.write("a.csv", EXPORT))

    refused(tickets("import", tickets.write("b.csv", EXPORT + "x,y,Zork,low\n")))

    assert json.loads(tickets("status", "--json").stdout)["landing"]["messages"] == 2


def test_an_import_says_what_landed_what_is_doubtful_and_what_comes_next(tickets):
    export = tickets.write("a.csv", "subject,body\nVPN,Down\nBadge,Lost\n")

    done = tickets("import", export)

    assert done.returncode == 0
    assert done.stdout.splitlines() == [
        "2 messages landed, 0 already there, 0 new labels.",
        "Next: tickets run",
    ]
    unknown, undated, unlabelled = done.stderr.splitlines()
    assert unknown.startswith(
        f"Note: {export} has no column known as sender, received_at. Its columns:"
    )
    assert undated.startswith("Note: 2 messages without a date that can be read")
    assert "No labels have landed yet" in unlabelled


@pytest.mark.slow
def test_an_import_says_how_many_categories_have_enough_labels_to_be_automatic(tickets):
    # Given 22 tickets of one category, which show 90 % at a risk of 10 %, and 21 of another
    rows = "".join(f"VPN,Down {n},network\nBadge,Lost {n},access\n" for n in range(21))
    export = tickets.write("a.csv", f"subject,body,category\n{rows}VPN,Down again,network\n")

    done = tickets("import", export, TICKETS_TARGET_PRECISION="0.9")

    assert done.stdout.splitlines()[1:3] == [
        "43 tickets with a label now.",
        "1 of 8 categories have 22 labelled tickets or more; with fewer, no ticket of a category"
        " can be automatic.",
    ]


@pytest.mark.slow
def test_dates_that_could_be_read_both_ways_are_refused_until_the_option_or_setting_tells(tickets):
    export = tickets.write("a.csv", "Subject,Body,Created\nVPN,Down,03/04/2025\n")

    line = refused(tickets("import", export))
    option = tickets("import", export, "--dates", "month-first")
    setting = tickets("import", export, TICKETS_EXPORT_DATES="month-first")

    assert line.startswith(f"{export}: whether the day or the month stands first in 'Created'")
    assert "--dates month-first" in line
    said = f"{export}: dates in 'Created' were read with the month first (as it was asked for)."
    assert option.stdout.splitlines()[:2] == [
        "1 message landed, 0 already there, 0 new labels.",
        said,
    ]
    assert "0 messages landed, 1 already there" in setting.stdout


@pytest.mark.slow
def test_a_strangers_export_is_imported_with_the_routing_written_from_it(tickets):
    export = tickets.write(
        "a.csv", "body,team,priority\nx,Paie,high\ny,Achats,medium\nz,Paie,low\n"
    )

    draft = tickets("import", export, "--column", "category=team", "--write-routing", "desk.yaml")
    again = tickets("import", export, "--column", "category=team", "--write-routing", "desk.yaml")
    done = tickets("import", export, "--column", "category=team", TICKETS_ROUTING="desk.yaml")

    assert "2 categories written to desk.yaml" in draft.stdout
    written = (tickets.folder / "desk.yaml").read_text()
    assert written.index("- low") < written.index("- medium") < written.index("- high")
    assert refused(again).startswith("desk.yaml exists already; it is not overwritten")
    assert "3 messages landed, 0 already there, 3 new labels." in done.stdout


def test_the_help_of_column_names_every_field_of_a_table(tickets):
    assert set(ticket_columns()) <= set(re.findall(r"\w+", tickets("import", "--help").stdout))


@pytest.mark.slow
def test_columns_of_exports_are_set_once_and_overruled_by_the_option(tickets):
    export = tickets.write("a.csv", "Titre,Details,Team,Old\nVPN,coupé,network,access\n")
    mail = tickets.write("a.eml", "From: a@b.fr\nSubject: VPN\n\nx\n")
    columns = "body=Details,category=Team"

    tickets("import", export, TICKETS_EXPORT_COLUMNS=columns)
    other = tickets("import", export, "--column", "category=Old", TICKETS_EXPORT_COLUMNS=columns)
    mailbox = tickets("import", mail, TICKETS_EXPORT_COLUMNS=columns)

    landed = (json.loads(path.read_bytes()) for path in tickets.folder.rglob("landing/**/*.json"))
    rows = [row for row in landed if "original" in row]
    assert {(row["subject"], row["body"]) for row in rows} == {("VPN", "coupé")}
    # The column of the label is not part of the message.
    assert sorted(set(row["original"]) & {"Team", "Old"} for row in rows) == [{"Old"}, {"Team"}]
    assert "1 message landed, 0 already there, 1 new label.\n" in other.stdout
    assert "1 message landed, 0 already there, 0 new labels.\n" in mailbox.stdout


@pytest.mark.slow
def test_an_error_that_lists_much_keeps_its_beginning_and_what_to_do(tickets):
    columns = ",".join(
        f"a rather long name of a column, number {n}".replace(",", "") for n in range(40)
    )

    line = refused(tickets("import", tickets.write("a.csv", f"{columns}\n")))

    assert len(line) <= 500
    assert " has no column known as a subject or a body. Its columns: a rather long " in line
    assert " … " in line
    assert line.endswith("Say which one it is, like `--column body=MyColumn`.")


@pytest.mark.slow
def test_a_routing_file_that_cannot_be_written_is_one_line(tickets):
    export = tickets.write("a.csv", EXPORT)

    line = refused(tickets("import", export, "--write-routing", "no/folder.yaml"))

    assert line.startswith("No such file or directory: no/folder.yaml. Check the path")


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments", [("status",), ("status", "--json"), ("run",), ("classify", "VPN"), ("sample",)]
)
def test_a_data_folder_that_is_a_file_is_one_line(tickets, arguments):
    path = tickets.write("file", "x")

    line = refused(tickets(*arguments, TICKETS_DATA_DIR=path))

    assert line == f"TICKETS_DATA_DIR={path} is not a folder. Name one; it need not exist."


@pytest.mark.slow
@pytest.mark.parametrize("arguments", [("sample",), ("import", "a.csv")])
def test_a_disk_that_is_full_is_one_line(tickets, arguments):
    tickets.write("a.csv", EXPORT + "x," + "y" * LIMIT_BYTES + ",access,low\n")

    assert "File too large" in refused(tickets(*arguments, largest_file=LIMIT_BYTES))


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"TICKETS_SEED": "x"}, "TICKETS_SEED='x' is not allowed"),
        ({"TICKETS_ROUTING": "none.yaml"}, "Cannot read the routing file none.yaml"),
    ],
)
def test_a_setting_that_is_wrong_is_one_line(tickets, settings, reason):
    export = tickets.write("a.csv", EXPORT)

    assert refused(tickets("import", export, **settings)).startswith(reason)


def test_a_fetch_without_an_account_says_what_to_set(tickets, data):
    assert refused(tickets("fetch")).startswith("No mail source is set: set TICKETS_IMAP_HOST")
    assert not data.exists()


@pytest.mark.slow
def test_a_dotenv_file_that_is_not_text_is_one_line(tickets):
    tickets.write(".env", b"\xff\xfe\x00")

    assert refused(tickets("status")).startswith("Cannot read .env")


def test_a_run_before_anything_has_landed_says_so(tickets, data):
    line = refused(tickets("run"))

    assert line.startswith(f"Nothing has landed in {data / 'landing'} yet. Import mail with")
    assert not data.exists()


@pytest.mark.slow
def test_there_is_nothing_to_prune_at_first(tickets):
    pruned = tickets("prune", "--dry-run")

    assert pruned.returncode == 0
    first, runs, models = pruned.stdout.splitlines()
    assert first == "Nothing is removed yet. It would be:"
    assert runs.startswith("0 old runs with 0.0 MB of files")
    assert models == "0 models removed."


def purge_until(tickets, data, day):
    """Import the two tickets of the export, today, and purge the days until `day`."""
    tickets("import", tickets.write("export.csv", EXPORT))
    (data / "landing/purged_until").write_text(f"{day}\n")


@pytest.mark.slow
@pytest.mark.parametrize("options", [("--day",), ("--job", "collect_mail", "--to")])
def test_a_run_for_a_purged_day_is_refused_before_anything_is_written(tickets, data, options):
    purge_until(tickets, data, "2025-06-02")
    before = set(data.rglob("*"))

    line = refused(tickets("run", *options, "2025-06-01", TICKETS_FIRST_DAY="2025-05-01"))

    assert line.startswith("The original mail of 2025-06-01 has been purged, as of every day until")
    assert set(data.rglob("*")) == before


@pytest.mark.slow
def test_a_run_from_a_purged_day_on_begins_after_the_purged_ones_and_says_so(tickets, data):
    purge_until(tickets, data, days_ago(1))
    first = days_ago(3)

    done = tickets("run", "--from", first, "--only", "raw_tickets", TICKETS_FIRST_DAY=first)

    assert done.returncode == 0
    assert f"Note: The run begins with {today()}: the original mail of earlier days" in done.stderr
    assert rows(tickets, "select count(*) from tickets.raw_tickets") == [(2,)]


@pytest.mark.parametrize("text", ["", "  ", "-"])
def test_classifying_nothing_is_refused(tickets, text):
    assert refused(tickets("classify", text, given=b"\n")).startswith(
        "There is no text to classify"
    )


@pytest.mark.slow
def test_classifying_before_any_training_says_how_to_train(tickets):
    line = refused(tickets("classify", "The VPN is down"))

    assert "`tickets import PATH --labels FILE`, then train with `tickets run`" in line


@pytest.mark.slow
def test_the_status_of_an_empty_folder_is_shown(tickets, data):
    shown = tickets("status")
    status = json.loads(tickets("status", "--json").stdout)

    assert shown.returncode == 0
    assert "Nothing has landed yet: tickets import PATH" in shown.stdout
    assert status["landing"] == {"messages": 0, "days": 0, "first": None, "last": None}
    assert (status["data_dir"], status["champion"]) == (str(data), None)


@pytest.mark.slow
def test_shadow_mode_is_told_by_the_status(tickets):
    assert "Shadow mode" not in tickets("status").stdout

    assert "Shadow mode" in tickets("status", TICKETS_SHADOW_MODE="true").stdout
    status = json.loads(tickets("status", "--json", TICKETS_SHADOW_MODE="true").stdout)
    assert status["shadow_mode"] is True


@pytest.mark.slow
def test_output_that_nobody_reads_ends_the_command_silently(tickets):
    process = tickets.start("status", "--json")
    process.stdout.close()

    assert process.wait(60) == 1
    assert process.stderr.read() == ""


def test_ctrl_c_is_one_line_and_exit_130(tickets, data):
    process = tickets.start("sample", "--messages", "200000")
    while not data.exists() and process.poll() is None:
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)

    output, error = process.communicate(timeout=60)

    assert (process.returncode, output) == (130, "")
    assert error.splitlines() == [INTERRUPTED]


LONG_QUERY = """
import os, signal, sys, threading
import duckdb
from ticket_assets import cli

signal.signal(signal.SIGINT, signal.default_int_handler)  # where tests run in the background

def query():
    threading.Timer(0.5, os.kill, (os.getpid(), signal.Signals[sys.argv[1]])).start()
    duckdb.sql("select count(*) from range(10_000_000_000) a, range(1_000_000) b").fetchall()

cli.app = query
cli.main()
"""


@pytest.mark.slow
@pytest.mark.parametrize(("sent", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_during_a_query_is_no_error(sent, code):
    """DuckDB makes an error of its own of it."""
    ended = subprocess.run(
        [sys.executable, "-c", LONG_QUERY, sent],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert (ended.returncode, ended.stderr.splitlines()) == (code, [INTERRUPTED])


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    tickets = Tickets(folder, folder / "data")
    sample = tickets("sample", "--messages", "300", "--days", "20", "--until", str(last_friday()))
    landed = tickets(
        "import", "data/sample/mailbox.mbox", "--labels", folder / "data/sample/labels.csv"
    )
    return tickets, sample, landed, tickets("run")


@pytest.mark.slow
def test_from_a_sample_to_a_trained_champion(trained):
    tickets, sample, landed, run = trained

    assert sample.stdout.startswith("300 messages in ")
    assert landed.stdout.startswith("300 messages landed, 0 already there, ")
    assert run.returncode == 0
    assert run.stdout.splitlines()[-1].startswith("Drift ")
    assert "dagster" not in run.stderr
    status = json.loads(tickets("status", "--json").stdout)
    assert (status["landing"]["messages"], status["landing"]["days"]) == (300, 20)
    assert status["tables"]["ticket_predictions"]["rows"] == sum(status["decisions"].values())
    by_people = status["decisions"]["labelled"]
    assert 0 < by_people <= status["tables"]["ticket_labels"]["rows"]
    others = sum(status["decisions"].values()) - by_people
    labelled = status["evidence"]["labelled"]
    assert status["evidence"]["labels_needed"] == 45
    assert 0 < sum(labelled.values()) <= status["tables"]["ticket_labels"]["rows"]
    shown = tickets("status").stdout
    enough = sum(count >= 45 for count in labelled.values())
    assert f"Labels        {enough} of {len(labelled)} categories have 45 labelled tickets" in shown
    assert f" of {others:,} tickets without a person's label" in shown
    assert f"Labelled      {by_people:,} tickets, by people" in shown


@pytest.mark.slow
def test_a_classified_text_is_shown_to_people_and_as_json(trained):
    tickets, *_ = trained

    shown = tickets("classify", "Mon imprimante n'imprime plus")
    from_stdin = tickets("classify", "-", "--json", given="Écran noir, cassé".encode("cp1252"))
    not_utf_8 = tickets.start("classify", "Écran noir", PYTHONIOENCODING="ascii")

    assert (shown.returncode, shown.stderr) == (0, "")
    assert [line.split()[0] for line in shown.stdout.splitlines()[:4]] == [
        "category",
        "priority",
        "queue",
        "decision",
    ]
    ticket = json.loads(from_stdin.stdout)
    for line, target in zip(shown.stdout.splitlines(), ("category", "priority"), strict=False):
        assert line.startswith(target)
        assert line.rstrip().endswith("auto") or "review: " in line
    assert (ticket["language"], ticket["decision"] in {"auto", "review"}) == ("fr", True)
    not_utf_8.communicate(timeout=300)
    assert not_utf_8.returncode == 0


@pytest.mark.slow
def test_html_is_classified_like_the_plain_text_it_shows(trained):
    tickets, *_ = trained
    html = "<p>L&#39;&eacute;cran reste noir</p><p>Merci</p>"

    for text in (html, "L&#39;&eacute;cran reste noir\nMerci"):
        from_html = json.loads(tickets("classify", text, "--json").stdout)
        plain = json.loads(tickets("classify", "L'écran reste noir\nMerci", "--json").stdout)
        assert from_html == plain


@pytest.mark.slow
def test_a_label_that_a_person_has_to_look_at_says_why(trained):
    tickets, *_ = trained

    unsure = json.loads(tickets("classify", "bonjour", "--json").stdout)

    reasons = unsure["review_reasons"]
    assert unsure["decision"] == "review"
    assert unsure["priority_decision"] == "auto" or reasons["priority"]
    for target, reason in reasons.items():
        expected = (
            f"this {target} is always reviewed|below its threshold of [0-9.]+%|no past ticket"
        )
        assert re.match(expected, reason)


@pytest.mark.slow
def test_a_text_unlike_all_past_tickets_goes_to_a_person_and_says_why(trained):
    tickets, *_ = trained
    again, foreign = "VPN VPN VPN VPN", "Faites revenir les oignons dans le beurre avec du thym"

    repeated = json.loads(tickets("classify", again, "--json").stdout)
    shown = tickets("classify", foreign).stdout

    assert (repeated["decision"], repeated["priority_decision"]) == ("review", "review")
    assert set(repeated["review_reasons"].values()) == {"it says the same again and again"}
    assert repeated["likely"] == []
    assert "review: too many of its words are in no past ticket" in " ".join(shown.split())


@pytest.mark.slow
def test_a_labelled_table_is_evaluated_for_people_and_as_json(trained):
    tickets, *_ = trained
    topics = {"network": "The VPN drops", "access": "Password locked", "printing": "Paper jam"}
    table = pd.DataFrame(
        [
            (f"{text} in {word} {other}", topic)
            for topic, text in topics.items()
            for word in ["Paris", "Lyon", "Lille", "Nantes", "Brest"]
            for other in ["today", "yesterday", "again", "since", "Monday", "morning"]
        ],
        columns=["Details", "Team"],
    )
    tickets.write("past.csv", table.to_csv(index=False))
    columns = ("--column", "body=Details", "--column", "category=Team", "--splits", "1")
    landed = json.loads(tickets("status", "--json").stdout)["landing"]

    shown = tickets("evaluate", "past.csv", *columns)
    figures = json.loads(tickets("evaluate", "past.csv", *columns, "--json").stdout)

    assert shown.returncode == 0
    assert "category: macro-F1 1.000" in shown.stdout
    assert [line.split()[0] for line in shown.stdout.splitlines()[-3:]] == sorted(topics)
    assert figures["targets"]["category"]["mean_macro_f1"]["tickets"] == 1
    assert json.loads(tickets("status", "--json").stdout)["landing"] == landed


@pytest.mark.slow
def test_a_table_that_is_too_small_to_evaluate_is_one_line(tickets):
    line = refused(tickets("evaluate", tickets.write("a.csv", EXPORT)))

    assert "has 2 different texts with a category; a measurement needs 50" in line


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (("--day", "2001-01-01"), "2001-01-01 is not a processed day: they go from"),
        (("--from", "{last}", "--to", "{first}"), "The first day {last} comes after the last day"),
        (("--only", "nonsense"), "There is no asset nonsense. Assets: candidate_classifier,"),
        (("--job", "nonsense"), "There is no job nonsense. Jobs: audit, classify_mail,"),
    ],
)
def test_a_run_of_what_does_not_exist_is_one_line(trained, arguments, reason):
    tickets, *_ = trained
    landing = json.loads(tickets("status", "--json").stdout)["landing"]

    line = refused(tickets("run", *(argument.format(**landing) for argument in arguments)))

    assert line.startswith(reason.format(**landing))


@pytest.mark.slow
def test_a_day_is_sorted_without_training_and_the_run_told_as_json(trained):
    tickets, *_ = trained
    last = json.loads(tickets("status", "--json").stdout)["landing"]["last"]

    done = tickets("run", "--job", "classify_mail", "--day", last, "--json")

    (run,) = json.loads(done.stdout)["runs"]
    assert run["success"]
    assert run["materialised"][0] == "raw_tickets"
    assert "candidate_classifier" not in run["step_seconds"]
    assert run["step_seconds"]["ticket_predictions"] > 0
    assert run["figures"]["ticket_embeddings"]["run_texts_encoded"] == 0


@pytest.mark.slow
def test_a_day_without_mail_is_sorted_too(trained):
    tickets, *_ = trained
    day = today().isoformat()  # the sample ends before it

    done = tickets("run", "--job", "classify_mail", "--day", day, "--json")

    (run,) = json.loads(done.stdout)["runs"]
    assert (run["success"], run["failed_steps"]) == (True, {})
    assert run["figures"]["ticket_predictions"]["dagster/partition_row_count"] == 0


@pytest.mark.slow
def test_a_collection_that_was_lost_is_made_anew(trained):
    tickets, *_ = trained
    folder = tickets.folder / "data" / "collection"
    rows = json.loads(tickets("status", "--json").stdout)["tables"]["ticket_embeddings"]["rows"]
    before = tickets("classify", "Mon imprimante n'imprime plus", "--json").stdout
    shutil.rmtree(folder)

    run = tickets("run")
    assert run.stderr.startswith(f"Note: The collection has lost {rows} tickets: it is filled")
    assert "1 asset materialised, 3 checks passed, 0 did not" in run.stdout
    assert tickets("run").stdout.startswith("Nothing new: ")
    assert tickets("classify", "Mon imprimante n'imprime plus", "--json").stdout == before

    for file in folder.rglob("*.sqlite3"):
        file.write_text("no database " * 500)
    assert refused(tickets("run")).endswith(" Make it anew: tickets collection rebuild.")
    rebuilt = tickets("collection", "rebuild")
    assert rebuilt.stdout == f"The collection is made anew, of {rows} tickets.\n"
    assert tickets("classify", "Mon imprimante n'imprime plus", "--json").stdout == before


@pytest.mark.slow
def test_a_chosen_dagster_home_without_its_configuration_is_one_line(trained):
    tickets, *_ = trained

    line = refused(tickets("run", "--all", DAGSTER_HOME="none"))

    assert line.startswith("There is no dagster.yaml in")


@pytest.mark.slow
def test_a_damaged_model_is_one_line(trained, tmp_path):
    tickets, *_ = trained
    damaged = tmp_path / "damaged"
    shutil.copytree(tickets.folder / "data", damaged)
    for model in damaged.glob("models/*/model.skops"):
        model.write_bytes(b"damaged")

    line = refused(tickets("classify", "VPN", TICKETS_DATA_DIR=damaged))

    assert "is damaged: " in line
    assert "model.skops" in line


@pytest.mark.slow
def test_mail_is_sorted_by_the_champion_when_no_candidate_passes(trained):
    tickets, *_ = trained
    champion = json.loads(tickets("status", "--json").stdout)["champion"]["version"]

    unchanged = tickets("run")
    assert unchanged.stdout.startswith("Nothing new: ")
    run = tickets("run", "--all", TICKETS_MACRO_F1_FLOOR=1)

    assert run.returncode == 1
    assert run.stdout.splitlines()[0] == (
        "failed  candidate_classifier: candidate_reaches_the_floor"
    )
    assert "\n7 assets materialised, " in run.stdout
    assert "No candidate was promoted; the present champion has sorted the mail." in run.stderr
    assert json.loads(tickets("status", "--json").stdout)["champion"]["version"] == champion


ALL_CHECKS = """
import dagster as dg
from ticket_assets.definitions import defs
from ticket_assets.defs.partitions import DESK
from ticket_assets.orchestration.instance import desk_instance

checks = dg.define_asset_job("checks", selection=dg.AssetSelection.all_asset_checks())
job = dg.Definitions.merge(defs, dg.Definitions(jobs=[checks])).resolve_job_def("checks")
with desk_instance(DESK.folder) as instance:
    result = job.execute_in_process(instance=instance, raise_on_error=False)
verdicts = result.get_asset_check_evaluations()
print(
    len(verdicts),
    [
        verdict.check_name
        for verdict in verdicts
        if verdict.blocking
        and not verdict.passed
        and verdict.severity == dg.AssetCheckSeverity.ERROR
    ],
)
"""


@pytest.fixture
def own_desk(trained, tmp_path):
    """A copy of the trained desk, to be changed."""
    tickets, *_ = trained
    shutil.copytree(tickets.folder / "data", tmp_path / "data")
    shutil.rmtree(tmp_path / "data/sample")
    return Tickets(tmp_path, tmp_path / "data")


@pytest.mark.slow
def test_the_doctor_names_each_damage_and_brings_the_desk_back(own_desk, trained):
    source, data = trained[0].folder / "data" / "sample", own_desk.folder / "data"
    before = json.loads(own_desk("status", "--json").stdout)
    assert own_desk("doctor").stdout.startswith("All is well.")
    original = next(data.glob("landing/2*/*.eml"))
    champion = data / "models" / before["champion"]["version"]
    damaged = [
        data / "dagster" / "history" / "runs.db",
        data / "warehouse.duckdb",
        original,
        data / "cursors" / "landed_days.json",
        champion / "model.skops",
        data / "collection" / "chroma.sqlite3",
    ]
    for path in damaged:
        path.write_bytes(path.read_bytes()[:100])

    found = own_desk("doctor", "--json")
    repaired = own_desk("doctor", "--repair", "--json")

    assert (found.returncode, repaired.returncode) == (1, 1)
    told = json.loads(found.stdout)["findings"]
    for path in (*damaged[:-2], champion):
        assert any(finding["where"].startswith(str(path)) for finding in told), path
    standing = [f for f in json.loads(repaired.stdout)["findings"] if not f["is_repaired"]]
    assert [f["what"] for f in standing] == ["1 original altered or cut, and set aside"]
    imported = own_desk("import", source / "mailbox.mbox", "--labels", source / "labels.csv")
    assert "1 damaged original replaced by the mail that had landed." in imported.stderr
    assert own_desk("run").returncode == 0
    assert own_desk("doctor").stdout.startswith("All is well.")
    assert json.loads(own_desk("status", "--json").stdout)["tables"] == before["tables"]


@pytest.mark.slow
@pytest.mark.parametrize("most", [8, 12, 16, 17, 20, 28])
def test_too_few_files_that_may_be_open_are_named_as_such(own_desk, most):
    """SQLite says no more than that it is unable to open a file, which sounds like damage."""
    own_desk("import", own_desk.write("late.eml", "Subject: late\n\nThe badge does not open."))

    ended = subprocess.run(
        ["bash", "-c", f'ulimit -n {most}; exec "$@"', "bash", *COMMAND, "run"],
        cwd=own_desk.folder,
        env=own_desk.environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert ended.returncode == 1
    assert "raise the limit (`ulimit -n 4096`)" in ended.stderr, ended.stderr
    assert "doctor --repair" not in ended.stderr


def all_checks(tickets):
    """How many checks there are, and the blocking ones that fail, without any new run of assets."""
    done = subprocess.run(
        [sys.executable, "-c", ALL_CHECKS],
        cwd=tickets.folder,
        env=tickets.environment,
        capture_output=True,
        check=True,
    )
    return done.stdout.decode().splitlines()[-1]


def rows(tickets, sql):
    with duckdb.connect(str(tickets.folder / "data/warehouse.duckdb"), read_only=True) as warehouse:
        return warehouse.execute(sql).fetchall()


def assert_no_trace(tickets, *texts):
    """They stand in no byte of the data folder, with its Dagster home; but the ids of erased
    tickets are remembered, so that they do not land again."""
    found = traces(texts, tickets.folder / "data")
    assert {Path(path).parent.name for path in found} <= {"erased"}


ERASE_AND_DIE = """
import os, sys
from ticket_assets import erasure
from ticket_assets.cli import main

remove = erasure._remove

def die_afterwards(*arguments, **options):
    remove(*arguments, **options)
    if not options["dry_run"]:
        os.kill(os.getpid(), 9)

erasure._remove = die_afterwards
sys.argv = ["tickets", *sys.argv[1:]]
main()
"""


@pytest.mark.slow
def test_an_erasure_that_was_killed_when_the_mail_was_gone_is_completed_by_the_same_command(
    own_desk, tmp_path
):
    (sender, ticket) = rows(
        own_desk,
        "select sender, ticket_id from tickets.raw_tickets where sender is not null limit 1",
    )[0]
    own_desk("backup", tmp_path / "backup")
    with sqlite3.connect(own_desk.folder / "data/dagster/schedules/schedules.db") as history:
        history.execute("create table notes (note text)")
        history.execute("insert into notes values (?)", [f"{ticket} of {sender}"])
    command = ("erase", "--sender", sender, "--yes")
    died = subprocess.run(
        [sys.executable, "-c", ERASE_AND_DIE, *command],
        env=own_desk.environment,
        check=False,
    )
    assert died.returncode == -signal.SIGKILL
    assert traces([sender], own_desk.folder / "data/dagster") != {}

    done = own_desk(*command)

    assert done.returncode == 0
    assert f"Snapshots at {tmp_path / 'backup'} still hold" in done.stderr
    assert_no_trace(own_desk, sender, ticket)
    assert traces([ticket], tmp_path / "backup/landing") == {}


@pytest.mark.slow
def test_an_erasure_while_an_import_goes_on_waits_for_it_says_so_and_finds_all(own_desk):
    sender = "zuzanna.quxhorn@example.net"
    mails = [
        f"From MAILER-DAEMON Mon Mar  3 10:00:00 2025\n"
        f"From: {sender if number % 500 == 0 else 'ann@example.net'}\n"
        f"Date: Mon, 3 Mar 2025 10:00:00 +0000\nSubject: {number}\n\nPrinter {number}.\n\n"
        for number in range(8000)
    ]
    importer = own_desk.start("import", own_desk.write("many.mbox", "".join(mails)))
    while not list(own_desk.folder.glob("data/landing/2025-03-03/*.eml")):
        assert importer.poll() is None
        time.sleep(0.01)

    erased = own_desk("erase", "--sender", sender, "--yes", "--json")

    assert importer.wait(300) == 0
    assert erased.returncode == 0, erased.stderr
    assert erased.stderr.startswith("Note: Waits for mail that is landing now")
    assert json.loads(erased.stdout)["messages"] == 16
    assert_no_trace(own_desk, sender)


HOLD_A_RUN = """
import os, sys
import dagster as dg
from pathlib import Path
from ticket_assets.orchestration.instance import desk_instance
from ticket_assets.orchestration.living_runs import presence

@dg.job
def nothing():
    pass

with desk_instance(Path(os.environ["TICKETS_DATA_DIR"])) as instance:
    run = instance.create_run_for_job(nothing, status=dg.DagsterRunStatus.STARTED)
    with presence(instance, run.run_id):
        print(run.run_id[:8], flush=True)
        sys.stdin.read()
        instance.report_run_canceled(run)
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    "command", [("erase", "--sender", "no@x.fr", "--yes"), ("purge",), ("collection", "rebuild")]
)
def test_a_command_that_waits_for_a_run_says_from_the_start_for_which(own_desk, command):
    with subprocess.Popen(
        [sys.executable, "-c", HOLD_A_RUN],
        env=own_desk.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as run:
        run_id = run.stdout.readline().strip()
        process = own_desk.start(*command, TICKETS_RAW_MAIL_DAYS="4000")
        first_line = process.stderr.readline()
        run.communicate("")

    assert first_line.startswith(f"Note: Waits for run {run_id} (started ")
    process.communicate(timeout=300)
    assert process.returncode == 0


@pytest.mark.slow
def test_a_run_that_was_killed_is_not_waited_for(own_desk):
    run = subprocess.Popen(
        [sys.executable, "-c", HOLD_A_RUN],
        env=own_desk.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    run.stdout.readline()
    run.kill()
    run.communicate()

    done = own_desk("erase", "--sender", "no@x.fr", "--yes")

    assert done.returncode == 0
    assert "Waits for" not in done.stderr


@pytest.mark.slow
def test_an_erased_person_stands_in_no_file_and_every_blocking_check_still_passes(
    own_desk, trained
):
    # One who wrote a ticket that the champion has learnt from.
    learnt = pd.concat(
        pd.read_parquet(path) for path in own_desk.folder.glob("data/models/*/training_*.parquet")
    )["ticket_id"]
    (sender, ticket, tokens) = rows(
        own_desk,
        "select sender, ticket_id, tokens from tickets.raw_tickets"  # noqa: S608
        " join tickets.clean_tickets using (ticket_id)"
        f" where ticket_id in {tuple(learnt)} order by token_count desc, ticket_id limit 1",
    )[0]
    before = len(rows(own_desk, "from tickets.raw_tickets"))
    (model,) = own_desk.folder.glob("data/models/*/vocabulary.parquet")
    vocabulary = pd.read_parquet(model).set_index("token")["document_frequency"]
    own_words = {word for word in tokens.split() if vocabulary[word] == 1}

    asked = own_desk("erase", "--sender", sender)
    planned = own_desk("erase", "--sender", sender, "--dry-run", "--json")
    done = own_desk("erase", "--sender", sender.upper(), "--yes", "--json")

    assert refused(asked) == "Nothing was erased: nobody can be asked here, so add --yes."
    erased = json.loads(done.stdout)
    assert {**erased, "dry_run": True} == json.loads(planned.stdout)
    assert "Not searched" not in done.stderr
    assert (erased["rows"]["raw_tickets"], erased["messages"]) == (erased["tickets"],) * 2
    assert len(rows(own_desk, "from tickets.raw_tickets")) == before - erased["tickets"]
    assert erased["models"][erased["champion"]] >= 1
    assert_no_trace(own_desk, sender, ticket)
    for path in own_desk.folder.glob("data/models/*/*.parquet"):
        table = pd.read_parquet(path)
        assert ticket not in table.get("ticket_id", pd.Series(dtype=str)).tolist()
    assert own_words.isdisjoint(pd.read_parquet(model)["token"])
    assert all_checks(own_desk).endswith(" []")
    kept_by_hand = own_desk.write("data/warehouse.duckdb.old", sender)
    done_again = own_desk("erase", "--sender", sender)
    assert f"Not searched, since the desk does not use it: {kept_by_hand}" in done_again.stderr
    kept_by_hand.unlink()
    assert done_again.returncode == 0
    assert done_again.stderr.startswith(f"Note: No message from {sender} is kept. ")
    again = own_desk("import", trained[0].folder / "data/sample/mailbox.mbox")
    assert again.stdout.startswith("0 messages landed, ")
    assert f" {erased['messages']:,} messages had been erased" in " ".join(again.stderr.split())


@pytest.mark.slow
def test_a_purge_takes_the_original_mail_and_leaves_what_was_learnt_from_it(own_desk, trained):
    clean = rows(own_desk, "from tickets.clean_tickets order by all")
    labels = rows(own_desk, "select ticket_id, category from tickets.ticket_labels order by all")
    landing = json.loads(own_desk("status", "--json").stdout)["landing"]
    refused(own_desk("purge"))

    until = last_friday() - timedelta(days=10)
    kept_days = (today() - until).days - 1

    purged = own_desk("purge", TICKETS_RAW_MAIL_DAYS=kept_days)

    assert purged.stdout.endswith(f"purged until {until}.\n")
    left = json.loads(own_desk("status", "--json").stdout)["landing"]
    assert landing["first"] <= str(until) < left["first"]
    personal = (
        f"received_at::date <= date '{until}' and (subject is not null or sender is not null)"
    )
    assert rows(own_desk, f"from tickets.raw_tickets where {personal}") == []
    assert own_desk("purge", TICKETS_RAW_MAIL_DAYS=kept_days).stdout.startswith(
        "0 original messages"
    )
    again = own_desk("import", trained[0].folder / "data/sample/mailbox.mbox")
    assert again.stdout.startswith("0 messages landed, 300 already there")
    assert f"The original mail of {until} has been purged" in refused(
        own_desk("run", "--day", until)
    )

    assert own_desk("run").returncode == 0
    assert rows(own_desk, "from tickets.clean_tickets order by all") == clean
    assert labels == rows(
        own_desk, "select ticket_id, category from tickets.ticket_labels order by all"
    )
    assert all_checks(own_desk).endswith(" []")


def collections(tickets):
    import chromadb

    with closing(chromadb.PersistentClient(str(tickets.folder / "data/collection"))) as client:
        return [collection.metadata["model"] for collection in client.list_collections()]


@pytest.mark.slow
def test_another_encoder_takes_over_vectors_model_and_collection(own_desk):
    # What is tested is the change, not how good 64 numbers are on a sample of this day.
    settings = {"TICKETS_ENCODER_DIMENSION": 64, "TICKETS_MACRO_F1_FLOOR": 0.1}
    done = own_desk("run", "--json", "--accept-settings", **settings)

    (run,) = json.loads(done.stdout)["runs"]
    assert (run["success"], run["failed_steps"]) == (True, {})
    status = json.loads(own_desk("status", "--json", TICKETS_ENCODER_DIMENSION=64).stdout)
    assert status["champion"]["encoder"].endswith("/64")
    encoded = run["figures"]["ticket_embeddings"]["run_texts_encoded"]
    assert rows(own_desk, "select count(distinct text_hash) from tickets.clean_tickets") == [
        (encoded,)
    ]
    assert rows(
        own_desk, "select distinct array_length(vector) from tickets.ticket_embeddings"
    ) == [(64,)]
    assert collections(own_desk) == [status["champion"]["encoder"]]
    versions = rows(own_desk, "select distinct model_version from tickets.ticket_predictions")
    assert versions == [(status["champion"]["version"],)]


@pytest.mark.slow
def test_an_encoder_whose_candidate_fails_leaves_the_predictions_as_they_are(own_desk):
    before = rows(own_desk, "from tickets.ticket_predictions order by all")

    done = own_desk(
        "run", "--accept-settings", TICKETS_ENCODER_DIMENSION=64, TICKETS_MACRO_F1_FLOOR=1
    )

    assert done.returncode == 1
    assert "go back: set TICKETS_ENCODER=all-minilm-l6-v2 and" in done.stderr
    assert rows(own_desk, "from tickets.ticket_predictions order by all") == before


WARM_RUN = """
import sys
from ticket_assets.cli import main

sys.argv = ["tickets", "run"]
try:
    main()
finally:
    print(*sorted({"torch", "transformers", "nncf"} & sys.modules.keys()))
"""


@pytest.mark.slow
def test_vectors_that_were_computed_otherwise_are_made_anew_and_the_run_says_so(own_desk):
    with duckdb.connect(str(own_desk.folder / "data/warehouse.duckdb")) as warehouse:
        warehouse.execute("update tickets.ticket_embeddings set model = 'all-minilm@1/fp32/256'")
        warehouse.execute("update tickets.day_origins set recipe = 'of a former version'")
    tickets = rows(own_desk, "select count(*) from tickets.clean_tickets")[0][0]

    # An encoder that is converted already is loaded with OpenVINO and tokenizers alone.
    done = subprocess.run(
        [sys.executable, "-c", WARM_RUN],
        cwd=own_desk.folder,
        env=own_desk.environment,
        capture_output=True,
        check=False,
        text=True,
    )

    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == ""
    says = f"Encodes {tickets} tickets anew: their vectors are of all-minilm@1/fp32/256, and"
    assert says in done.stderr
    (model,) = rows(own_desk, "select distinct model from tickets.ticket_embeddings")
    assert "-openvino/" in model[0]
