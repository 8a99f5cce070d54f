// Keeps what a page shows up to date from its stream: rows of a timeline, and whole fragments.
"use strict";

(() => {
  const SOON_MS = 1000;
  const LATEST_MS = 5000;
  const LOOK_AGAIN_MS = 400;

  const section = document.querySelector("[data-stream]");
  if (!section || !window.EventSource) return;

  const pulse = document.querySelector("[data-pulse]");
  const announcer = document.getElementById("announcer");
  let seen = Number(section.dataset.after || 0);
  let wait = SOON_MS;
  let source = null;
  const held = new Map();

  const show = (live) => {
    if (!pulse) return;
    pulse.hidden = false;
    pulse.classList.toggle("is-lost", !live);
    const text = live ? "Live" : "Reconnecting…";
    if (pulse.textContent !== text) pulse.textContent = text;
  };

  const element = (html) => {
    const template = document.createElement("template");
    template.innerHTML = html;
    return template.content.firstElementChild;
  };

  const dirty = (control) => {
    if (control.type === "hidden") return false;
    if (control.type === "checkbox") return control.checked !== control.defaultChecked;
    if (control.tagName === "SELECT") return [...control.options].some((option) => option.selected !== option.defaultSelected && option.defaultSelected);
    return control.value !== control.defaultValue;
  };

  // A fragment is not replaced under somebody's hands: while they fill in a form of it, or point at a button in a list.
  const inUse = (old) => {
    const filling = old.hasAttribute("data-filled") || [...old.querySelectorAll("form :is(input, textarea, select)")].some(dirty) || old.querySelector("form :is(input, textarea):not([type=hidden]):focus");
    return filling || (old.hasAttribute("data-hold") && old.querySelector("button:hover, button:active"));
  };

  const keepOpen = (old, fresh) => {
    for (const details of old.querySelectorAll("details[data-keep]")) {
      const same = fresh.querySelector(`details[data-keep="${CSS.escape(details.dataset.keep)}"]`);
      if (same) same.open = details.open;
    }
  };

  const replace = (fresh) => {
    const old = document.getElementById(fresh.id);
    if (!old) return;
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    const scrolled = old.scrollTop;
    keepOpen(old, fresh);
    for (const item of old.querySelectorAll(".chosen")) fresh.querySelector(`#${CSS.escape(item.id)}`)?.classList.add("chosen");
    const said = old.querySelectorAll(":scope > :is(.refusal, .notice):not([data-changed])");
    if (!fresh.querySelector(":scope > .refusal")) fresh.prepend(...said);
    old.replaceWith(fresh);
    fresh.scrollTop = scrolled;
    fresh.querySelectorAll('input[name="csrfmiddlewaretoken"]').forEach((input) => { input.value ||= document.body.dataset.csrf; });
    window.htmx?.process(fresh);
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
    count(fresh);
  };

  const count = (fresh) => {
    if (!("toDecide" in fresh.dataset)) return;
    const badge = document.getElementById("to-decide");
    badge.firstElementChild.textContent = fresh.dataset.toDecide;
    badge.hidden = fresh.dataset.toDecide === "0";
  };

  // What changed while a form is being filled in must be known before it is sent.
  const warn = (old, fresh) => {
    if (old.dataset.version === fresh.dataset.version || old.querySelector("[data-changed]")) return;
    const note = document.createElement("p");
    note.className = "refusal";
    note.dataset.changed = "";
    note.setAttribute("role", "alert");
    note.append("This changed while you were writing. ");
    const link = document.createElement("a");
    link.href = location.pathname;
    link.textContent = "See it as it is now";
    note.append(link);
    old.prepend(note);
  };

  const settle = () => {
    for (const [id, fresh] of held) {
      const old = document.getElementById(id);
      if (old && inUse(old)) {
        if (!old.hasAttribute("data-hold")) warn(old, fresh);
        continue;
      }
      held.delete(id);
      replace(fresh);
    }
  };

  const onRow = (event) => {
    seen = Math.max(seen, Number(event.lastEventId) || 0);
    const row = element(event.data);
    const timeline = document.getElementById("timeline");
    if (!row || !timeline || document.getElementById(row.id)) return;
    row.classList.add("arrived");
    document.querySelector("[data-empty]")?.remove();
    const older = [...timeline.children].find((one) => Number(one.dataset.seq) < Number(row.dataset.seq));
    timeline.insertBefore(row, older || null);
    window.htmx?.process(row);
    announcer.textContent = row.querySelector(".told").textContent.trim();
  };

  const onFragment = (event) => {
    const fresh = element(event.data);
    if (!fresh) return;
    held.set(fresh.id, fresh);
    settle();
  };

  const open = () => {
    const url = new URL(section.dataset.stream, location.href);
    url.searchParams.set("after", seen);
    source = new EventSource(url);
    source.onopen = () => { wait = SOON_MS; show(true); };
    source.onerror = () => {
      show(false);
      if (source.readyState !== EventSource.CLOSED) return;
      setTimeout(open, wait + Math.random() * 500);
      wait = Math.min(wait * 2, LATEST_MS);
    };
    source.addEventListener("row", onRow);
    source.addEventListener("fragment", onFragment);
    source.addEventListener("bye", () => { source.close(); location.reload(); });
  };

  setInterval(settle, LOOK_AGAIN_MS);
  // An answer to a click is newer than what was held back before it.
  document.body.addEventListener("htmx:beforeSwap", (event) => held.delete(event.detail.target.id));
  window.addEventListener("pagehide", () => source?.close());
  window.addEventListener("pageshow", (event) => { if (event.persisted) open(); });
  open();
})();
