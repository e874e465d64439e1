"""Visits to sites that have rules."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest
from web import CALM, Site

from echelon.download.failure import Busy, Forbidden, Oversized, Refused, Unreachable
from echelon.download.file import File
from echelon.download.limits import Limits
from echelon.download.visitor import Visitor, host_of
from echelon.errors import EchelonError


def visitor(site: Site, **fields) -> Visitor:
    return Visitor([site.url], **{"pause": 0.0, "limits": CALM, **fields})


def test_robots_txt_is_asked_once_before_all_else(site):
    site.files.update({"/a": b"1", "/b": b"22"})
    asking = visitor(site)
    assert [asking.page(f"{site.url}/{name}").content for name in "ab"] == [b"1", b"22"]
    assert site.paths == ["/robots.txt", "/a", "/b"]


@pytest.mark.parametrize(
    ("rules", "good", "bad"),
    [
        ("User-agent: *\nDisallow: /no", "/yes", "/no/x"),
        ("User-agent: other\nDisallow: /\n\nUser-agent: echelon\nDisallow: /b", "/a", "/b"),
        ("User-agent: *\nDisallow: /\nAllow: /genre/", "/genre/Jazz", "/music/x"),
        ("User-agent: *\nDisallow: /*?page=*0$", "/x?page=11", "/x?page=10"),
    ],
)
def test_what_robots_txt_forbids_is_not_asked_for(site, rules, good, bad):
    site.files.update({"/robots.txt": rules.encode(), good: b"good", bad: b"bad"})
    asking = visitor(site)
    with pytest.raises(Forbidden, match=r"robots\.txt forbids it"):
        asking.page(site.url + bad)
    assert asking.page(site.url + good).content == b"good"
    assert site.paths == ["/robots.txt", good]


def test_a_redirect_to_what_is_forbidden_is_not_followed(site, tmp_path):
    site.files.update({"/robots.txt": b"User-agent: *\nDisallow: /no", "/no/x": b"bad"})
    site.leads["/yes"] = "/no/x"
    with pytest.raises(Forbidden, match="forbids"):
        visitor(site).fetch(File(f"{site.url}/yes", "x"), tmp_path)
    assert "/no/x" not in site.paths


@pytest.mark.parametrize("status", [401, 403, 404, 410])
def test_a_site_without_robots_txt_is_open(site, status):
    site.files["/a"] = b"1"
    site.answers["/robots.txt"] = [(status, {})]
    assert visitor(site).page(f"{site.url}/a").content == b"1"


def test_a_site_whose_robots_txt_cannot_be_had_is_closed(site):
    site.files["/a"] = b"1"
    site.answers["/robots.txt"] = [(503, {})] * 99
    with pytest.raises(Forbidden, match=r"robots\.txt cannot be read, so nothing is asked for: .*503"):
        visitor(site).page(f"{site.url}/a")
    assert "/a" not in site.paths


def test_a_robots_txt_that_leads_in_a_circle_closes_the_site_and_is_asked_once(site):
    site.files["/a"] = b"1"
    site.leads["/robots.txt"] = "/robots.txt"
    asking = visitor(site)
    for _ in range(2):
        with pytest.raises(Forbidden, match=r"robots\.txt cannot be read, .* leads from one address to the next"):
            asking.page(f"{site.url}/a")
    assert len(site.paths) == 6


def test_a_page_that_says_that_there_is_no_robots_txt_has_no_rules(site):
    site.files.update({"/robots.txt": b"<html><body>Not found</body></html>", "/a": b"1"})
    assert visitor(site).page(f"{site.url}/a").content == b"1"


@pytest.mark.parametrize("said", ["Crawl-delay: 0.3", "Request-rate: 10/3s"])
def test_the_pause_that_robots_txt_asks_for_is_kept(site, said):
    site.files.update({"/robots.txt": f"User-agent: *\n{said}\n".encode(), "/a": b"1", "/b": b"2", "/c": b"3"})
    asking = visitor(site, pause=0.01)
    for name in "abc":
        asking.page(f"{site.url}/{name}")
    times = [when for path, when in site.visits if path != "/robots.txt"]
    assert all(later - earlier >= 0.28 for earlier, later in itertools.pairwise(times))


def test_our_own_pause_is_kept_for_redirects_and_repetitions_too(site):
    site.leads["/a"] = "/b"
    site.files["/b"] = b"1"
    site.answers["/b"] = [(503, {})]
    assert visitor(site, pause=0.2).page(f"{site.url}/a").content == b"1"
    times = [when for _, when in site.visits]
    assert site.paths == ["/robots.txt", "/a", "/b", "/a", "/b"]
    assert all(later - earlier >= 0.18 for earlier, later in itertools.pairwise(times))


def test_a_pause_of_hours_closes_the_site(site):
    site.files.update({"/robots.txt": b"User-agent: *\nCrawl-delay: 3600", "/a": b"1"})
    with pytest.raises(Forbidden, match=r"asks for 3,600 s between requests, more than 60 s"):
        visitor(site).page(f"{site.url}/a")


def test_other_hosts_are_never_asked(site, tmp_path):
    other = site.url.replace("127.0.0.1", "localhost")
    site.files["/a"] = b"1"
    site.leads["/out"] = f"{other}/a"
    asking = visitor(site)
    for url in (f"{other}/a", f"{site.url}/out"):
        with pytest.raises(Forbidden, match=r"it leads to localhost, out of 127\.0\.0\.1"):
            asking.fetch(File(url, "x"), tmp_path)
    assert "/a" not in site.paths
    both = Visitor([site.url, "localhost"], pause=0, limits=CALM)
    found = both.page(f"{site.url}/out")
    assert (found.url, found.content) == (f"{other}/a", b"1")


@pytest.mark.parametrize(
    ("url", "within"),
    [
        ("https://example.org/x", True),
        ("https://files.example.org/x", True),
        ("https://EXAMPLE.ORG./x", True),
        ("https://me@example.org:8443/x", True),
        ("https://notexample.org/x", False),
        ("https://example.org.evil.net/x", False),
        ("https://example.org@evil.net/x", False),
        ("https://evil.net/?https://example.org", False),
    ],
)
def test_a_host_is_what_will_be_asked(monkeypatch, url, within):
    """Without a network: what is within is asked for its robots.txt first."""
    asked: list[str] = []

    def unreachable(file, folder, *, limits, on_request, **_):
        on_request(file.url)
        asked.append(file.url)
        raise Unreachable("no network here")

    monkeypatch.setattr("echelon.download.visitor.fetch", unreachable)
    with pytest.raises(Forbidden) as told:
        Visitor(["https://www.example.org/genre/Jazz"], pause=0).fetch(File(url, "x"), Path())
    assert [path.endswith("/robots.txt") for path in asked] == ([True] if within else [])
    assert ("out of example.org" in str(told.value)) is not within


def test_what_is_no_address_is_told():
    with pytest.raises(EchelonError, match="is no address"):
        host_of("http://a b/")


def test_answers_have_their_own_failures(site, tmp_path):
    site.files["/large"] = bytes(5000)
    small = visitor(site, limits=Limits(tries=2, backoff_seconds=0.01, most_bytes=4999))
    with pytest.raises(Oversized, match="more than the 4,999 bytes"):
        small.fetch(File(f"{site.url}/large", "x"), tmp_path)
    with pytest.raises(Refused, match="404") as refused:
        small.fetch(File(f"{site.url}/gone", "y"), tmp_path)
    assert refused.value.status == 404
    site.answers["/large"] = [(500, {})] * 9
    with pytest.raises(Unreachable, match="after 2 tries"):
        small.fetch(File(f"{site.url}/large", "z"), tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("x")] == []


def test_more_than_is_allowed_is_not_taken_even_if_its_length_is_not_said(site, tmp_path):
    site.files["/large"], site.chunked = bytes(3_000_000), True
    with pytest.raises(Oversized):
        visitor(site, limits=Limits(most_bytes=1_000_000)).fetch(File(f"{site.url}/large", "x"), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_server_that_asks_for_time_gets_it_up_to_a_limit(site, tmp_path):
    site.files["/a"] = b"1"
    patient = visitor(site, limits=Limits(tries=3, backoff_seconds=0.01, longest_backoff=0.02, longest_asked=5))
    site.answers["/a"] = [(429, {"Retry-After": "1"})]
    assert patient.page(f"{site.url}/a").content == b"1"
    (_, first), (_, second) = site.visits[1:]
    assert second - first >= 0.7
    site.answers["/a"] = [(429, {"Retry-After": "3600"})]
    with pytest.raises(Busy, match="left alone for 3,600 s"):
        patient.page(f"{site.url}/a")
    assert len(site.visits) == 4


def test_the_body_of_a_redirect_is_not_waited_for(site):
    site.files["/b"] = b"1"
    site.leads["/a"] = "/b"
    site.cut_after, site.stalls = 2, 1
    site.answers["/robots.txt"] = [(404, {})]
    before = time.monotonic()
    assert visitor(site, limits=Limits(stall_seconds=20)).page(f"{site.url}/a").content == b"1"
    assert time.monotonic() - before < 5
