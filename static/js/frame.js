// What every page has: times in the viewer's zone, keys, copying. It works on what the server rendered.
"use strict";

(() => {
  const relative = new Intl.RelativeTimeFormat("en", { numeric: "always", style: "long" });
  const exact = new Intl.DateTimeFormat("en", { dateStyle: "medium", timeStyle: "long" });
  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const dated = new Intl.DateTimeFormat("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const units = [["day", 86400], ["hour", 3600], ["minute", 60], ["second", 1]];

  const distance = (seconds) => {
    if (Math.abs(seconds) < 5) return seconds > 0 ? "in a moment" : "just now";
    const [unit, size] = units.find(([, each]) => Math.abs(seconds) >= each);
    return relative.format(Math.trunc(seconds / size), unit);
  };

  const tell = (element) => {
    const when = new Date(element.dateTime);
    const today = when.toDateString() === new Date().toDateString();
    const text = element.dataset.time === "clock" ? (today ? clock : dated).format(when) : distance((when - Date.now()) / 1000);
    if (element.textContent !== text) element.textContent = text;
    if (!element.dataset.utc) {
      element.dataset.utc = element.title;
      element.title = `${exact.format(when)} (${element.dataset.utc})`;
    }
  };

  const freshen = (root) => {
    root.querySelectorAll("time[data-time]").forEach(tell);
    root.querySelectorAll("[data-copy][hidden]").forEach((button) => { button.hidden = false; });
  };

  new MutationObserver((changes) => {
    for (const change of changes) {
      for (const node of change.addedNodes) {
        if (node.nodeType === Node.ELEMENT_NODE) {
          if (node.matches("time[data-time]")) tell(node);
          freshen(node);
        }
      }
    }
  }).observe(document.body, { childList: true, subtree: true });
  setInterval(() => document.querySelectorAll('time[data-time="relative"]').forEach(tell), 1000);
  freshen(document);

  document.querySelectorAll("[data-nav]").forEach((link) => {
    if (link.dataset.nav === document.body.dataset.here) link.setAttribute("aria-current", "page");
  });

  const openTarget = () => {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    if (target instanceof HTMLDetailsElement) reach(target.querySelector("summary"));
  };

  // Shows what an element is folded into, and puts the focus where typing or Enter goes on.
  const reach = (element) => {
    if (!element) return;
    const details = element.closest("details");
    if (details) details.open = true;
    const field = element.tagName === "SUMMARY" ? details.querySelector("form :is(textarea, input:not([type=hidden]))") : element;
    field.focus();
    field.scrollIntoView({ block: "center" });
  };

  // Somebody who types where no field is must not approve by it: not with a space, nor with an Enter in the same breath.
  const BREATH_MS = 300;
  let reachedAt = -Infinity;
  document.addEventListener("keydown", (event) => {
    if (!document.activeElement?.matches('[data-key="a"]') || reachedAt === -Infinity) return;
    if (event.key === " " || (event.key === "Enter" && performance.now() - reachedAt < BREATH_MS)) event.preventDefault();
  }, true);
  document.addEventListener("keyup", (event) => {
    if (event.key === " " && reachedAt !== -Infinity && document.activeElement?.matches('[data-key="a"]')) event.preventDefault();
  }, true);
  document.addEventListener("pointerdown", () => { reachedAt = -Infinity; }, true);

  const items = () => [...document.querySelectorAll("[data-item]")];
  let chosenId = "";

  const choose = (step) => {
    const all = items();
    if (!all.length) return;
    const at = all.findIndex((item) => item.id === chosenId && item.id) ;
    const next = all[Math.min(Math.max(at + step, 0), all.length - 1)];
    all.forEach((item) => item.classList.remove("chosen"));
    next.classList.add("chosen");
    chosenId = next.id;
    (next.querySelector("[data-open], summary") || next).focus();
  };

  const within = (key) => {
    const chosen = chosenId && document.getElementById(chosenId);
    const selector = `[data-key="${key}"]`;
    return (chosen && chosen.querySelector(selector)) || document.querySelector(selector);
  };

  const keys = {
    j: () => choose(1),
    k: () => choose(-1),
    a: () => { reach(within("a")); reachedAt = performance.now(); },
    d: () => reach(within("d")),
    K: () => reach(within("K")),
    "/": () => reach(document.querySelector("[data-search]")),
    "?": () => document.getElementById("help").showModal(),
  };

  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input:not([type=checkbox]), textarea, select, dialog");
    if (typing || event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
    event.preventDefault();
    keys[event.key]();
  });

  document.addEventListener("click", async (event) => {
    const help = event.target.closest("[data-help]");
    if (help) document.getElementById("help").showModal();
    const copy = event.target.closest("[data-copy]");
    if (!copy) return;
    await navigator.clipboard.writeText(copy.dataset.copy);
    copy.textContent = "Copied";
    document.getElementById("announcer").textContent = "Copied";
  });

  document.querySelectorAll("[data-help]").forEach((button) => { button.hidden = false; });
  // After the browser's own jump to the fragment, which takes the focus away.
  const openSoon = () => setTimeout(openTarget, 0);
  window.addEventListener("hashchange", openSoon);
  window.addEventListener("load", openSoon);
})();
