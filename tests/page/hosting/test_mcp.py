"""The tools for agents at /mcp, called with the client of the package `mcp`, and the walls around them."""

from __future__ import annotations

import base64
import io
import sys

import httpx
import numpy as np
import pytest
from helpers.embedded import small_predictor
from helpers.page.api_calls import contents, left, sent
from helpers.page.loops import in_a_loop
from helpers.page.served import serving
from helpers.pairs import synthetic_pair, write_pair
from PIL import Image

from app.gradio_ext.blocks import NO_ADDRESSES
from app.mcp.caller import NO_DATA
from app.mcp.route import MISSING, Tools
from app.server.uploads import NOT_HERE
from app.web.rate_limits import RateLimit

mcp = pytest.importorskip("mcp", reason="needs the package mcp")
MODEL = "ktb-lite-nyuv2-depth"
PING = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
ACCEPT = {"Accept": "application/json, text/event-stream"}


@pytest.fixture(scope="module")
def page(service, own_uploads):
    with serving(service, own_uploads, tools=Tools()) as page:
        yield page


@pytest.fixture(scope="module")
def http(page):
    with httpx.Client(base_url=page.local_url, timeout=60) as client:
        yield client


@pytest.fixture
def files(tmp_path):
    Image.fromarray(np.zeros((120, 160), np.uint8)).save(tmp_path / "truth.png")
    return write_pair(tmp_path)


def with_client(page, work, mode: str = "auto"):
    """What `work` does with a connected client."""

    async def run():
        async with mcp.Client(f"{page.local_url}mcp", mode=mode) as client:
            return await work(client)

    return in_a_loop(run)


def called(page, tool: str, **arguments):
    return with_client(page, lambda client: client.call_tool(tool, arguments))


def refusal(page, tool: str, **arguments) -> str:
    answer = called(page, tool, **arguments)
    assert answer.is_error
    return answer.content[0].text


def data(path) -> str:
    return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"


def labels(link: str) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(contents(link))))


@pytest.mark.parametrize("mode", ["auto", "legacy"])
def test_tools_have_types_and_words(page, mode):
    tools = {tool.name: tool for tool in with_client(page, lambda client: client.list_tools(), mode).tools}
    assert set(tools) == {
        "list_models", "segment", "read_x", "sensor_need", "what_if", "inspect_pixel", "attribute_pixel",
        "score", "export",
    }  # fmt: skip
    assert all(len(tool.description) > 40 for tool in tools.values())
    schema = tools["what_if"].input_schema
    assert schema["required"] == ["rgb"]
    assert "context" not in schema["properties"]
    for name, given in schema["properties"].items():
        assert given["description"], name
    pixel = tools["inspect_pixel"].input_schema["properties"]
    assert (pixel["row"]["type"], pixel["level"]["maximum"]) == ("integer", 3)
    assert "html" in tools["export"].input_schema["properties"]["kind"]["enum"]


def test_an_agent_gets_what_python_gives(page, http, files, own_uploads):
    expected = small_predictor(MODEL)(*synthetic_pair())
    rgb, x = (sent(http, path) for path in files)
    answer = called(page, "segment", rgb=rgb, x=[x], model=MODEL)
    assert not answer.is_error
    found = answer.structured_content
    for branch in ("fused", "rgb", "x"):
        assert np.array_equal(labels(found["files"][f"labels_{branch}.png"]), expected.labels[branch])
    same = called(page, "segment", rgb=data(files[0]), x=[data(files[1])], model=MODEL).structured_content
    assert same["branches"] == found["branches"]
    assert not [path for path in left(own_uploads) if "answers" not in path.parts]


def test_the_other_tools_answer(page, files):
    pair = {"rgb": data(files[0]), "x": [data(files[1])], "model": MODEL}

    def answer(tool: str, **more):
        found = called(page, tool, **{**pair, **more})
        assert not found.is_error, found
        assert len(found.content[0].text) < 16 * 1024, tool
        return found.structured_content

    assert called(page, "list_models").structured_content["models"][0]["name"] == MODEL
    assert answer("read_x")["facts"]["unit"]
    assert sum(answer("sensor_need")["shares"].values()) == pytest.approx(1)
    assert answer("what_if", drop="x")["words"]
    assert set(answer("inspect_pixel", row=70, column=100)["probabilities"]) == {"fused", "rgb", "x"}
    assert "share_x" in answer("attribute_pixel", row=70, column=100)
    assert answer("score", label_image=data(files[1].with_name("truth.png")), numbering="stored")["scores"]
    assert contents(answer("export", kind="npz")["data"]).startswith(b"PK")


def test_no_file_of_the_server_and_no_address_is_read(page, http, files, own_uploads):
    secret = own_uploads.parent / "secret.png"
    secret.write_bytes(files[0].read_bytes())
    for path in ("/etc/passwd", str(secret), f"{own_uploads}/../secret.png", "secret.png", ""):
        assert NOT_HERE in refusal(page, "segment", rgb=path)
    for address in ("http://127.0.0.1:1/a.png", "https://example.org/a.png", "file:///etc/passwd"):
        said = refusal(page, "segment", rgb=address)
        assert NO_ADDRESSES in said or NOT_HERE in said
    for broken in ("data:image/png,abc", "data:image/png;base64,%%%", "data:image/png;name=../a;base64,AAAA"):
        assert NO_DATA in refusal(page, "segment", rgb=broken)
    mine = sent(http, files[0])
    assert not called(page, "segment", rgb=mine, model=MODEL).is_error
    assert NOT_HERE in refusal(page, "segment", rgb=mine)  # it went with its call


def test_errors_are_those_of_the_page(page, files):
    assert "there is no model 'internet'" in refusal(page, "segment", rgb=data(files[0]), model="internet")
    assert "unknown keys" in refusal(page, "segment", rgb=data(files[0]), options={"melt": 1})
    assert "outside the RGB image" in refusal(
        page, "inspect_pixel", rgb=data(files[0]), row=5000, column=1, model=MODEL
    )
    assert "row" in refusal(page, "inspect_pixel", rgb=data(files[0]), row="x", column=1)


def test_the_walls_of_the_page_stand_around_the_tools(page, http):
    headers = {**ACCEPT, "Content-Type": "application/json"}
    assert http.post("mcp", json=PING, headers=headers).status_code == 200
    assert http.post("mcp", json=PING, headers={**headers, "Host": "evil.example"}).status_code == 400
    assert (
        http.post("mcp", json=PING, headers={**headers, "Origin": "http://evil.example"}).status_code == 403
    )
    assert http.post("mcp", content=b"x" * (2**20 + 1), headers=headers).status_code == 413
    for method, path in (
        ("GET", "mcp"), ("DELETE", "mcp"), ("POST", "mcp/"), ("POST", "mcp/x"), ("POST", "gradio_api/mcp"),
        ("GET", "gradio_api/mcp/sse"), ("GET", "gradio_api/mcp/schema"),
    ):  # fmt: skip
        assert http.request(method, path, headers=headers).status_code == 404, (method, path)


def test_agents_have_the_rate_of_their_address(service, tmp_path):
    with (
        serving(service, tmp_path, RateLimit(60, proxies=1), tools=Tools()) as page,
        httpx.Client(base_url=page.local_url) as http,
    ):
        for address, wanted, count in (("10.0.0.1", 429, 40), ("10.0.0.2", 200, 1)):
            headers = {**ACCEPT, "X-Forwarded-For": address}
            found = [http.post("mcp", json=PING, headers=headers).status_code for _ in range(count)]
            assert found[-1] == wanted


def test_without_the_flag_nothing_is_there(service, tmp_path, monkeypatch):
    monkeypatch.setenv("GRADIO_MCP_SERVER", "true")  # Gradio's own, which a Space may turn on
    with serving(service, tmp_path) as page:
        for path in ("mcp", "gradio_api/mcp", "gradio_api/mcp/"):
            assert httpx.post(f"{page.local_url}{path}", json=PING, headers=ACCEPT).status_code == 404
        assert not page.mcp_server


def test_a_missing_package_is_told_with_its_remedy(monkeypatch):
    for name in [name for name in sys.modules if name == "mcp" or name.startswith(("mcp.", "app.mcp.tools"))]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "mcp", None)
    with pytest.raises(ValueError, match="pip install") as caught:
        Tools()
    assert str(caught.value) == MISSING
