// Draws the charts of the page from the JSON beside each; without it the page says the same in tables.
"use strict";
(() => {
  const config = { displayModeBar: false, displaylogo: false };
  const page = document.documentElement;
  const places = [...document.querySelectorAll("[data-figure]")];
  const still = matchMedia("(prefers-reduced-motion: reduce)").matches;
  const drawn = new Map();

  const draw = (place) => {
    if (!drawn.has(place)) {
      const figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
      if (still) figure.layout.transition = { duration: 0 };
      drawn.set(place, Plotly.newPlot(place, figure.data, figure.layout, config).then(() => { place.dataset.drawn = ""; }));
    }
    return drawn.get(place);
  };
  const hidden = (place) => place.closest("details:not([open])") !== null;
  const near = (place) => {
    const { top, bottom } = place.getBoundingClientRect();
    return bottom >= 0 && top <= innerHeight;
  };
  const idle = window.requestIdleCallback ? () => new Promise((then) => requestIdleCallback(then, { timeout: 200 }))
    : () => new Promise((then) => setTimeout(then, 20));

  // What can be seen first; then, one by one while nothing else is to do, the rest: print and export find all drawn.
  const start = async () => {
    const open = places.filter((place) => !hidden(place));
    const first = open.filter(near);
    await Promise.all(first.map(draw));
    page.dataset.drawn = first.length;
    for (const place of open) {
      if (!drawn.has(place)) await idle();
      await draw(place);
    }
    page.dataset.drawnAll = open.length;
  };
  if (places.length === 0 || window.Plotly) start();

  // A chart has the width of its place: also after a turn of the phone, in a details that opens, and on paper.
  const fit = (place, width) => Plotly.relayout(place, width ? { width } : { width: null, autosize: true });
  const refit = () => { for (const place of drawn.keys()) if (place.offsetWidth) Plotly.Plots.resize(place); };
  let waiting = 0;
  let wide = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth === wide) return;  // on a phone, the address bar comes and goes
    wide = innerWidth;
    clearTimeout(waiting);
    waiting = setTimeout(refit, 120);
  });
  for (const details of document.querySelectorAll("details")) {
    details.addEventListener("toggle", () => {
      if (details.open) for (const place of details.querySelectorAll("[data-figure]")) if (!hidden(place)) draw(place);
    });
  }
  const PAPER = 660;
  addEventListener("beforeprint", () => {
    for (const details of document.querySelectorAll("details.reveal")) details.open = true;
    const whole = document.getElementById("content").clientWidth;
    for (const place of places) if (!hidden(place)) { draw(place); fit(place, Math.round(place.clientWidth / whole * PAPER)); }
  });
  addEventListener("afterprint", () => { for (const place of drawn.keys()) fit(place); });

  // What somebody is writing outlives the other language, and a session that is over when it is sent; a key, which is
  // no text area, is never kept.
  const draft = `draft ${location.pathname.replace(/\/sign$/, "")}`;
  const written = document.querySelector("textarea");
  const keep = () => { if (written?.value) sessionStorage.setItem(draft, written.value); };
  for (const form of [document.querySelector("form[action='/console/language']"), written?.form])
    form?.addEventListener("submit", keep);
  if (written) {
    if (!new URLSearchParams(location.search).has("signed")) written.value ||= sessionStorage.getItem(draft) ?? "";
    sessionStorage.removeItem(draft);
  }

  // Whoever has no mouse scrolls a wide table with the arrow keys.
  for (const wide of document.querySelectorAll(".wide")) if (wide.scrollWidth > wide.clientWidth) wide.tabIndex = 0;
})();
