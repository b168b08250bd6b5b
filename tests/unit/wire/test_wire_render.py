"""Rendering requests: the bytes on the wire, and that nothing can break out of its place."""

from __future__ import annotations

import pytest

from harness.errors import UsageError
from harness.wire.render import CallRenderer, safe_id

HEAD = (
    "Content-Type: application/json; charset=UTF-8\r\n"
    "Accept: */*\r\n"
    "Pragma: no-cache\r\n"
    "Cache-Control: private, max-age=0, no-cache, no-store\r\n"
    "X-Requested-With: XMLHttpRequest\r\n"
)
PATH = "/api/account/12345678/app/engagement/visitors/"


def renderer(**changed: object) -> CallRenderer:
    """A renderer of a plain target, with some arguments changed."""
    return CallRenderer(**{"host": "t.test:8765", "base_path": "", "account": "12345678", **changed})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("vid", "sid", "target"),
    [
        (None, None, f"{PATH}?v=1.0"),
        ("", "", f"{PATH}?v=1.0"),
        ("xyz", None, f"{PATH}xyz?v=1.0"),
        ("xyz", "a+b=.c", f"{PATH}xyz?v=1.0&sid=a+b=.c"),
        (None, "abc", f"{PATH}?v=1.0&sid=abc"),
        ("a/b?c", "d&e#f", f"{PATH}a%2Fb%3Fc?v=1.0&sid=d%26e%23f"),
        ("..", ".", f"{PATH}%2E%2E?v=1.0&sid=%2E"),
        ("x HTTP/1.1\r\nEvil: 1", "ü\x00%", f"{PATH}x%20HTTP%2F1.1%0D%0AEvil:%201?v=1.0&sid=%C3%BC%00%"),
    ],
)
def test_post_is_complete(vid: str | None, sid: str | None, target: str) -> None:
    """A POST is these bytes and no others, whatever the service chose as ids."""
    expected = (
        f"POST {target} HTTP/1.1\r\nHost: t.test:8765\r\n{HEAD}LP-URL: https://t.test:8765/\r\n"
        "X-Harness-Attempt: v-1/0/1\r\nContent-Length: 4\r\n\r\n\u00e4\u00f6"
    )
    ids = (None if text is None else safe_id(text) for text in (vid, sid))
    assert renderer().post(*ids, "äö".encode(), "v-1/0/1") == expected.encode()


def test_put_is_complete() -> None:
    """A PUT differs in method and always carries both ids; an empty body has length 0."""
    expected = (
        f"PUT /base{PATH}x%2Fy?v=1.0&sid=abc HTTP/1.1\r\nHost: [::1]:80\r\n{HEAD}LP-URL: https://[::1]:80/\r\n"
        "X-Harness-Attempt: v/1/2\r\nContent-Length: 0\r\n\r\n"
    )
    rendered = renderer(host="[::1]:80", base_path="/base/").put(safe_id("x/y"), "abc", b"", "v/1/2")
    assert rendered == expected.encode()


def test_headers_replace_defaults_in_any_case() -> None:
    """A given header takes the place of the default with its name, new ones follow, nothing stands twice."""
    headers = {"ACCEPT": "application/json", "user-agent": "harness/1", "lp-url": "https://shop.test/a", "host": "h"}
    expected = (
        f"POST {PATH}?v=1.0 HTTP/1.1\r\nhost: h\r\n"
        + HEAD.replace("Accept: */*", "ACCEPT: application/json")
        + "lp-url: https://shop.test/a\r\nuser-agent: harness/1\r\n"
        "X-Harness-Attempt: a\r\nContent-Length: 2\r\n\r\n{}"
    )
    assert renderer(headers=headers).post(None, None, b"{}", "a").decode() == expected


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"headers": {"A": "secret\r\nB: 1"}}, "the value of header 'A' must be printable ASCII in one line"),
        ({"headers": {"A": "secret\n"}}, "the value of header 'A' must be printable ASCII in one line"),
        ({"headers": {"A": "secrét"}}, "the value of header 'A' must be printable ASCII in one line"),
        ({"headers": {"A\r\nB": "1"}}, "header name 'A\\r\\nB' is not usable: write letters, digits and dashes"),
        ({"headers": {"": "1"}}, "header name '' is not usable: write letters, digits and dashes"),
        ({"headers": {"content-LENGTH": "1"}}, "header 'content-LENGTH' is set by the harness itself: remove it"),
        ({"headers": {"Transfer-Encoding": "x"}}, "header 'Transfer-Encoding' is set by the harness itself: remove it"),
        ({"headers": {"x-harness-attempt": "x"}}, "header 'x-harness-attempt' is set by the harness itself: remove it"),
        ({"host": "a b"}, "target host 'a b' is not usable: write name, name:port or [IPv6]:port"),
        ({"host": "a\r\nb"}, "target host 'a\\r\\nb' is not usable: write name, name:port or [IPv6]:port"),
        ({"base_path": "x"}, "target path 'x' must begin with a slash"),
        ({"base_path": "/a?b"}, "target path '/a?b' holds characters that cannot stand in a URL path"),
        ({"base_path": "/a b"}, "target path '/a b' holds characters that cannot stand in a URL path"),
        ({"account": ""}, "account '' is not usable: write letters, digits and underscores"),
        ({"account": "a/b"}, "account 'a/b' is not usable: write letters, digits and underscores"),
    ],
)
def test_unusable_parts_are_usage_errors(changed: dict[str, object], message: str) -> None:
    """What cannot stand in a request is refused with one line, which never shows a header's value."""
    with pytest.raises(UsageError) as caught:
        renderer(**changed)
    assert str(caught.value) == message
    assert "secr" not in str(caught.value)


@pytest.mark.parametrize("attempt_id", ["a\r\nB: 1", "ä", "a\x00"])
def test_a_broken_attempt_id_is_our_bug(attempt_id: str) -> None:
    """Our own id of an attempt must be plain text; anything else raises before a byte is sent."""
    with pytest.raises(ValueError, match="printable ASCII"):
        renderer().post(None, None, b"", attempt_id)


@pytest.mark.parametrize(
    "raw", ["ZjYWZlYzYzNDE5MTE1OWQ5", "a-b_c.d~e", "a+b=", "a.0123:@!$'()*,;", "...", "a%2Fb", "50%"]
)
def test_ordinary_ids_go_out_raw(raw: str) -> None:
    """Ids are sent as the browser client sends them as long as they cannot break the request."""
    assert safe_id(raw) == raw
