// One panel: asks for its data and shows it, or says why there is none.

import { colour, draw, moment, names } from "./chart.js";
import { format } from "./units.js";

const make = (tag, properties = {}, ...children) => {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
};

const last = (values) => values.findLast((value) => value !== null) ?? null;

/** A panel of a board. `state` of its element is loading, ready, empty or error. */
export class Panel {
  constructor(board, { id, title, unit, kind }) {
    Object.assign(this, { title, unit, kind, chart: null });
    this.address = `api/boards/${encodeURIComponent(board)}/panels/${id}`;
    const heading = make("h2", { id: `panel-${id}`, textContent: title });
    this.body = make("div", { className: "body" }, make("p", { className: "said", textContent: "Loading …" }));
    this.element = make("section", { className: `panel ${kind}` }, heading, this.body);
    this.element.setAttribute("aria-labelledby", heading.id);
    this.element.dataset.state = "loading";
  }

  /** Asks for the data of a range and shows it. Never fails: what goes wrong is shown. */
  async load(range, signal) {
    let answer;
    try {
      const response = await fetch(`${this.address}?range=${range}`, { signal, headers: { Accept: "application/json" } });
      const told = await response.json().catch(() => null);
      if (!response.ok || told === null) throw new Error(told?.error ?? `The console answers with status ${response.status}`);
      answer = told;
    } catch (error) {
      if (signal.aborted) return;
      const reason = error instanceof TypeError ? "The console cannot be reached" : error.message;
      this.say("error", reason);
      return;
    }
    if (signal.aborted) return;
    if (!answer.lines.some((line) => line.values.some((value) => value !== null))) {
      this.say("empty", "No data");
    } else if (this.kind === "stat") {
      this.numbers(answer);
    } else {
      this.lines(answer);
    }
  }

  say(state, text) {
    this.drop();
    const said = make("p", { className: "said", textContent: text });
    if (state === "error") said.setAttribute("role", "alert");
    this.body.replaceChildren(said);
    this.element.dataset.state = state;
  }

  numbers(answer) {
    const one = (line) =>
      make("div", {}, make("strong", { textContent: format(this.unit, last(line.values)) }),
        ...(answer.lines.length > 1 ? [make("span", { textContent: line.name })] : []));
    this.body.replaceChildren(make("div", { className: "numbers" }, ...answer.lines.map(one)));
    this.element.dataset.state = "ready";
  }

  lines(answer) {
    this.answer = answer;
    if (this.chart && this.chart.names === names(answer)) {
      this.chart.update(answer);
    } else {
      this.drop();
      const plot = make("div", { className: "plot" });
      this.body.replaceChildren(plot, this.legend(answer));
      this.chart = draw(plot, this.title, this.unit, answer, (index) => this.look(index));
    }
    this.look(this.chart.index());
    this.element.dataset.state = "ready";
  }

  legend(answer) {
    const heads = ["Line", "Value", "Min", "Max"].map((textContent) => make("th", { textContent, scope: "col" }));
    [, this.when] = heads;
    this.rows = answer.lines.map((line, index) => {
      const key = make("span", { className: "key" });
      key.style.background = `var(${colour(index)})`;
      const cells = [make("td"), make("td"), make("td")];
      const name = make("th", { scope: "row" }, key, line.name);
      return { cells, row: make("tr", {}, name, ...cells) };
    });
    const more = answer.omitted > 0 ? [make("p", { className: "quiet", textContent: `${answer.omitted} more lines are not shown` })] : [];
    const caption = make("caption", { className: "hidden", textContent: `${this.title}: values by line` });
    const table = make("table", {}, caption, make("thead", {}, make("tr", {}, ...heads)), make("tbody", {}, ...this.rows.map(({ row }) => row)));
    return make("div", { className: "legend" }, table, ...more);
  }

  /** Shows the values at a point, or the newest ones. */
  look(index) {
    const { lines, start, step } = this.answer;
    this.when.textContent = index === null ? "Last" : moment(start + index * step).slice(11);
    this.rows.forEach(({ cells }, at) => {
      const values = lines[at].values;
      const known = values.filter((value) => value !== null);
      const shown = [index === null ? last(values) : values[index] ?? null, ...(known.length ? [Math.min(...known), Math.max(...known)] : [null, null])];
      cells.forEach((cell, column) => { cell.textContent = format(this.unit, shown[column]); });
    });
  }

  /** Draws again, in the colours of now. */
  redraw() {
    this.chart?.redraw();
  }

  drop() {
    this.chart?.destroy();
    this.chart = null;
  }
}
