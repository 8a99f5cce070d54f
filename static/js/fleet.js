// The fleet: puts the lanes in their order, and moves the strips with the time. What they show comes through live.js.
"use strict";

(() => {
  const TICK_MS = 1000;
  // Who aimed at a lane that was just moved away must not hit the one that took its place.
  const GUARD_MS = 700;

  const list = document.getElementById("fleet");
  if (!list) return;
  const section = list.parentElement;
  const held = document.getElementById("fleet-held");
  const skew = Number(list.dataset.now) - Date.now();
  let movedAt = -Infinity;

  const slide = (strip) => {
    const { begins, column } = strip.dataset;
    const box = strip.viewBox.baseVal;
    const columns = box.width / 2;
    box.x = ((Date.now() + skew) / 1000 - columns * Number(column) - Number(begins)) / Number(column) * 2;
  };
  const slideAll = () => list.querySelectorAll(".sight-strip").forEach(slide);

  const inUse = () => list.matches(":hover") || list.contains(document.activeElement);

  const laneOf = (id) => {
    const known = document.getElementById(`lane-${id}`);
    if (known) return known;
    const place = document.createElement("li");
    place.id = `lane-${id}`;
    place.className = "sight";
    return place;
  };

  // While somebody points at a lane, lanes come at the end only, and none goes or moves.
  const arrange = () => {
    const order = (document.getElementById("fleet-facts").dataset.order || "").split(" ").filter(Boolean);
    const lanes = order.map(laneOf);
    if (inUse()) {
      list.append(...lanes.filter((lane) => !lane.isConnected));
      return;
    }
    const same = lanes.length === list.children.length && lanes.every((lane, at) => lane === list.children[at]);
    if (same) return;
    list.replaceChildren(...lanes);
    movedAt = performance.now();
  };

  new MutationObserver((changes) => {
    for (const change of changes) {
      const [gone] = change.removedNodes;
      const [come] = change.addedNodes;
      if (come instanceof Element && come.id === "fleet-facts") arrange();
      if (!(come instanceof Element) || !come.matches(".sight")) continue;
      come.querySelectorAll(".sight-strip").forEach(slide);
      if (gone instanceof Element && gone.id === come.id && gone.dataset.seq !== come.dataset.seq) come.classList.add("arrived");
    }
  }).observe(section, { childList: true, subtree: true });

  const say = (text) => {
    held.textContent = text;
    held.hidden = !text;
  };

  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#fleet .kill")) return;
    if (event.detail === 0 || performance.now() - movedAt > GUARD_MS) return say("");
    event.preventDefault();
    event.stopImmediatePropagation();
    say("The lanes had just moved, so nothing was killed. Look which one it is, and press again.");
  }, true);

  setInterval(() => { slideAll(); arrange(); }, TICK_MS);
  slideAll();
})();
