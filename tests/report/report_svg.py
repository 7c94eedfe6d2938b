"""Reads numbers back out of an SVG, so that tests can compare a picture with what it should show."""

import re
import xml.etree.ElementTree as ElementTree

import numpy as np

_SVG = "{http://www.w3.org/2000/svg}"
_DIGITS = str.maketrans("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789")


def texts(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter(f"{_SVG}text")]


def lines(svg, color):
    """The drawn lines of one colour, longest first: [N, 2] points in SVG coordinates."""
    found = []
    for path in ElementTree.fromstring(svg).iter(f"{_SVG}path"):
        style = path.get("style", "")
        if f"stroke: {color}" in style and "fill: none" in style and "clip-path" in path.attrib:
            found.append(np.array(re.findall(r"[ML] (\S+) (\S+)", path.get("d", "")), float).reshape(-1, 2))
    return sorted(found, key=len, reverse=True)


def marks(svg, color):
    """Where markers of one colour stand: [N, 2] in SVG coordinates."""
    uses = [use for use in ElementTree.fromstring(svg).iter(f"{_SVG}use") if f"stroke: {color}" in use.get("style", "")]
    return np.array([(use.get("x"), use.get("y")) for use in uses], float).reshape(-1, 2)


def tick_scale(svg, axis, plain=False):
    """Slope and offset from SVG coordinates to labels: y as powers of ten, x and a plain y as they are."""
    root = ElementTree.fromstring(svg)
    labels, places = [], []
    for group in root.iter(f"{_SVG}g"):
        if re.search(rf"-{axis}tick_\d+$", group.get("id", "")):
            text = next(group.iter(f"{_SVG}text")).text
            labels.append(float(text if plain or axis == "x" else text.removeprefix("10").translate(_DIGITS)))
            places.append(float(next(group.iter(f"{_SVG}use")).get(axis)))
    assert len(labels) >= 3
    slope, offset = np.polyfit(places, labels, 1)
    np.testing.assert_allclose(slope * np.array(places) + offset, labels, atol=0.01 * abs(labels[-1] - labels[0]))
    return slope, offset
