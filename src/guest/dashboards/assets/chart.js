// Lines over time, drawn by uPlot.

import { format, steps } from "./units.js";

const COLOURS = 8;
const HEIGHT = 208;
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/** The colour of a line, as a variable of the style sheet, so that it follows the theme. */
export const colour = (index) => `--c${index % COLOURS}`;

const two = (number) => String(number).padStart(2, "0");
const day = (date) => `${two(date.getMonth() + 1)}-${two(date.getDate())}`;
const clock = (date) => `${two(date.getHours())}:${two(date.getMinutes())}`;

const times = (_plot, splits, _axis, _space, step) =>
  splits.map((split) => {
    const date = new Date(split * 1000);
    return step >= 86400 || (date.getHours() === 0 && date.getMinutes() === 0) ? day(date) : clock(date);
  });

/** A time in full, for the legend. */
export const moment = (seconds) => {
  const date = new Date(seconds * 1000);
  return `${date.getFullYear()}-${day(date)} ${clock(date)}:${two(date.getSeconds())}`;
};

const bounds = (unit) => (_plot, low, high) => {
  if (low === null || high === null) return [0, 1];
  const floor = Math.min(0, low);
  const room = high > floor ? (high - floor) * 1.08 : 1;
  const top = floor + room;
  // What is a share of a whole is not drawn above the whole.
  return [floor, unit === "percentunit" && high <= 1 ? Math.min(1, top) : top];
};

/**
 * Draws `answer` into `element`. `look` is told which point the cursor is at, or null. Returns what keeps the drawing:
 * `names`, `index()` (the point that the cursor is at, or null), `update(answer)`, `redraw()` and `destroy()`.
 */
export const draw = (element, title, unit, answer, look) => {
  const axis = { stroke: () => css("--quiet"), grid: { stroke: () => css("--grid"), width: 1 }, ticks: { show: false }, font: "12px system-ui, 'DejaVu Sans', sans-serif" };
  const series = answer.lines.map((line, index) => ({
    label: line.name,
    stroke: () => css(colour(index)),
    width: 1.75,
    spanGaps: false,
    // A value between two gaps is a point, or it would not be seen.
    points: { show: true, filter: alone, size: 5, fill: () => css(colour(index)) },
  }));
  const options = {
    width: Math.max(element.clientWidth, 50),
    height: HEIGHT,
    legend: { show: false },
    padding: [10, 20, 0, 0],
    cursor: { y: false, sync: { key: "time" }, drag: { x: false, y: false }, points: { size: 7 } },
    scales: { y: { range: bounds(unit) } },
    axes: [
      { ...axis, values: times, space: 64, size: 26 },
      { ...axis, size: measured, values: (_plot, splits) => splits.map((split) => format(unit, split)), space: 36, ...(steps(unit) && { incrs: steps(unit) }) },
    ],
    series: [{}, ...series],
    hooks: {
      setCursor: [(plot) => look(plot.cursor.idx ?? null)],
      draw: [() => { element.dataset.drawn = String(Number(element.dataset.drawn || 0) + 1); }],
    },
  };
  const plot = new uPlot(options, table(answer), element);
  const resized = new ResizeObserver(() => {
    if (element.clientWidth > 0 && element.clientWidth !== plot.width) plot.setSize({ width: element.clientWidth, height: HEIGHT });
  });
  resized.observe(element);
  const keys = (event) => {
    const move = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity }[event.key];
    if (move === undefined) return;
    event.preventDefault();
    const last = plot.data[0].length - 1;
    const from = plot.cursor.idx ?? last;
    const to = Math.min(last, Math.max(0, from + move));
    plot.setCursor({ left: plot.valToPos(plot.data[0][to], "x"), top: 1 });
  };
  element.addEventListener("keydown", keys);
  element.tabIndex = 0;
  element.setAttribute("role", "img");
  element.setAttribute("aria-label", `${title}: lines over time. Left and right arrow keys choose a time; the table below has the values.`);
  return {
    names: names(answer),
    index: () => plot.cursor.idx ?? null,
    update: (next) => plot.setData(table(next)),
    redraw: () => plot.redraw(false, true),
    destroy: () => {
      resized.disconnect();
      element.removeEventListener("keydown", keys);
      plot.destroy();
    },
  };
};

/** What tells one set of lines from another. */
export const names = (answer) => JSON.stringify(answer.lines.map((line) => line.name));

const table = (answer) => {
  const length = answer.lines[0]?.values.length ?? 0;
  const time = Array.from({ length }, (_, index) => answer.start + index * answer.step);
  return [time, ...answer.lines.map((line) => line.values)];
};

const alone = (plot, index) => {
  const values = plot.data[index];
  const found = [];
  for (let at = 0; at < values.length; at += 1) {
    if (values[at] !== null && (values[at - 1] ?? null) === null && (values[at + 1] ?? null) === null) found.push(at);
  }
  return found;
};

// As wide as the longest text of the axis.
const measured = (plot, texts, axis) => {
  if (!texts) return 48;
  plot.ctx.font = plot.axes[axis].font[0];
  const widest = Math.max(0, ...texts.map((text) => plot.ctx.measureText(text).width));
  return Math.ceil(widest / devicePixelRatio) + 16;
};
