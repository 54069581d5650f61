"""Starting and stopping the sample org, and what it keeps."""

from __future__ import annotations

import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import requests

from monarch_dagster.errors import MonarchError
from monarch_dagster.salesforce.sample_org.running import RunningOrg, running
from monarch_dagster_tests.salesforce.test_sample_org_support import (
    connect,
)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def org(home: Path) -> Iterator[RunningOrg]:
    with running(home=home) as started:
        yield started


def test_the_environment_names_the_client_credentials_flow(org: RunningOrg) -> None:
    assert org.environment == {
        "SALESFORCE_BASE_URL": org.url,
        "SALESFORCE_DOMAIN": "sample-org.my",
        "SALESFORCE_CONSUMER_KEY": org.credentials.consumer_key,
        "SALESFORCE_CONSUMER_SECRET": org.credentials.consumer_secret,
    }


def test_credentials_survive_a_restart_and_only_their_owner_reads_them(tmp_path: Path) -> None:
    with running(home=tmp_path) as org:
        first = org.credentials
    with running(home=tmp_path) as org:
        assert org.credentials == first
    kept = list((tmp_path / "sample-org").iterdir())
    assert {path.name for path in kept} == {"credentials.json", "last_modified.json", "private_key.pem"}
    assert {stat.S_IMODE(path.stat().st_mode) for path in kept} == {0o600}


def test_processes_that_start_at_once_agree_on_the_credentials(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path\n"
        "from monarch_dagster.salesforce.sample_org.credentials import load_or_make_credentials as load\n"
        "made = load(Path(sys.argv[1]), '00D'); print(made.session_id, made.private_key_file.read_text())"
    )
    command = [sys.executable, "-c", program, str(tmp_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    printed = {process.communicate()[0] for process in started}
    assert [process.returncode for process in started] == [0] * 8
    assert len(printed) == 1
    assert len(list((tmp_path / "sample-org").iterdir())) == 2


def test_a_home_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    home = tmp_path / "file"
    home.write_text("")
    with pytest.raises(MonarchError, match="Cannot keep the sample org's credentials in") as raised, running(home=home):
        pass
    assert str(home) in raised.value.message


def test_secrets_do_not_show_when_printed(org: RunningOrg) -> None:
    credentials = org.credentials
    for secret in (credentials.consumer_secret, credentials.password, credentials.security_token):
        assert secret not in repr(org)


def test_broken_credentials_say_which_file_to_delete(tmp_path: Path) -> None:
    (tmp_path / "sample-org").mkdir()
    file = tmp_path / "sample-org" / "credentials.json"
    for content in ("", "[]", "{}", '{"session": "x"}'):
        file.write_text(content)
        with (
            pytest.raises(MonarchError, match="does not hold the sample org's credentials") as raised,
            running(home=tmp_path),
        ):
            pass
        assert str(file) in str(raised.value)


def test_a_taken_port_is_named(org: RunningOrg, home: Path) -> None:
    port = urlsplit(org.url).port
    assert port is not None
    with pytest.raises(MonarchError, match=f"Port {port} on 127.0.0.1 is taken"), running(home=home, port=port):
        pass


def test_a_port_that_cannot_be_is_an_error(home: Path) -> None:
    with pytest.raises(MonarchError, match="Cannot listen on port 70000"), running(home=home, port=70000):
        pass


def test_an_unknown_version_is_an_error(home: Path) -> None:
    with pytest.raises(MonarchError, match="versions 1 and 2, not 7"), running(home=home, version=7):
        pass


def test_nothing_listens_after_the_block(home: Path) -> None:
    with running(home=home) as org:
        connect(org).describe()
    address = urlsplit(org.url)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((address.hostname or "", address.port or 0), timeout=5)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_announces_itself_and_ends_cleanly_on_a_signal(tmp_path: Path, number: signal.Signals) -> None:
    program = (
        "import sys; from pathlib import Path; from monarch_dagster.salesforce.sample_org.running import serve\n"
        "serve(None, version=1, port=0, home=Path(sys.argv[1]), announce=lambda org: print(org.url, flush=True))\n"
        "print('ended', flush=True)"
    )
    process = subprocess.Popen([sys.executable, "-c", program, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    with process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        assert requests.get(f"{url}/services/data/", timeout=10).status_code == 200
        process.send_signal(number)
        assert process.stdout.read() == "ended\n"
    assert process.returncode == 0


def test_importing_the_package_loads_no_web_server() -> None:
    program = (
        "import sys, monarch_dagster.salesforce.sample_org.running, monarch_dagster.salesforce.sample_org.server\n"
        "print([name for name in ('starlette', 'uvicorn', 'jwt', 'cryptography') if name in sys.modules])"
    )
    printed = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert printed == "[]\n"
