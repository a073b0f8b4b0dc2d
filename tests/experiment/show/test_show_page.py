"""The page: every number of the episode is on it, it needs nothing else, and it can be read."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from shown_forms import FIELD, OF_FEDPEAT, OF_MEC, ROUNDS, TINY

from rllib_mec.experiment.show.command import show_files
from rllib_mec.experiment.show.episode import hold, play

CASES = {
    "published": ("random", "mec", TINY),
    "hold": ("hold", "mec", TINY),
    "field": ("random", "mec", FIELD),
    "one": ("random", "mec", {"num_ues": 1, "num_tasks": 1}),
    "all-server": ("all-server", "mec", TINY),
    "fedpeat": ("random", "fedpeat", ROUNDS),
    "server-alone": ("server-alone", "fedpeat", ROUNDS),
    "energy": ("greedy", "fedpeat", {"scenario": "fedpeat-energy", **ROUNDS}),
}


@pytest.fixture(scope="module", params=CASES)
def shown(request):
    """An episode and the tree of its page."""
    name, env, env_config = CASES[request.param]
    played = play(name, env, env_config, 3)
    return played, tree(played, name)


def tree(played, target):
    html = show_files(played, target, 3, explore=False)["episode.html"].decode()
    return ET.fromstring(html)  # well-formed, with every tag closed


def text(element):
    return "".join(element.itertext())


def number(cell):
    shown = cell.replace("\N{MINUS SIGN}", "-").replace(",", "")
    return np.nan if shown == "-" else float(shown)


def table(page, name):
    """Heads and rows of a table of the page."""
    (found,) = page.findall(f".//details[@id='{name}']//table")
    heads = [text(cell) for cell in found.iter("th")]
    rows = [[text(cell) for cell in row.iter("td")] for row in found.iter("tr")]
    return heads, [row for row in rows if row]


def column(page, name, head):
    heads, rows = table(page, name)
    return [row[heads.index(head)] for row in rows]


def numbers(page, name, head):
    return np.array([number(cell) for cell in column(page, name, head)])


def drawn(page, title, kind):
    """How many shapes of a kind a panel has."""
    (panel,) = [f for f in page.iter("figure") if text(f.find("figcaption/b")) == title]
    paths = [path for path in panel.iter("path") if path.get("class").split()[0] == kind]
    return sum(path.get("d").count("M") for path in paths)


def test_every_ue_and_every_step_is_there(shown):
    played, page = shown
    step = "task" if played.of_mec else "round"
    steps, ues = np.indices((played.num_steps, played.num_ues))
    np.testing.assert_array_equal(numbers(page, "ues", step), steps.ravel())
    np.testing.assert_array_equal(numbers(page, "ues", "UE"), ues.ravel())
    np.testing.assert_array_equal(numbers(page, "steps", step), np.arange(played.num_steps))


def test_numbers_are_those_of_the_episode(shown):
    played, page = shown
    names = {
        "with E": ("retention", 1, 3),
        "holds E": ("cached", 1, 3),
        "delay, s": ("delay_s", 1, 1),
        "of it training, s": ("training_s", 1, 1),
        "perplexity": ("perplexity", 1, 2),
        "energy, kJ": ("energy_kj", 1, 2),
        "battery, kJ": ("battery_kj", 1, 1),
        "uplink, %": ("share", 100, 1),
        "power, W": ("power_w", 1, 2),
        "data, MB": ("data_mb", 1, 0),
        "tokens": ("tokens", 1, 0),
    }
    heads, _ = table(page, "ues")
    assert len(set(names) & set(heads)) >= 5
    for head, (name, factor, places) in names.items():
        assert (head in heads) == (name in played.ues)
        if head in heads:
            found, values = numbers(page, "ues", head), factor * played.ues[name].ravel()
            there = ~np.isnan(found)
            np.testing.assert_allclose(found[there], values[there], atol=0.51 * 10**-places)
            unseen = played.ues["selected"].ravel() if not played.of_mec else values == 0
            assert (~unseen if not played.of_mec else unseen)[~there].all()
    for head, name in (("delay, s", "step_delay_s"), ("reward", "step_reward")):
        np.testing.assert_allclose(numbers(page, "steps", head), played.steps[name], atol=0.051)


def test_words_are_those_of_the_episode(shown):
    played, page = shown
    if played.of_mec:
        ues = played.ues
        on = column(page, "ues", "trains on")
        assert [word.startswith("server") for word in on] == ues["server"].ravel().tolist()
        assert [word == "no task" for word in on] == (~ues["active"]).ravel().tolist()
        downloads = ues["downloaded"]
    else:
        part = column(page, "ues", "takes part")
        assert [word == "yes" for word in part] == played.ues["selected"].ravel().tolist()
        downloads = played.ues["exchanged"]
    found = [word == "yes" for word in column(page, "ues", "download")]
    assert found == downloads.ravel().tolist()


def test_bars_are_those_of_the_episode(shown):
    played, page = shown
    ues = played.ues
    if played.of_mec:
        title = "Where each UE trains"
        assert drawn(page, title, "server") == ues["server"].sum()
        assert drawn(page, title, "download") == ues["downloaded"].sum()
        assert drawn(page, title, "idle") == (~ues["active"]).sum()
        bars = (ues["retention"] > 0).sum()
    else:
        title = "Who takes part, on which emulator"
        assert drawn(page, title, "download") == ues["exchanged"].sum()
        assert drawn(page, title, "idle") == (~ues["selected"]).sum()
        assert drawn(page, title, "busy") == ues["busy"].sum()
        assert drawn(page, "Share of the uplink", "share") == ues["selected"].sum()
        bars = ues["selected"].sum()
    # And the lines of the emulators that are held, which join where they stay the same.
    assert drawn(page, title, "local") - bars in range((ues["cached"] > 0).sum() + 1)
    shown = sum(drawn(page, "Delay of each UE", kind) for kind in ("slowest", "delay"))
    assert shown == (ues["delay_s"] > 0).sum()


def test_the_tiles_hold_the_metrics_and_those_of_hold(shown):
    played, page = shown
    (tiles,) = page.findall(".//dl[@class='tiles']")
    assert len(tiles) == len(played.metrics)
    other = None if played.policy == "hold" else hold(played)
    for tile, (name, value) in zip(tiles, played.metrics.items(), strict=True):
        own, *more = [text(entry) for entry in tile.iter("dd")]
        assert number(own) == pytest.approx(value, abs=0.051, nan_ok=True)
        assert len(more) == (other is not None)
        if other is not None:
            expected = pytest.approx(other.metrics.get(name, np.nan), abs=0.051, nan_ok=True)
            assert number(more[0].removeprefix("hold: ")) == expected


def test_the_heading_says_what_came_of_it(shown):
    played, page = shown
    (title,) = page.iter("h1")
    said = text(title).replace("\N{MINUS SIGN}", "-")
    assert said.startswith(f"{played.policy}: reward {played.metrics['reward']:,.2f}")
    if played.policy == "hold":
        assert said.endswith("0." if said[-2] == "0" else said[-2:])
        assert "hold in the same episode" not in said
        return
    margin = played.metrics["reward"] - hold(played).metrics["reward"]
    word = "more" if margin > 0 else "less"
    if abs(margin) >= 0.005:
        assert said.endswith(f", {abs(margin):,.2f} {word} than hold in the same episode.")
    else:
        assert said.endswith(", as much as hold in the same episode.")


def test_the_sentences_say_what_was_decided(shown):
    played, page = shown
    said = text(page.find("body/main/ul")).replace("\N{MINUS SIGN}", "-")
    ues, steps, metrics = played.ues, played.steps, played.metrics
    assert f"Perplexity was {metrics['perplexity']:.2f} on average." in said
    if played.of_mec:
        tasks, server = ues["active"].sum(), ues["server"].sum()
        shares = [f"{n} ({100 * n / tasks:.1f} %)" for n in (tasks - server, server)]
        assert f"{shares[0]} were trained on the UEs and {shares[1]} on the server." in said
        count, noun = ues["downloaded"].sum(), "download"
        took = "The slowest UE of a task took"
    else:
        mean = ues["selected"].sum(axis=1).mean()
        assert f"{mean:.1f} of {played.num_ues} UEs took part on average" in said
        count, noun = ues["exchanged"].sum(), "exchange"
        took = "A round took"
    assert (f"{count} {noun}" in said) if count else ("No UE downloaded" in said)
    mean = steps["step_delay_s"].mean()
    expected = f"{mean:.1f} s" if mean < 600 else f"{mean / 60:.1f} min"
    assert f"{took} {expected} on average" in said
    assert ("Against hold in the same episode" in said) == (played.policy != "hold")


def test_nothing_is_loaded_from_elsewhere(shown):
    _, page = shown
    html = ET.tostring(page, encoding="unicode")
    for attribute in ("src", "href", "action", "data", "poster", "srcset"):
        assert page.findall(f".//*[@{attribute}]") == []
    assert not re.search(r"https?:|url\(|@import|\bimport\b|fetch\(|XMLHttp|WebSocket", html)
    assert not {e.tag for e in page.iter()} & {"link", "img", "iframe", "object", "embed", "base"}
    (policy,) = page.findall(".//meta[@http-equiv='Content-Security-Policy']")
    assert policy.get("content").startswith("default-src 'none';")


def test_the_script_finds_what_it_moves(shown):
    played, page = shown
    (script,) = page.iter("script")
    looked_for = set(re.findall(r'(?:find|Of)\("#(\w+)', script.text))
    assert looked_for == {"step", "said", "which", "now", "tip", "back", "on", "ues", "steps"}
    assert looked_for <= {element.get("id") for element in page.iter()}
    assert len(page.findall(".//table[@id='now']//th")) == len(table(page, "ues")[0])
    # By position: the rows of a step follow each other, in both tables.
    assert len(table(page, "ues")[1]) == len(table(page, "steps")[1]) * played.num_ues


def test_it_can_be_read_without_seeing_it(shown):
    played, page = shown
    assert page.get("lang") == "en"
    drawings = list(page.iter("svg"))
    assert len(drawings) >= 5
    for drawing in drawings:
        assert drawing.get("role") == "img"
        assert len(drawing.get("aria-label")) > 20
    ids = [element.get("id") for element in page.iter() if element.get("id")]
    assert len(ids) == len(set(ids))
    (slider,) = page.findall(".//input")
    assert (slider.get("min"), slider.get("max")) == ("0", str(played.num_steps - 1))
    assert page.find(f".//label[@for='{slider.get('id')}']") is not None
    assert page.find(f".//output[@for='{slider.get('id')}']").get("aria-live") == "polite"
    assert all(button.get("aria-label") for button in page.iter("button"))
    # Without a script nothing is shown that does not work.
    assert page.find(".//form").get("hidden")


@pytest.mark.ray
@pytest.mark.parametrize("name", [*OF_MEC, *OF_FEDPEAT])
def test_every_form_of_checkpoint_is_shown(trained, name):
    path = str(trained(name))
    played = play(path, None, {}, 3)
    files = show_files(played, path, 3, explore=False)
    page = ET.fromstring(files["episode.html"].decode())
    assert len(table(page, "ues")[1]) == 18
    said = text(page.find(".//p[@class='about']"))
    assert f"checkpoint {name} " in said
    assert "seed 3" in said
    assert str(trained(name).parent) not in files["episode.html"].decode()


@pytest.mark.ray
@pytest.mark.parametrize("name", ["published", "fedpeat"])
def test_the_same_checkpoint_and_seed_give_the_same_bytes(trained, name):
    path = str(trained(name))
    first, second = (show_files(play(path, None, {}, 3), path, 3, False) for _ in range(2))
    assert first == second
    other = show_files(play(path, None, {}, 4), path, 4, False)
    assert all(other[file] != first[file] for file in first)


def test_names_are_no_markup():
    config = {**TINY, "scenario": {"name": '<script>"&', "num_tasks": 2}}
    page = tree(play("random", "mec", {**config, "num_tasks": 2}, 0), "random")
    assert 'scenario <script>"&' in text(page.find(".//p[@class='about']"))
    assert len(list(page.iter("script"))) == 1
