// The brush of the strip chart: drag, or arrow keys, to choose a time; the page then shows only that.
"use strict";

(() => {
  const section = () => document.getElementById("chart");
  let chosen = null;
  let dragging = false;

  const clock = new Intl.DateTimeFormat("en-GB", { hour: "2-digit", minute: "2-digit", second: "2-digit" });
  const moment = (chart, column) => new Date((Number(chart.dataset.since) + column * Number(chart.dataset.step)) * 1000);
  const columns = (chart) => Number(chart.dataset.columns);
  const within = (chart, column) => Math.min(Math.max(column, 0), columns(chart) - 1);
  const first = () => Math.min(chosen.from, chosen.to);
  const end = () => Math.max(chosen.from, chosen.to) + 1;

  const words = (chart) => `${clock.format(moment(chart, first()))} to ${clock.format(moment(chart, end()))}`;

  const draw = (chart) => {
    const svg = chart.querySelector("svg");
    const brush = svg?.querySelector(".brush");
    if (!brush) return;
    const unit = svg.viewBox.baseVal.width / columns(chart);
    brush.setAttribute("x", chosen ? first() * unit : 0);
    brush.setAttribute("width", chosen ? (end() - first()) * unit : 0);
    const label = chart.querySelector("[data-brushed]");
    label.dataset.resting ??= label.textContent;
    label.textContent = chosen ? words(chart) : label.dataset.resting;
  };

  // The stream must not replace the chart in the middle of a choice: live.js leaves alone what has data-filled.
  const choose = (chart, from, to) => {
    chosen = { from: within(chart, from), to: within(chart, to) };
    chart.dataset.filled = "";
    draw(chart);
  };

  const drop = (chart) => {
    chosen = null;
    delete chart.dataset.filled;
    draw(chart);
  };

  const go = (chart) => {
    const address = new URL(chart.dataset.address, location.href);
    address.searchParams.set("since", moment(chart, first()).toISOString().replace(".000", ""));
    address.searchParams.set("until", moment(chart, end()).toISOString().replace(".000", ""));
    location.assign(address);
  };

  const column = (chart, event) => {
    const box = chart.querySelector("svg").getBoundingClientRect();
    return within(chart, Math.floor(((event.clientX - box.left) / box.width) * columns(chart)));
  };

  const keys = {
    ArrowLeft: (chart, wide) => choose(chart, chosen ? chosen.from + (wide ? 0 : -1) : columns(chart) - 1, chosen ? chosen.to - 1 : columns(chart) - 1),
    ArrowRight: (chart, wide) => choose(chart, chosen ? chosen.from + (wide ? 0 : 1) : 0, chosen ? chosen.to + 1 : 0),
    Home: (chart, wide) => choose(chart, wide && chosen ? chosen.from : 0, 0),
    End: (chart, wide) => choose(chart, wide && chosen ? chosen.from : columns(chart) - 1, columns(chart) - 1),
    Escape: (chart) => drop(chart),
    Enter: (chart) => { if (chosen) go(chart); },
  };

  const prepare = () => {
    const svg = section()?.querySelector("svg");
    if (!svg || svg.hasAttribute("tabindex")) return;
    svg.setAttribute("tabindex", "0");
    svg.setAttribute("role", "application");
    svg.setAttribute("aria-roledescription", "time range");
    svg.querySelectorAll("a").forEach((link) => link.setAttribute("tabindex", "-1"));
    section().querySelector("[data-brush-help]").hidden = false;
    if (chosen) draw(section());
  };

  document.addEventListener("pointerdown", (event) => {
    const svg = event.target.closest?.("#chart svg");
    if (!svg || event.button) return;
    event.preventDefault();
    svg.setPointerCapture(event.pointerId);
    svg.focus({ preventScroll: true });
    dragging = true;
    choose(section(), column(section(), event), column(section(), event));
  });
  document.addEventListener("pointermove", (event) => {
    if (dragging && chosen) choose(section(), chosen.from, column(section(), event));
  });
  document.addEventListener("pointerup", () => {
    if (!dragging) return;
    dragging = false;
    if (chosen) go(section());
  });
  document.addEventListener("pointercancel", () => {
    if (dragging) drop(section());
    dragging = false;
  });
  // With JavaScript a click is a drag of one column; the links are for pages without it.
  document.addEventListener("click", (event) => { if (event.target.closest?.("#chart svg a")) event.preventDefault(); });

  document.addEventListener("keydown", (event) => {
    const svg = event.target.closest?.("#chart svg");
    if (!svg || !(event.key in keys) || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    keys[event.key](section(), event.shiftKey);
    if (chosen) document.getElementById("announcer").textContent = words(section());
  });
  document.addEventListener("focusout", (event) => {
    if (event.target.closest?.("#chart svg") && chosen && !dragging) drop(section());
  });

  new MutationObserver(prepare).observe(document.querySelector(".timeline"), { childList: true });
  prepare();
})();
