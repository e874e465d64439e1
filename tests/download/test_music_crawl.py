"""`echelon music crawl`, from a site that has the faults of sites."""

from __future__ import annotations

import json

import pytest
from crawled import check_whole, crawl, manifest, skipped, titles
from song_site import CC, Offer, page, publish, songs, wav
from web import CALM

from echelon.errors import EchelonError
from echelon.recipes.music.crawl import command


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(command, "POLITE", CALM)


def test_only_as_many_songs_as_are_wanted_come_and_only_the_pages_they_are_on(site, tmp_path):
    publish(site, songs(9), each=3)
    said = crawl(site, tmp_path, count=5)
    assert titles(tmp_path) == [f"Jazz {n}" for n in range(5)]
    check_whole(tmp_path)
    assert [path for path in site.paths if path.startswith("/genre")] == ["/genre/Jazz/", "/genre/Jazz/?page=2"]
    assert sum(path.startswith("/files") for path in site.paths) == 5
    assert "5 songs" in said
    assert f"echelon music prepare {tmp_path} DATASET" in said


def test_a_manifest_tells_what_the_listing_and_the_page_of_a_song_tell(site, tmp_path):
    publish(site, [Offer("Größe & Co", "/files/a.mp3", "Ünder “Dog”", ("Jazz", "Be-Bop"), "Größe.mp3")])
    crawl(site, tmp_path)
    (song,) = manifest(tmp_path).values()
    assert (song.title, song.artist, song.licence, song.genre) == ("Größe & Co", "Ünder “Dog”", CC, "Jazz; Be-Bop")
    assert song.url == f"{site.url}/files/a.mp3"
    assert song.file.startswith("Größe-")
    assert song.file.endswith(".wav"), "what it holds counts, not what it is called"


def test_licences_are_not_asked_for_where_they_are_not_wanted(site, tmp_path):
    publish(site, songs(2))
    said = crawl(site, tmp_path, licences=False)
    assert not any(path.startswith("/music") for path in site.paths)
    assert "2  of them without a known licence" in said


def test_only_the_genre_that_is_wanted_comes(site, tmp_path):
    offers = [*songs(3), *songs(2, "Rock"), Offer("Both", "/files/b.mp3", genres=("Rock", "Hip-Hop"))]
    publish(site, offers, "/all/")
    said = crawl(site, tmp_path, "/all/", genre="hip hop")
    assert titles(tmp_path) == ["Both"]
    assert "5  it is not of the genre hip hop" in said
    assert "offers no more than these, of 10" in said
    assert set(skipped(tmp_path).values()) == {"it is not of the genre hip hop"}


def test_the_page_of_a_genre_is_found_from_the_site_alone(site, tmp_path):
    publish(site, [Offer("A", "/files/a.mp3", told=False)], "/genre/Old-Time__Historic/")
    crawl(site, tmp_path, "", genre="Old-Time / Historic")
    assert titles(tmp_path) == ["A"], "a song without genres is of that of its page"


def test_what_is_whole_is_not_asked_for_again(site, tmp_path):
    publish(site, songs(4))
    crawl(site, tmp_path, count=2)
    before = len(site.paths)
    said = crawl(site, tmp_path, count=3)
    assert site.paths[before:] == ["/robots.txt", "/genre/Jazz/", "/files/Jazz/2.mp3", "/music/Jazz_2/"]
    assert "1  fetched" in said
    assert "2  were there" in said
    check_whole(tmp_path)


def test_a_song_that_was_deleted_or_cut_comes_again(site, tmp_path):
    publish(site, songs(3))
    crawl(site, tmp_path)
    first, second, third = manifest(tmp_path)
    (tmp_path / first).unlink()
    (tmp_path / second).write_bytes(b"RIFF")
    before = len(site.paths)
    crawl(site, tmp_path)
    assert [path for path in site.paths[before:] if path.startswith("/files")] == [
        "/files/Jazz/0.mp3",
        "/files/Jazz/1.mp3",
    ]
    check_whole(tmp_path)
    assert set(manifest(tmp_path)) == {first, second, third}


def test_pages_that_lead_in_a_circle_come_to_an_end(site, tmp_path):
    publish(site, songs(2))
    site.files["/genre/Jazz/"] = page(site, songs(2), "?page=2")
    site.files["/genre/Jazz/?page=2"] = page(site, songs(2, start=2), "?page=3")
    site.files["/genre/Jazz/?page=3"] = page(site, songs(2), "?page=4")
    site.files["/genre/Jazz/?page=4"] = page(site, songs(2), "?page=5")
    site.files |= {f"/files/Jazz/{n}.mp3": wav(n) for n in range(4)}
    crawl(site, tmp_path)
    assert len(titles(tmp_path)) == 4
    assert "/genre/Jazz/?page=4" not in site.paths, "the third page brought nothing new"


def test_a_page_whose_next_is_itself_is_asked_once(site, tmp_path):
    publish(site, songs(2))
    site.files["/genre/Jazz/"] = site.files["/genre/Jazz/"].replace(b"</body>", b'<a rel="next" href=".">on</a></body>')
    crawl(site, tmp_path)
    assert site.paths.count("/genre/Jazz/") == 1


def test_no_more_pages_are_asked_than_allowed(site, tmp_path):
    publish(site, songs(9), each=1)
    crawl(site, tmp_path, pages=3)
    assert len(titles(tmp_path)) == 3


def test_a_listing_that_robots_txt_forbids_is_not_asked(site, tmp_path):
    publish(site, songs(2))
    site.files["/robots.txt"] = b"User-agent: *\nDisallow: /genre/"
    with pytest.raises(EchelonError, match=r"robots\.txt forbids it"):
        crawl(site, tmp_path)
    assert site.paths == ["/robots.txt"]


def test_requests_keep_their_distance(site, tmp_path):
    publish(site, songs(2))
    crawl(site, tmp_path, pause=0.2)
    times = [when for _, when in site.visits]
    assert len(times) == 6
    assert times[-1] - times[0] >= 0.8


def test_songs_that_say_nothing_of_where_they_are_are_told(site, tmp_path):
    publish(site, songs(1))
    broken = b"<div data-track-info='{no json'></div><div data-track-info='[]'></div><div data-track-info='{}'></div>"
    site.files["/genre/Jazz/"] += broken
    said = crawl(site, tmp_path)
    assert "3  the listing does not say where its sound is" in said
    assert titles(tmp_path) == ["Jazz 0"]


@pytest.mark.parametrize("content", [b"<html><body>We have moved</body></html>", b"", b"\xff\xfe\x00bad" * 99, wav(1)])
def test_a_page_without_songs_is_no_listing(site, tmp_path, content):
    site.files["/genre/Jazz/"] = content
    with pytest.raises(EchelonError, match=r"lists no songs in a form that is known"):
        crawl(site, tmp_path)


def test_what_is_neither_address_nor_list_is_told(site, tmp_path):
    for listing in ("somewhere.html", "fma_large.zip"):
        with pytest.raises(EchelonError, match=rf"'{listing}' is nothing to get songs from"):
            command.crawl(listing, tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(EchelonError, match=r"list .*none\.txt cannot be read"):
        command.crawl(str(tmp_path / "none.txt"), tmp_path)
    with pytest.raises(EchelonError, match=r"--mirror .* is for fma_small"):
        command.crawl(site.url, tmp_path, mirror="http://x")


def test_lists_of_all_kinds_bring_the_same(site, tmp_path):
    site.files |= {f"/files/{n}.mp3": wav(n) for n in range(3)}
    urls = [f"{site.url}/files/{n}.mp3" for n in range(3)]
    lists = {
        "a.txt": "# mine\n\n" + "\n".join(urls) + "\nnot an address\n",
        "b.csv": "title,url,license\n" + "".join(f'"T, {n}",{url},{CC}\n' for n, url in enumerate(urls)) + "no,,\n",
        "c.jsonl": "".join(json.dumps({"url": url, "artist": "A", "genre": "X; Y"}) + "\n" for url in urls)
        + "[1]\n{\n",
    }
    for name, text in lists.items():
        (tmp_path / name).write_text(text)
        said = crawl(site, tmp_path / name[0], str(tmp_path / name))
        assert [song.url for song in manifest(tmp_path / name[0]).values()] == urls
        assert f"{2 if name == 'c.jsonl' else 1}  it has no address in the list" in said
    assert {song.licence for song in manifest(tmp_path / "b").values()} == {CC}
    assert titles(tmp_path / "b") == ["T, 0", "T, 1", "T, 2"]
    assert {song.genre for song in manifest(tmp_path / "c").values()} == {"X; Y"}
    crawl(site, tmp_path / "d", str(tmp_path / "b" / "manifest.jsonl"))
    assert manifest(tmp_path / "d") == manifest(tmp_path / "b"), "a manifest is a list too"


def test_addresses_of_a_list_that_are_none_are_told_and_the_others_come(site, tmp_path):
    site.files["/a.mp3"] = wav(1)
    (tmp_path / "a.txt").write_text(f"http://a b/x.mp3\nhttp://[/x\nhttp://x:99999/y\n{site.url}/a.mp3\n")
    said = crawl(site, tmp_path / "home", str(tmp_path / "a.txt"))
    assert len(manifest(tmp_path / "home")) == 1
    assert "3  it cannot be downloaded" in said


def test_half_a_letter_in_an_address_of_a_list_does_not_matter(site, tmp_path):
    """JSON can say what no file can hold."""
    site.files |= {"/a%20b.mp3": wav(1)}
    (tmp_path / "a.jsonl").write_text(f'{{"url": "{site.url}/a\\ud800b.mp3"}}\n')
    crawl(site, tmp_path / "home", str(tmp_path / "a.jsonl"))
    check_whole(tmp_path / "home")


def test_an_address_that_a_list_has_twice_comes_once(site, tmp_path):
    site.files["/a.mp3"] = wav(1)
    (tmp_path / "a.txt").write_text(f"{site.url}/a.mp3\n" * 2)
    said = crawl(site, tmp_path / "home", str(tmp_path / "a.txt"))
    assert site.paths.count("/a.mp3") == 1
    assert "1  it is listed twice" in said


def test_files_of_others_are_never_replaced(site, tmp_path):
    publish(site, songs(1))
    crawl(site, tmp_path / "other")
    (name,) = manifest(tmp_path / "other")
    home = tmp_path / "home"
    home.mkdir()
    (home / name).write_bytes(b"mine")
    with pytest.raises(EchelonError, match="1  something else has its name in the folder"):
        crawl(site, home)
    assert (home / name).read_bytes() == b"mine"


def test_two_crawls_do_not_share_a_folder(site, tmp_path):
    publish(site, songs(1))
    with command.Shelf.at(tmp_path), pytest.raises(EchelonError, match="another process"):
        crawl(site, tmp_path)
