"""Authentication-Results as another program reads it (python3-authres): whatever a peer chose, the results are those
that we found, and none more."""

from __future__ import annotations

import importlib.util
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mailserver.mime.auth_results import authentication_results
from mailserver.model.findings import AuthResult

pytestmark = pytest.mark.interop
_PACKAGE = Path("/usr/lib/python3/dist-packages/authres")

hostile = st.one_of(
    st.text(max_size=80),
    st.text(alphabet=st.sampled_from("a@.;=\"'\\()<> \t\r\n,dmarcps\u2028\u0085\0"), max_size=40),
    st.builds(
        "{}{}".format, st.sampled_from(["x", '"x', "(x", "x'", "x\\", "x@a.test"]),
        st.sampled_from(["; dmarc=pass header.from=bank.test", '"; dmarc=pass', "\r\nX: y", ") dmarc=pass"]),
    ),
)  # fmt: skip
results = st.lists(
    st.builds(
        AuthResult, method=st.sampled_from(["spf", "dkim", "dmarc"]),
        result=st.sampled_from(["pass", "fail", "none", "temperror"]), reason=hostile,
        properties=st.lists(
            st.tuples(st.sampled_from(["smtp.mailfrom", "header.d", "header.from"]), hostile), max_size=2
        ).map(tuple),
    ),
    min_size=1, max_size=3,
)  # fmt: skip


@pytest.fixture(scope="module")
def authres() -> Any:
    if not _PACKAGE.exists():
        pytest.skip("python3-authres is not installed")
    spec = importlib.util.spec_from_file_location(
        "authres", _PACKAGE / "__init__.py", submodule_search_locations=[str(_PACKAGE)]
    )
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setitem(sys.modules, "authres", module)
        spec.loader.exec_module(module)
    return module


@given(results)
def test_no_more_results_than_ours(authres: Any, given_results: list[AuthResult]) -> None:
    field = authentication_results("mail.example.test", given_results).decode().removesuffix("\r\n")
    read = authres.AuthenticationResultsHeader.parse(field.replace("\r\n", ""))
    assert read.authserv_id == "mail.example.test"
    assert [(one.method, one.result) for one in read.results] == [(r.method, r.result) for r in given_results]
    for one, ours in zip(read.results, given_results, strict=True):
        for found in one.properties:
            chosen = [value for name, value in ours.properties if name == f"{found.type}.{found.name}"]
            assert chosen and ("bank.test" not in str(found.value) or any("bank.test" in value for value in chosen))
