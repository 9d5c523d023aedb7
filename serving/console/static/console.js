// Draws every chart of the page from the JSON beside it; the page says the same without it, in tables.
"use strict";
const config = { displayModeBar: false, responsive: true, displaylogo: false };
const drawn = [...document.querySelectorAll("[data-figure]")].map((place) => {
  const figure = JSON.parse(document.getElementById(place.dataset.figure).textContent);
  return Plotly.newPlot(place, figure.data, figure.layout, config);
});
Promise.all(drawn).then(() => { document.documentElement.dataset.drawn = drawn.length; });
