"""The few lines of script of a page: tables sort, folded parts open where they are wanted, figures can be saved."""

from recur.report._tables import SORT_SCRIPT

_FOLD_SCRIPT = """\
const unfold = () => {
  const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
  if (target && target.tagName === "DETAILS") target.open = true;
};
addEventListener("hashchange", unfold);
unfold();
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(part => { part.open = true; }));"""

# A figure is saved on white, whatever the colours of the page are.
_SAVE_SCRIPT = """\
document.querySelectorAll("figure").forEach(figure => {
  const svg = figure.querySelector("svg");
  if (!svg) return;
  const name = (svg.getAttribute("aria-label") || "figure").replace(/[^\\w]+/g, "_").toLowerCase();
  const save = (address, ending) => {
    const link = document.createElement("a");
    link.href = address;
    link.download = name + ending;
    link.click();
  };
  const address = () => {
    const copy = svg.cloneNode(true);
    copy.style.color = "#1b1f25";
    copy.style.background = "#fff";
    return "data:image/svg+xml;charset=utf-8," + encodeURIComponent(new XMLSerializer().serializeToString(copy));
  };
  const draw = () => {
    const picture = new Image();
    picture.onload = () => {
      const canvas = document.createElement("canvas");
      const box = svg.viewBox.baseVal;
      canvas.width = 4 * box.width;
      canvas.height = 4 * box.height;
      canvas.getContext("2d").drawImage(picture, 0, 0, canvas.width, canvas.height);
      save(canvas.toDataURL("image/png"), ".png");
    };
    picture.src = address();
  };
  const bar = document.createElement("p");
  bar.className = "save";
  [["SVG", () => save(address(), ".svg")], ["PNG", draw]].forEach(([text, action]) => {
    const button = document.createElement("button");
    button.textContent = text;
    button.title = "Save this figure as " + text;
    button.addEventListener("click", action);
    bar.append(button);
  });
  svg.after(bar);
});"""

SCRIPT = "\n".join((SORT_SCRIPT, _FOLD_SCRIPT, _SAVE_SCRIPT))
