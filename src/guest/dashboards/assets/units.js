// Values as people read them, by Grafana's names of units.

const scaled = (value, base, names) => {
  let left = value;
  let at = 0;
  while (Math.abs(left) >= base && at < names.length - 1) {
    left /= base;
    at += 1;
  }
  return [left, names[at]];
};

const digits = (value) => {
  const size = Math.abs(value);
  if (size === 0 || Number.isInteger(value)) return String(value);
  const places = size >= 100 ? 0 : size >= 10 ? 1 : size >= 1 ? 2 : 3;
  const text = value.toFixed(places);
  // Below what three places can show.
  return Number(text) === 0 ? value.toPrecision(1) : String(Number(text));
};

const decimal = (suffix) => (value) => {
  const [left, name] = scaled(value, 1000, ["", "k", "M", "G", "T", "P"]);
  return `${digits(left)}${name ? ` ${name}` : ""}${suffix}`;
};

const binary = (suffix) => (value) => {
  const [left, name] = scaled(value, 1024, ["B", "KiB", "MiB", "GiB", "TiB", "PiB"]);
  return `${digits(left)} ${name}${suffix}`;
};

const percent = (value) => `${digits(value * 100)} %`;

const seconds = (value) => {
  const size = Math.abs(value);
  if (size >= 86400) return `${digits(value / 86400)} d`;
  if (size >= 3600) return `${digits(value / 3600)} h`;
  if (size >= 60) return `${digits(value / 60)} min`;
  if (size >= 1 || size === 0) return `${digits(value)} s`;
  if (size >= 1e-3) return `${digits(value * 1e3)} ms`;
  if (size >= 1e-6) return `${digits(value * 1e6)} µs`;
  return `${digits(value * 1e9)} ns`;
};

const FORMATS = {
  short: decimal(""),
  percentunit: percent,
  bytes: binary(""),
  Bps: binary("/s"),
  s: seconds,
  reqps: decimal(" req/s"),
  ops: decimal(" /s"),
};

/** The text of a value in a unit; an unknown unit is a plain number. */
export const format = (unit, value) =>
  value === null || value === undefined ? "–" : (Object.hasOwn(FORMATS, unit) ? FORMATS[unit] : FORMATS.short)(value);

/** Distances between the marks of an axis that look round in a unit; undefined for those of decimal numbers. */
export const steps = (unit) => {
  if (unit !== "bytes" && unit !== "Bps") return undefined;
  const found = [];
  for (let power = 0; power <= 50; power += 1) found.push(2 ** power);
  return found;
};
