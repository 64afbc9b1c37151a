const NUMBER = 0, TIME = 1, FROM = 2, TO = 3, LAYER = 4, KIND = 5, TEXT = 6, FRAME = 7, LENGTH = 8, WRONG = 9, ADDRESSES = 10;
const COLOURS = { gmcast: "#7a8595", evs: "#2767c4", pc: "#7b3fb5", gcs: "#12804a", link: "#a0a7b3", sst: "#c2570c", frame: "#b00020" };
const BANDS = ["#dbeafe", "#dcfce7", "#fef3c7", "#fce7f3", "#ede9fe", "#cffafe"];
const LEFT = 120, TOP = 30, SST_WIDTH = 16;
const canvas = document.getElementById("canvas"), chart = document.getElementById("chart"), side = document.getElementById("side");
const context = canvas.getContext("2d");
const lanes = DATA.lanes;
// Columns by name, the unknown ones last.
const order = lanes.map((_, lane) => lane).sort((a, b) => (lanes[a] === "others") - (lanes[b] === "others") || lanes[a].localeCompare(lanes[b]));
const rank = lanes.map((_, lane) => order.indexOf(lane));
let rows = [], scale = 18, offset = 0, mode = "even", selected = -1, hits = null, query = "", pending = false;
let width = 0, height = 0;
const VIEWS = DATA.notes.filter(note => note.view !== undefined);
const LAYERS = Object.keys(COLOURS), LAYER_NUMBER = Object.fromEntries(LAYERS.map((layer, number) => [layer, number]));
const WRONG_COLOUR = "#b00020";

function isQuiet(row) {
  return row[LAYER] === "gmcast" && row[KIND] === "KEEPALIVE"
    || row[LAYER] === "evs" && (row[KIND] === "GAP" && row[TEXT].includes("GAP(ack)") || row[KIND] === "USER");
}

function refresh() {
  const hide = document.getElementById("quiet").checked;
  rows = hide ? ROWS.filter(row => !isQuiet(row)) : ROWS;
  find();
  document.getElementById("info").textContent = rows.length.toLocaleString("en") + " of " + ROWS.length.toLocaleString("en") + " records"
    + (DATA.left_out ? ", " + DATA.left_out + " more were left out" : "");
  draw();
}

function place(index) { return mode === "even" ? index : (rows[index][TIME] - rows[0][TIME]) / 1000; }
function extent() { return rows.length ? place(rows.length - 1) + 1 : 1; }
// The first row at or after a place on the axis.
function seek(at) {
  let low = 0, high = rows.length;
  while (low < high) { const middle = low + high >> 1; if (place(middle) < at) low = middle + 1; else high = middle; }
  return low;
}
function seekTime(time) {
  let low = 0, high = rows.length;
  while (low < high) { const middle = low + high >> 1; if (rows[middle][TIME] < time) low = middle + 1; else high = middle; }
  return low;
}
function placeOfTime(time) { return mode === "even" ? seekTime(time) : (time - (rows.length ? rows[0][TIME] : 0)) / 1000; }
function y(at) { return TOP + (at - offset) * scale; }
function x(lane) { return LEFT + (rank[lane] + 0.5) * (width - LEFT) / Math.max(1, lanes.length); }
function clock(time) { return new Date((DATA.start + time) / 1000).toISOString().slice(11, 23) + String((DATA.start + time) % 1000).padStart(3, "0"); }

function draw() { if (!pending) { pending = true; requestAnimationFrame(() => { pending = false; paint(); }); } }

function paint() {
  const ratio = devicePixelRatio || 1;
  if (canvas.width !== Math.round(chart.clientWidth * ratio) || canvas.height !== Math.round(chart.clientHeight * ratio)) {
    canvas.width = Math.round(chart.clientWidth * ratio); canvas.height = Math.round(chart.clientHeight * ratio);
  }
  width = chart.clientWidth; height = chart.clientHeight;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.font = "12px system-ui, sans-serif"; context.textBaseline = "middle";
  paintBands(); paintLanes(); paintTransfers(); paintRows(); paintHead();
}

function paintBands() {
  const column = (width - LEFT) / Math.max(1, lanes.length);
  VIEWS.forEach((view, index) => {
    const from = Math.max(TOP, y(placeOfTime(view.t)));
    const next = VIEWS[index + 1];
    const to = Math.min(height, next ? y(placeOfTime(next.t)) : y(extent()));
    if (to <= TOP || from >= height || to <= from) return;
    context.fillStyle = BANDS[index % BANDS.length];
    for (const lane of view.members) context.fillRect(LEFT + rank[lane] * column + 3, from, column - 6, to - from);
    if (to - from > 16) {
      context.fillStyle = "#33415599"; context.font = "11px system-ui, sans-serif";
      context.fillText("primary component " + view.view, LEFT + Math.min(...view.members.map(lane => rank[lane])) * column + 8, from + 9);
      context.font = "12px system-ui, sans-serif";
    }
  });
}

function paintLanes() {
  context.strokeStyle = "#9aa4b2"; context.lineWidth = 1; context.beginPath();
  const bottom = Math.min(height, y(extent()));
  lanes.forEach((_, lane) => { context.moveTo(x(lane) + 0.5, TOP); context.lineTo(x(lane) + 0.5, bottom); });
  context.stroke();
}

// On one machine an address says nothing about the node: then the joiner is the one that last asked.
function receiver(transfer) {
  if (lanes[transfer.to] !== "others") return transfer.to;
  let lane = transfer.to;
  for (const note of DATA.notes) { if (note.t > transfer.t) break; if (note.status === "JOINER") lane = note.lane; }
  return lane;
}
for (const transfer of DATA.transfers) transfer.lane = receiver(transfer);

function paintTransfers() {
  for (const transfer of DATA.transfers) {
    const from = y(placeOfTime(transfer.t)), to = y(placeOfTime(transfer.end) + (mode === "even" ? 1 : 0));
    if (to < TOP || from > height) continue;
    const top = Math.max(from, TOP), size = Math.max(3, Math.min(to, height) - top), at = x(transfer.lane);
    context.fillStyle = "#f2994acc"; context.fillRect(at - SST_WIDTH / 2, top, SST_WIDTH, size);
    if (size > 14 || transfer.bytes > 1e6) {
      context.fillStyle = "#8a3f06";
      context.fillText("SST " + bytes(transfer.bytes) + ", " + transfer.files + " files", at + SST_WIDTH, top + Math.min(size / 2, 40));
    }
  }
}
function bytes(count) { return count >= 1 << 20 ? (count / (1 << 20)).toFixed(1) + " MiB" : count >= 1024 ? (count / 1024).toFixed(1) + " KiB" : count + " B"; }

// Of rows that lie on each other only so many are drawn that every few pixels have one of each kind.
// Lines are rectangles and the heads of a colour one path: a canvas is slow per path, not per rectangle.
function paintRows() {
  const first = Math.max(0, seek(offset - 1)), last = Math.min(rows.length, seek(offset + (height - TOP) / scale + 1));
  const drawn = new Int32Array(lanes.length * lanes.length * (LAYERS.length + 1)).fill(-1);
  const paths = new Map(), labels = [], across = lanes.map((_, lane) => x(lane));
  const step = mode === "even" && scale < 1 ? scale < 0.2 ? 4 : 2 : 1;
  let labelled = -100;
  for (let index = first; index < last; index++) {
    const row = rows[index], at = y(place(index));
    if (at < TOP - 2) continue;
    const layer = LAYER_NUMBER[row[LAYER]] ?? LAYERS.length, line = Math.round(at / step) * step;
    const key = (row[FROM] * lanes.length + row[TO]) * (LAYERS.length + 1) + layer;
    const isSpecial = index === selected || row[WRONG] || hits && hits.has(row[NUMBER]);
    if (drawn[key] === line && !isSpecial) continue;
    drawn[key] = line;
    if (isSpecial) paintMark(row, at, index);
    addArrow(paths, row, Math.round(across[row[FROM]]), Math.round(across[row[TO]]), line);
    if (at - labelled >= 13) { labels.push([row, at]); labelled = at; }
  }
  for (const [colour, { lines, heads }] of paths) {
    context.fillStyle = colour;
    for (let line = 0; line < lines.length; line += 3) context.fillRect(lines[line], lines[line + 1], lines[line + 2], 1);
    context.fill(heads);
  }
  for (const [row, at] of labels) paintLabel(row, at);
}

function paintMark(row, at, index) {
  if (index !== selected && !(hits && hits.has(row[NUMBER]))) return;
  context.fillStyle = index === selected ? "#0b61d833" : "#ffd66688";
  context.fillRect(LEFT, at - Math.max(3, Math.min(scale, 16) / 2), width - LEFT, Math.max(6, Math.min(scale, 16)));
}

function addArrow(paths, row, from, to, at) {
  const colour = row[WRONG] ? WRONG_COLOUR : COLOURS[row[LAYER]] || "#555";
  let path = paths.get(colour);
  if (!path) paths.set(colour, path = { lines: [], heads: new Path2D() });
  if (from === to) { path.lines.push(from - 2, at - 1, 5, from - 2, at, 5, from - 2, at + 1, 5); return; }
  path.lines.push(Math.min(from, to), at, Math.abs(to - from));
  // Where rows lie on each other their heads would be a smear.
  if (mode === "even" && scale < 2) return;
  const way = Math.sign(to - from);
  path.heads.moveTo(to, at + 0.5); path.heads.lineTo(to - way * 7, at - 3); path.heads.lineTo(to - way * 7, at + 4); path.heads.closePath();
}

function paintLabel(row, at) {
  context.fillStyle = "#5d6879"; context.font = "11px ui-monospace, monospace";
  context.fillText(clock(row[TIME]), 6, at);
  context.font = "11px system-ui, sans-serif";
  if (scale * (mode === "even" ? 1 : 13) < 11) return;
  const same = row[FROM] === row[TO];
  const from = Math.min(x(row[FROM]), x(row[TO])), span = same ? (width - from) : Math.abs(x(row[TO]) - x(row[FROM]));
  const text = fit(label(row), span - 30);
  if (!text) return;
  const size = context.measureText(text).width, start = same ? from + 10 : from + (span - size) / 2;
  context.fillStyle = "#ffffffd0"; context.fillRect(start - 2, at - 6, size + 4, 12);
  context.fillStyle = row[WRONG] ? "#b00020" : COLOURS[row[LAYER]] || "#333"; context.fillText(text, start, at);
}
function label(row) {
  const parts = row[TEXT].split(" | ");
  return parts[parts.length - 1];
}
function fit(text, room) {
  if (room < 20) return "";
  const most = Math.floor(room / 6.1);
  return text.length <= most ? text : text.slice(0, Math.max(1, most - 1)) + "…";
}

function paintHead() {
  context.fillStyle = "#ffffffee"; context.fillRect(0, 0, width, TOP);
  context.strokeStyle = "#d5d9e0"; context.beginPath(); context.moveTo(0, TOP + 0.5); context.lineTo(width, TOP + 0.5); context.stroke();
  context.font = "bold 13px system-ui, sans-serif"; context.fillStyle = "#1c2430"; context.textAlign = "center";
  lanes.forEach((name, lane) => context.fillText(name, x(lane), TOP / 2));
  context.textAlign = "left"; context.font = "11px system-ui, sans-serif"; context.fillStyle = "#5d6879";
  context.fillText("UTC " + new Date(DATA.start / 1000).toISOString().slice(0, 10), 6, TOP / 2);
}

// --- a frame taken apart by the tables ---
function decodeFrame(row) {
  const raw = Uint8Array.from(atob(row[FRAME]), letter => letter.charCodeAt(0));
  const out = { raw, fields: [], problem: row[LENGTH] > raw.length ? "only the first " + raw.length + " of " + row[LENGTH] + " bytes are in this page" : "" };
  try { walkFrame(raw, out); } catch (error) { if (!(error instanceof RangeError)) throw error; out.problem = out.problem || error.message; }
  return out;
}
const TABLES = DATA.tables, LAYOUTS = TABLES.layouts;
function little(raw, at, length) { let number = 0n; for (let i = length - 1; i >= 0; i--) number = number << 8n | BigInt(raw[at + i]); return number; }
function uuid(raw, at) {
  const hex = Array.from(raw.subarray(at, at + 16), byte => byte.toString(16).padStart(2, "0")).join("");
  return [hex.slice(0, 8), hex.slice(8, 12), hex.slice(12, 16), hex.slice(16, 20), hex.slice(20)].join("-");
}
function applies(item, seen, left) {
  const when = item.when;
  if (!when) return true;
  if (when[0] === "has") return (Number(seen[when[1]] || 0) & when[2]) !== 0;
  if (when[0] === "least") return Number(seen[when[1]] || 0) >= when[2];
  return left > 0;
}
function show(item, number) {
  if (item.names) return (item.names[number] || "unknown") + " (" + number + ")";
  if (item.flags) { const set = item.flags.filter(flag => BigInt(flag[0]) & number).map(flag => flag[1]); return set.length ? set.join(" | ") : "none"; }
  if (item.bits) return item.bits.map(([shift, wide, name, names]) => {
    const value = number >> BigInt(shift) & (1n << BigInt(wide)) - 1n;
    return name + " = " + (names[value] || value);
  }).join(", ");
  return String(number);
}
function walk(layout, raw, at, end, out, seen, entry) {
  for (const item of layout) {
    if (!applies(item, seen, end - at)) continue;
    if (item.list) {
      const count = Math.min(Number(seen[item.list] || 0), 4096);
      for (let number = 0; number < count; number++) at = walk(item.entry, raw, at, end, out, {}, number);
      continue;
    }
    let length = item.len;
    if (item.kind === "rest") length = end - at;
    if (item.kind === "text") { const nul = raw.indexOf(0, at); length = nul < 0 ? end - at + 1 : nul - at + 1; }
    if (at + length > end) throw new RangeError("ends inside " + item.name);
    let value;
    if (item.kind === "u") { seen[item.name] = little(raw, at, length); value = show(item, seen[item.name]); }
    else if (item.kind === "be") { value = 0n; for (let i = 0; i < length; i++) value = value << 8n | BigInt(raw[at + i]); value = String(value); }
    else if (item.kind === "i") { seen[item.name] = BigInt.asIntN(8 * length, little(raw, at, length)); value = String(seen[item.name]); }
    else if (item.kind === "uuid") { value = uuid(raw, at); if (DATA.nodes[value]) value += " (" + DATA.nodes[value] + ")"; }
    else if (item.kind === "rest") value = length + " bytes";
    else { const text = raw.subarray(at, at + length), nul = text.indexOf(0); value = JSON.stringify(new TextDecoder().decode(nul < 0 ? text : text.subarray(0, nul))); }
    out.fields.push({ name: (entry === undefined ? "" : "[" + entry + "] ") + item.name, at, length, value });
    at += length;
  }
  return at;
}
function section(out, title) { out.fields.push({ title }); }
function walkFrame(raw, out) {
  const seen = {}; section(out, "frame");
  const at = walk(LAYOUTS.frame, raw, 0, raw.length, out, seen);
  const kind = TABLES.gmcast[raw[at + 1]] || "unknown"; section(out, "gmcast " + kind);
  const after = walk(LAYOUTS.gmcast, raw, at, raw.length, out, {});
  if (kind === "USER") walkEvs(raw, after, out, false);
}
function walkEvs(raw, at, out, inner) {
  const kind = TABLES.evs[raw[at] >> 2 & 7] || "unknown", seen = {}; section(out, "EVS " + kind);
  let after = walk(LAYOUTS.evs, raw, at, raw.length, out, seen);
  if (kind === "DELEGATE" && !inner) return walkEvs(raw, after, out, true);
  const layout = LAYOUTS["evs_" + kind.toLowerCase()];
  if (layout) after = walk(layout, raw, after, raw.length, out, seen);
  if (kind !== "USER" || after >= raw.length) return;
  if (!(Number(seen.flags) & 8)) return walkPc(Number(seen["user type"]), raw, after, raw.length, out);
  while (after < raw.length) {
    const part = {}; section(out, "sub-message");
    after = walk(LAYOUTS.aggregate, raw, after, raw.length, out, part);
    const end = Math.min(raw.length, after + Number(part["sub-message length"]));
    walkPc(Number(part["sub-message user type"]), raw, after, end, out); after = end;
  }
}
function walkPc(type, raw, at, end, out) {
  const kind = TABLES.pc[raw[at + 1]] || "unknown"; section(out, "PC " + kind);
  const after = walk(LAYOUTS.pc, raw, at, end, out, {});
  if (kind === "USER") walkGcs(type, raw, after, end, out); else walk(LAYOUTS.pc_nodes, raw, after, end, out, {});
}
function walkGcs(type, raw, at, end, out) {
  const kind = TABLES.gcs[type] || "unknown"; section(out, "GCS " + kind);
  const layouts = { STATE_UUID: "state_uuid", STATE_MSG: "state_msg", FLOW: "flow" };
  let layout = layouts[kind] || (["LAST", "JOIN", "SYNC", "VOTE"].includes(kind) ? end - at === 8 ? "code_short" : "code" : "other");
  if (kind === "ACTION") {
    const seen = {}; at = walk(LAYOUTS.action, raw, at, end, out, seen); layout = "write_set";
    if (seen["action type"] === 2n) {
      const nul = raw.indexOf(0, at);
      layout = seen.fragment !== 0n ? "request_part" : nul >= 0 && raw[nul + 1] === 86 ? "request" : "request_old";
    }
  }
  walk(LAYOUTS[layout], raw, at, end, out, {});
}

// --- the panel ---
function element(name, className, text) { const made = document.createElement(name); if (className) made.className = className; if (text !== undefined) made.textContent = text; return made; }
function overview() {
  side.replaceChildren(element("h2", "", "What happened"));
  for (const note of DATA.notes) {
    const line = element("div", "note"); line.append(element("time", "", clock(note.t)), note.text);
    line.onclick = () => goTo(seekTime(note.t));
    side.append(line);
  }
  if (!DATA.notes.length) side.append("Click a message for its fields and bytes.");
}
function details() {
  const row = rows[selected]; if (!row) return overview();
  const back = element("button", "", "← what happened"); back.onclick = () => { selected = -1; overview(); draw(); };
  side.replaceChildren(back, element("h2", "", "#" + row[NUMBER] + "  " + clock(row[TIME])));
  side.append(element("div", "", lanes[row[FROM]] + " → " + lanes[row[TO]] + "  (" + row[ADDRESSES] + ")"), element("div", row[WRONG] ? "summary wrong" : "summary", row[TEXT]));
  if (!row[FRAME]) return;
  const decoded = decodeFrame(row), table = element("table"), dump = element("pre");
  for (const field of decoded.fields) {
    const line = element("tr", field.title ? "section" : "field");
    if (field.title) { const cell = element("td", "", field.title); cell.colSpan = 3; line.append(cell); }
    else {
      line.append(element("td", "", String(field.at)), element("td", "", field.name), element("td", "", field.value));
      line.onmouseenter = () => mark(dump, field, true); line.onmouseleave = () => mark(dump, field, false);
      line.dataset.at = field.at; line.dataset.end = field.at + field.length;
    }
    table.append(line);
  }
  if (decoded.problem) side.append(element("div", "wrong", decoded.problem));
  fillDump(dump, decoded.raw, table);
  side.append(element("h2", "", "Fields"), table, element("h2", "", "Bytes (" + row[LENGTH] + ")"), dump);
}
function fillDump(dump, raw, table) {
  for (let at = 0; at < raw.length; at += 16) {
    dump.append(String(at).padStart(5) + "  ");
    for (let i = at; i < Math.min(at + 16, raw.length); i++) {
      const byte = element("span", "", raw[i].toString(16).padStart(2, "0")); byte.dataset.at = i; dump.append(byte, " ");
    }
    dump.append(" " + Array.from(raw.subarray(at, at + 16), byte => byte > 31 && byte < 127 ? String.fromCharCode(byte) : ".").join("") + "\n");
  }
  dump.onmouseover = event => {
    const at = event.target.dataset.at;
    for (const line of table.rows) line.classList.toggle("on", at !== undefined && line.dataset.at !== undefined && +line.dataset.at <= +at && +at < +line.dataset.end);
  };
}
function mark(dump, field, on) {
  for (const byte of dump.children) if (byte.dataset.at >= field.at && byte.dataset.at < field.at + field.length) byte.classList.toggle("on", on);
}

// --- moving about ---
function clamp() { offset = Math.max(-1, Math.min(offset, extent() - (height - TOP) / scale * 0.3)); }
function zoom(factor, at = height / 2) {
  const fixed = offset + (at - TOP) / scale;
  scale = Math.max(1e-7, Math.min(scale * factor, mode === "even" ? 60 : 1e5));
  offset = fixed - (at - TOP) / scale; clamp(); draw();
}
function everything() { scale = (height - TOP - 10) / extent(); offset = 0; draw(); }
function goTo(index) {
  if (!rows.length) return;
  selected = Math.max(0, Math.min(index, rows.length - 1));
  if (mode === "even" && scale < 14) scale = 18;
  const at = place(selected), visible = (height - TOP) / scale;
  if (at < offset + 1 || at > offset + visible - 2) offset = at - visible / 3;
  clamp(); details(); draw();
}
function find() {
  query = document.getElementById("search").value.trim().toLowerCase();
  hits = query ? new Set(rows.filter(row => matches(row)).map(row => row[NUMBER])) : null;
  document.getElementById("hits").textContent = hits ? hits.size + " found" : "";
}
function matches(row) { return (row[TEXT] + " " + lanes[row[FROM]] + " " + lanes[row[TO]] + " #" + row[NUMBER]).toLowerCase().includes(query); }
function nextHit(way) {
  if (!hits || !hits.size) return;
  for (let step = 1, index = selected; step <= rows.length; step++) {
    index = (index + way + rows.length) % rows.length;
    if (hits.has(rows[index][NUMBER])) return goTo(index);
  }
}
chart.addEventListener("wheel", event => {
  event.preventDefault();
  if (event.ctrlKey || event.metaKey) zoom(Math.exp(-event.deltaY / 300), event.offsetY);
  else { offset += event.deltaY / scale; clamp(); draw(); }
}, { passive: false });
let drag = null;
chart.addEventListener("pointerdown", event => { drag = { y: event.clientY, offset, moved: false }; chart.setPointerCapture(event.pointerId); });
chart.addEventListener("pointermove", event => {
  if (!drag) return;
  if (Math.abs(event.clientY - drag.y) > 3) drag.moved = true;
  if (drag.moved) { offset = drag.offset - (event.clientY - drag.y) / scale; clamp(); draw(); }
});
chart.addEventListener("pointerup", event => {
  const was = drag; drag = null;
  if (!was || was.moved) return;
  const at = event.clientY - chart.getBoundingClientRect().top;
  const here = offset + (at - TOP) / scale, near = seek(here - 8 / scale);
  let best = -1, distance = 9;
  for (let index = near; index < rows.length && y(place(index)) < at + 9; index++) {
    const off = Math.abs(y(place(index)) - at);
    if (off < distance) { best = index; distance = off; }
  }
  selected = best; details(); draw();
});
document.getElementById("search").addEventListener("input", () => { find(); draw(); });
document.getElementById("search").addEventListener("keydown", event => { if (event.key === "Enter") nextHit(event.shiftKey ? -1 : 1); });
document.getElementById("quiet").addEventListener("change", () => { selected = -1; refresh(); overview(); });
document.getElementById("mode").addEventListener("change", event => {
  const here = rows[Math.min(rows.length - 1, seek(offset))]; mode = event.target.value;
  scale = mode === "even" ? 18 : 0.2; offset = here ? placeOfTime(here[TIME]) : 0; clamp(); draw();
});
document.getElementById("in").onclick = () => zoom(1.5);
document.getElementById("out").onclick = () => zoom(1 / 1.5);
document.getElementById("all").onclick = everything;
addEventListener("keydown", event => {
  if (event.target.tagName === "INPUT" && event.target.type === "search") return;
  const page = (height - TOP) / scale * 0.9;
  const moves = { ArrowDown: () => goTo(selected + 1), ArrowUp: () => goTo(selected - 1), "+": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: everything,
    PageDown: () => { offset += page; clamp(); draw(); }, PageUp: () => { offset -= page; clamp(); draw(); }, Home: () => { offset = 0; draw(); }, End: () => { offset = extent(); clamp(); draw(); } };
  if (moves[event.key]) { event.preventDefault(); moves[event.key](); }
});
addEventListener("resize", draw);
refresh(); overview(); paint();
// #row=N opens at a record, #scale=time begins with time.
const wish = new URLSearchParams(location.hash.slice(1));
if (wish.get("scale") === "time") { mode = "time"; document.getElementById("mode").value = mode; everything(); }
if (wish.has("row")) goTo(rows.findIndex(row => row[NUMBER] >= Number(wish.get("row"))));
