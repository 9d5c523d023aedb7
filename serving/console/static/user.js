// What-if as one moves a slider: asks the model again and draws its answer. Without it the form does the same.
"use strict";
(() => {
  const form = document.getElementById("what-if-form");
  if (!form || location.protocol === "file:") return;
  const number = (name) => form.querySelector(`[data-number="${CSS.escape(name)}"]`);
  const slider = (name) => form.querySelector(`[data-slider="${CSS.escape(name)}"]`);
  const absent = (name) => form.querySelector(`[data-absent="${CSS.escape(name)}"]`) ?? {};
  let waiting = 0, asked = 0;
  async function ask() {
    const wrong = [...form.elements].find((one) => !one.validity.valid);
    if (wrong) return say("hint", wrong.validationMessage);
    const mine = ++asked;
    const query = new URLSearchParams();
    for (const [name, value] of new FormData(form)) if (value !== "" && name !== "add") query.set(name, value);
    let told;
    try {
      const reply = await fetch(`${form.dataset.json}?${query}`, { headers: { accept: "application/json" } });
      if (!reply.headers.get("content-type")?.includes("json")) return form.submit(); // a page: the session is over
      told = await reply.json();
      if (!reply.ok) throw new Error(told.detail);
    } catch (error) {
      if (mine === asked) say("hint", error.message);
      return;
    }
    if (mine !== asked) return; // a later question is on its way
    for (const [name, text] of Object.entries(told.said)) say(name, text);
    for (const [name, figure] of Object.entries(told.figures)) {
      const place = document.querySelector(`#${name} .plot`);
      if (!place) continue;
      const table = document.querySelector(`#${name} table`);
      if (table && figure.table) {
        fill(table.tHead, "col", [figure.table.columns]);
        fill(table.tBodies[0], "row", figure.table.rows);
      }
      // Should the page not have drawn it yet, it draws this one.
      document.getElementById(place.dataset.figure).textContent = JSON.stringify(figure);
      if (place.dataset.drawn !== undefined) Plotly.react(place, figure.data, figure.layout, { displayModeBar: false });
    }
    form.dataset.answered = String(mine);
  }
  function fill(section, kind, rows) {
    section.replaceChildren(...rows.map((row) => {
      const line = document.createElement("tr");
      row.forEach((text, place) => {
        const cell = document.createElement(kind === "col" || place === 0 ? "th" : "td");
        if (cell.tagName === "TH") cell.scope = kind;
        cell.textContent = text;
        line.append(cell);
      });
      return line;
    }));
  }
  function say(name, text) {
    const place = document.querySelector(`[data-said="${name}"]`);
    if (place) place.textContent = text;
    const box = document.querySelector(`[data-said-box="${name}"]`);
    if (box) box.hidden = !text;
  }
  function soon(feature) {
    const along = form.elements.along;
    if (feature && along) along.value = feature;
    clearTimeout(waiting);
    waiting = setTimeout(ask, 150);
  }
  for (const one of form.querySelectorAll("[data-slider]")) {
    one.hidden = false;
    one.addEventListener("input", () => {
      number(one.dataset.slider).value = one.value;
      absent(one.dataset.slider).checked = false;
      soon(one.dataset.slider);
    });
  }
  for (const one of form.querySelectorAll("[data-number]")) {
    one.addEventListener("input", () => {
      if (one.value !== "") slider(one.dataset.number).value = one.value;
      absent(one.dataset.number).checked = false;
      soon(one.dataset.number);
    });
  }
  for (const one of form.querySelectorAll("[data-absent]")) one.addEventListener("change", () => soon(one.dataset.absent));
  form.elements.along.addEventListener("change", () => soon(""));
  form.elements.add.addEventListener("change", () => form.requestSubmit());
})();
