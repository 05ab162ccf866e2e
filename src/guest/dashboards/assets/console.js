// The console: which board, how far back, how often anew. The address holds the board and the range.

import { Panel } from "./panel.js";

const at = (id) => document.getElementById(id);
// How many panels are asked for at once: as many as are answered at once.
const AT_ONCE = 2;

let known = { boards: [], ranges: [] };
let shown = { name: null, range: null, panels: [] };
let round = new AbortController();
let timer = 0;

const fetched = async (address) => {
  const response = await fetch(address, { headers: { Accept: "application/json" } });
  const told = await response.json().catch(() => null);
  if (!response.ok || told === null) throw new Error(told?.error ?? `The console answers with status ${response.status}`);
  return told;
};

const say = (text) => {
  at("message").textContent = text;
  at("message").hidden = text === "";
};

const address = (board, range) => `?${new URLSearchParams({ board, range })}`;

const wanted = () => {
  const query = new URLSearchParams(location.search);
  const named = known.boards.find((board) => board.name === query.get("board"));
  const range = known.ranges.find((name) => name === query.get("range"));
  return { board: named ?? known.boards[0], range: range ?? null };
};

/** Asks for the data of all panels. */
const refresh = async () => {
  round.abort();
  round = new AbortController();
  const { signal } = round;
  clearTimeout(timer);
  const waiting = [...shown.panels];
  const work = async () => {
    for (let panel = waiting.shift(); panel && !signal.aborted; panel = waiting.shift()) await panel.load(shown.range, signal);
  };
  await Promise.all(Array.from({ length: AT_ONCE }, work));
  if (signal.aborted) return;
  document.documentElement.dataset.rounds = String(Number(document.documentElement.dataset.rounds || 0) + 1);
  const pause = Number(at("refresh").value);
  if (pause > 0) timer = setTimeout(refresh, pause * 1000);
};

const controls = () => {
  at("boards").replaceChildren(...known.boards.map(({ name, title }) => {
    const link = document.createElement("a");
    link.href = address(name, shown.range);
    link.textContent = title;
    if (name === shown.name) link.setAttribute("aria-current", "page");
    link.addEventListener("click", (event) => {
      if (event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      go(name, shown.range);
    });
    return link;
  }));
  at("ranges").replaceChildren(...known.ranges.map((name) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = name;
    button.setAttribute("aria-pressed", String(name === shown.range));
    button.addEventListener("click", () => {
      go(shown.name, name);
      [...at("ranges").children].find((other) => other.textContent === name)?.focus();
    });
    return button;
  }));
};

/** Shows what the address names. */
const show = async () => {
  const { board, range } = wanted();
  if (!board) return say("There are no dashboards.");
  if (board.name !== shown.name) {
    round.abort();
    const told = await fetched(`api/boards/${encodeURIComponent(board.name)}`);
    shown.panels.forEach((panel) => panel.drop());
    shown = { name: told.name, range: range ?? told.range, panels: told.panels.map((panel) => new Panel(told.name, panel)) };
    // Numbers first, in rows of their own: they need less room than pictures.
    const of = (kind) => shown.panels.filter((panel) => (panel.kind === "stat") === (kind === "stat")).map((panel) => panel.element);
    at("numbers").replaceChildren(...of("stat"));
    at("pictures").replaceChildren(...of("timeseries"));
    document.title = `${told.title} – Dashboards`;
    say(told.panels.length ? "" : "This dashboard has no panels.");
  } else if (range) {
    shown.range = range;
  }
  controls();
  await refresh();
};

const failed = (error) => say(error instanceof TypeError ? "The console cannot be reached." : error.message);

const go = (board, range) => {
  history.pushState(null, "", address(board, range));
  show().catch(failed);
};

addEventListener("popstate", () => show().catch(failed));
document.addEventListener("themechange", () => shown.panels.forEach((panel) => panel.redraw()));
at("reload").addEventListener("click", refresh);
at("refresh").addEventListener("change", refresh);
// What nobody sees costs nothing.
document.addEventListener("visibilitychange", () => (document.hidden ? clearTimeout(timer) : refresh()));

try {
  known = await fetched("api/boards");
  await show();
} catch (error) {
  failed(error);
}
