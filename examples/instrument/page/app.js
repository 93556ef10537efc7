// The oscilloscope's page. MIT OR Apache-2.0.
import { Client, RpcError } from "./wslink.js";

const $ = new Proxy({}, { get: (_, id) => document.getElementById(id) });
const clamp = (value, low, high) => Math.max(low, Math.min(high, value));
const PREFIXES = ["n", "µ", "m", "", "k", "M"];

/** 0.0005 as 500 µs; without `digits` no zeros at the end. */
function si(value, unit, digits) {
	const size = Math.abs(value);
	const step = size < 5e-10 ? 0 : clamp(Math.floor(Math.log10(size * 1.0005) / 3), -3, 2);
	const text = (value / 1000 ** step).toPrecision(digits ?? 6);
	return `${digits ? text : Number(text)} ${PREFIXES[step + 3]}${unit}`;
}

function parse(text) {
	const [, number, prefix] = /^\s*([-+]?[\d.,]+)\s*([nuµmkKM]?)[A-Za-z]*\s*$/.exec(text) ?? [];
	if (!number) throw new RangeError("Not a number");
	const step = PREFIXES.indexOf({ u: "µ", K: "k" }[prefix] ?? prefix) - 3;
	return Number((number.replace(",", ".") * 1000 ** step).toPrecision(12));
}

/** `count` times 1, 2 or 5 of a power of ten. */
const steps = (from, count) =>
	Array.from({ length: count }, (_, i) => Number(`${[1, 2, 5][i % 3]}e${from + Math.floor(i / 3)}`));

/** Selects a value, also one that was not there. */
function choose(select, value, unit) {
	select.value = value;
	if (select.selectedIndex < 0) select.add(new Option(si(value, unit), value, true, true));
}

function say(place, text) {
	if (place.textContent !== text) place.textContent = text;
}

const dark = matchMedia("(prefers-color-scheme: dark)");

class Plot {
	constructor(canvas) {
		this.canvas = canvas;
		new ResizeObserver(() => this.show()).observe(canvas);
		dark.addEventListener("change", () => this.show());
	}

	/** `first` and `last` are the samples at both edges, not always whole ones. */
	show(what) {
		Object.assign(this, what);
		this.frame ??= requestAnimationFrame(() => {
			this.frame = undefined;
			this.draw();
		});
	}

	draw() {
		const { canvas, samples, first, last, zero, dt, low, high, level, dim } = this;
		const { clientWidth, clientHeight } = canvas;
		const ratio = devicePixelRatio;
		canvas.width = clientWidth * ratio;
		canvas.height = clientHeight * ratio;
		const c = canvas.getContext("2d");
		c.scale(ratio, ratio);
		const style = getComputedStyle(canvas);
		const colour = (name) => (c.fillStyle = c.strokeStyle = style.getPropertyValue(`--${name}`));
		const [left, top, width, height] = [58, 10, clientWidth - 84, clientHeight - 36];
		const x = (sample) => left + ((sample - first) / (last - first)) * width;
		const y = (volts) => top + ((high - volts) / (high - low)) * height;
		this.volts = (at) => high - ((at - top) / height) * (high - low);
		this.part = (at) => (at - left) / width;
		const path = (name, ...points) => {
			colour(name);
			c.beginPath();
			points.forEach((point) => c.lineTo(...point));
			c.stroke();
		};

		c.font = `12px ${style.fontFamily}`;
		c.textBaseline = "middle";
		const label = (value, unit, align, ...at) => {
			colour("soft");
			c.textAlign = align;
			const step = Math.abs(unit === "s" ? (last - first) * dt : high - low) / 1000;
			c.fillText(si(Math.round(value / step) * step, unit), ...at);
		};
		const every = width < 420 ? 5 : width < 700 ? 2 : 1;
		for (let i = 0; i <= 10; i += 1) {
			const at = Math.round(left + (width * i) / 10) + 0.5;
			path(i === 5 ? "border" : "grid", [at, top], [at, top + height]);
			const seconds = (first + ((last - first) * i) / 10 - zero) * dt;
			if (dt && i % every === 0) label(seconds, "s", "center", at, top + height + 15);
		}
		for (let i = 0; i <= 8; i += 1) {
			const at = Math.round(top + (height * i) / 8) + 0.5;
			path(i === 4 ? "border" : "grid", [left, at], [left + width, at]);
			label(high - ((high - low) * i) / 8, "V", "right", left - 7, at);
		}
		if (samples) {
			c.save();
			c.beginPath();
			c.rect(left, top, width, height);
			c.clip();
			c.lineWidth = 1.75;
			c.globalAlpha = dim ? 0.35 : 1;
			if (dark.matches) c.shadowColor = colour("trace");
			c.shadowBlur = 6;
			const from = Math.max(0, Math.floor(first));
			const to = Math.min(samples.length, Math.ceil(last) + 1);
			// Of many samples in a column the lowest and the highest show.
			const step = Math.max(1, Math.floor((to - from) / width / 2));
			const points = [];
			for (let i = from; i < to; i += step) {
				const { min, max } = range(samples.subarray(i, Math.min(i + step, to)));
				points.push([x(i), y(min)]);
				if (max > min) points.push([x(i), y(max)]);
			}
			path("trace", ...points);
			c.restore();
		}
		if (level === undefined) return;
		const at = clamp(y(level), top, top + height);
		const right = left + width;
		c.setLineDash([6, 6]);
		path("level", [left, at], [right, at]);
		c.setLineDash([]);
		path("level", [right, at], [right + 12, at - 8], [right + 12, at + 8]);
		c.fill();
		if (zero <= first || zero >= last) return;
		path("level", [x(zero), top + 8], [x(zero) - 6, top - 2], [x(zero) + 6, top - 2]);
		c.fill();
	}
}

function drag({ canvas }, moved) {
	canvas.onpointerdown = canvas.onpointermove = (event) => {
		if (event.buttons !== 1) return;
		canvas.setPointerCapture(event.pointerId);
		moved(event);
	};
}

function range(samples) {
	let [min, max, sum] = [Infinity, -Infinity, 0];
	for (const sample of samples) {
		if (sample < min) min = sample;
		if (sample > max) max = sample;
		sum += sample;
	}
	return { min, max, mean: sum / samples.length };
}

/** Where samples rise through a level, noise around it left out. */
function* rises(samples, level, margin, from, to) {
	let armed = false;
	for (let i = from + 1; i < to; i += 1) {
		if (samples[i - 1] < level - margin) armed = true;
		if (!armed || samples[i] < level) continue;
		armed = false;
		yield i - Math.min(1, (samples[i] - level) / (samples[i] - samples[i - 1]) || 0);
	}
}

let client;

function connect() {
	client = new Client({ secret: sessionStorage.secret || "wslink-secret", maxDelay: 4000 });
	client.subscribe("scope.settings", apply);
	client.addEventListener("state", ({ state, error, sameSession }) => {
		const refused = error instanceof RpcError;
		const text = { open: "Connected", closed: `Refused: ${error?.message}` };
		if (state === "connecting") return;
		$.state.className = state;
		say($.state, text[state] ?? "Connection lost, trying again…");
		$.refused.hidden = !refused;
		screen.show({ dim: state !== "open" });
		if (state !== "open") return;
		if (sameSession === false) say($.notice, "The server was restarted, with settings of its own.");
		client.call("scope.settings.get").then(apply, () => {});
	});
	follow().catch(() => {});
}

$.refused.onsubmit = (event) => {
	event.preventDefault();
	sessionStorage.secret = $.secret.value;
	connect();
};

// What is set here is sent; what the server says is shown, in every tab.

const SETTINGS = { frequency: ["Hz", 0.1, 1e6], amplitude: ["V", 0.01, 10], offset: ["V", -10, 10], noise: ["V", 0, 2] };
const shown = {};
let settings = {};
let wanted = {};
let sending = false;

/** A number to type or drag, on a logarithmic scale if there is one. */
function control(parent, id, [unit, low, high], changed) {
	const log = low > 0 && Math.log(high / low);
	const name = id[0].toUpperCase() + id.slice(1);
	$[parent].insertAdjacentHTML("beforeend", `<div class="control"><label for="${id}">${name}</label><input id="${id}" inputmode="decimal" autocomplete="off" aria-describedby="${id}-error"><input type="range" max="1" step=".001" aria-label="${name}, slider"><p class="error" id="${id}-error" role="alert"></p></div>`);
	const [, field, slider] = $[parent].lastChild.children;
	let typed = false;
	shown[id] = (value) => {
		if (value === undefined) return;
		if (!typed) field.value = si(value, unit);
		slider.ariaValueText = si(value, unit);
		const part = log ? Math.log(value / low) / log : (value - low) / (high - low);
		if (!slider.matches(":active")) slider.value = part;
	};
	field.onfocus = () => field.select();
	field.oninput = () => (typed = true);
	field.onchange = () => {
		typed = false;
		try {
			changed(parse(field.value));
		} catch (error) {
			fail(id, error.message);
		}
	};
	slider.oninput = () => {
		const value = log ? low * Math.exp(log * slider.value) : low + (high - low) * slider.value;
		changed(Number(value.toPrecision(3)));
	};
}

const fail = (id, text) => say($[`${id}-error`], text);

/** The newest wish is sent as soon as the one before is answered. */
async function set(change) {
	Object.assign(wanted, change);
	if (sending) return;
	sending = true;
	while (Object.keys(wanted).length) {
		const now = wanted;
		wanted = {};
		for (const name in now) fail(name, "");
		try {
			apply(await client.call("scope.settings.set", [], now, { timeout: 5000 }));
		} catch (error) {
			const name = error.data in now ? error.data : Object.keys(now)[0];
			const value = SETTINGS[name] ? si(now[name], SETTINGS[name][0]) : now[name];
			fail(name, `${value} was not set: ${error.message.replace(/^Invalid params: \w+: /, "")}`);
			apply(settings);
		}
	}
	sending = false;
}

function apply(value) {
	settings = value;
	for (const name in SETTINGS) shown[name]({ ...value, ...wanted }[name]);
	if (value.timebase) choose($.timebase, value.timebase, "s");
	$.wave.waveform.value = value.waveform;
}

for (const name of ["sine", "square", "triangle", "noise"]) {
	$.wave.innerHTML += `<label><input type="radio" name="waveform" value="${name}">${name}</label>`;
}
$.wave.onchange = ({ target }) => set({ waveform: target.value });
for (const name in SETTINGS) control("generator", name, SETTINGS[name], (value) => set({ [name]: value }));
for (const value of steps(-5, 16)) choose($.timebase, value, "s");
for (const value of steps(-2, 9)) choose($.volts, value, "V");
$.timebase.onchange = () => set({ timebase: Number($.timebase.value) });

const screen = new Plot($.screen);
let traces;
let before;
let trace;
let missed = 0;
let measured = 0;
let level;

async function follow() {
	traces = client.topic("scope.trace", { max_rate: 30, queue: 2 });
	for await (const { n, rate, samples } of traces) {
		before = trace;
		trace = { n, rate, samples: new Float32Array(samples.buffer) };
		if (n > before?.n) missed += n - before.n - 1;
		present();
	}
}

$.run.onclick = () => {
	if (traces) traces = void traces.return();
	else follow().catch(() => {});
	trace = undefined;
	say($.run, traces ? "Stop" : "Run");
};

function setLevel(value) {
	fail("level", "");
	level = clamp(value, -10, 10);
	shown.level(level);
	present();
}

drag(screen, ({ offsetY }) => setLevel(Number(screen.volts(offsetY).toPrecision(3))));
$.mode.onchange = $.volts.onchange = present;
$.fit.onclick = () => {
	const { amplitude, offset, noise, frequency } = settings;
	$.volts.value = steps(-2, 9).find((step) => step * 3.9 >= Math.abs(offset) + amplitude + noise) ?? 5;
	setLevel(offset);
	set({ timebase: steps(-5, 15).find((step) => step * 10 >= 2 / frequency) ?? 1 });
};

function present() {
	const mode = $.mode.value;
	const high = 4 * $.volts.value;
	screen.show({ low: -high, high, level: mode === "Off" ? undefined : level });
	if (!trace) return;
	const { samples, rate, n } = trace;
	const { length } = samples;
	const { min, max, mean } = range(samples);
	const margin = (max - min) / 20;
	// Two screens have one in them that begins a division before the trigger.
	let all = samples;
	if (before?.n === n - 1 && before.rate === rate) {
		all = new Float32Array(2 * length);
		all.set(before.samples);
		all.set(samples, length);
	}
	const rest = all.length - length;
	const pre = length / 10;
	const [zero] = mode === "Off" ? [] : rises(all, level, margin, pre, rest + pre);
	const found = zero !== undefined;
	const first = found ? zero - pre : rest;
	if (found || mode !== "Normal") {
		screen.show({ samples: all, first, last: first + length, zero: zero ?? rest, dt: 1 / rate });
	}
	if (performance.now() - measured < 300) return;
	measured = performance.now();
	const times = [...rises(all, mean, margin, 0, all.length)];
	const frequency = ((times.length - 1) * rate) / (times.at(-1) - times[0]);
	say($.peak, si(max - min, "V", 3));
	say($.mean, si(Math.abs(mean) < margin / 50 ? 0 : mean, "V", 3));
	say($.measured, frequency && settings.waveform !== "noise" ? si(frequency, "Hz", 3) : "–");
	say($.triggered, found ? "Triggered" : mode === "Normal" ? "Waiting" : mode);
	say($.missed, `${missed}`);
}

control("trigger", "level", SETTINGS.offset, setLevel);
$.volts.value = 0.5;
setLevel(0);
screen.show({ first: 0, last: 500, zero: 0 });

// Long calls

function task(id, work) {
	const form = $[id];
	form.insertAdjacentHTML("beforeend", `<button type="button" hidden>Cancel</button><progress hidden aria-label="Progress"></progress><p class="result" role="status"></p><p class="error" role="alert"></p>`);
	const start = form.querySelector("button");
	const [cancel, progress, result, error] = [...form.children].slice(-4);
	const busy = (is) => {
		const focused = form.contains(document.activeElement);
		progress.hidden = cancel.hidden = !is;
		start.hidden = is;
		if (focused) (is ? cancel : start).focus();
	};
	form.onsubmit = async (event) => {
		event.preventDefault();
		if (start.hidden) return;
		const abort = new AbortController();
		cancel.onclick = () => abort.abort();
		say(result, "");
		say(error, "");
		progress.removeAttribute("value");
		busy(true);
		try {
			say(result, await work(abort.signal, (done, total) => total && (progress.value = done / total)));
		} catch (problem) {
			if (abort.signal.aborted) say(result, "Cancelled");
			else say(error, problem.data?.exception ?? problem.message);
		}
		busy(false);
	};
}

task("calibrate", async (signal, onProgress) => {
	const seconds = parse($.seconds.value);
	const { offset, gain } = await client.call("scope.calibrate", [seconds], {}, { signal, onProgress });
	return `Offset ${si(offset, "V", 3)}, gain ${gain.toFixed(3)}`;
});

task("upload", async (signal, onUpload) => {
	const image = await $.image.files[0].arrayBuffer();
	const { length, digest } = await client.call("scope.firmware_update", [image], {}, { signal, onUpload });
	return `${length.toLocaleString()} bytes arrived, SHA-256 ${digest}`;
});

const captured = new Plot($.captured);

task("capture", async (signal) => {
	const kwargs = { samples: parse($.samples.value) };
	if ($.edge.checked) kwargs.trigger = level;
	const { rate, trigger, samples: bytes } = await client.call("scope.capture", [], kwargs, { signal });
	const samples = new Float32Array(bytes.buffer);
	const { min, max } = range(samples);
	const step = steps(-3, 12).find((step) => step * 6 >= max - min) ?? 5;
	const middle = Math.round((min + max) / 2 / step) * step;
	$.view.hidden = $.download.hidden = false;
	captured.show({ samples, zero: trigger ?? 0, dt: 1 / rate, low: middle - 4 * step, high: middle + 4 * step, level: kwargs.trigger });
	view(0, Infinity);
	return `${samples.length.toLocaleString()} samples in ${si(samples.length / rate, "s")}`;
});

function view(first, length) {
	const all = captured.samples.length;
	length = clamp(length, Math.min(10, all), all);
	first = clamp(first, 0, all - length);
	captured.show({ first, last: first + length });
}

/** Shows so many times as much, from a part of what is shown now on. */
function look(factor, part) {
	const { first, last } = captured;
	view(first + (last - first) * part, (last - first) * factor);
}

for (const button of $.view.querySelectorAll("button")) button.onclick = () => look(...button.value.split(" "));
$.captured.onwheel = (event) => {
	event.preventDefault();
	const factor = event.deltaY > 0 ? 1.25 : 0.8;
	look(factor, captured.part(event.offsetX) * (1 - factor));
};
drag(captured, ({ movementX }) => look(1, captured.part(0) - captured.part(movementX)));

$.download.onclick = () => {
	const { samples, zero, dt } = captured;
	const rows = ["seconds,volts\n"];
	samples.forEach((sample, i) => rows.push(`${Number(((i - zero) * dt).toPrecision(9))},${Number(sample.toPrecision(7))}\n`));
	const link = document.createElement("a");
	link.href = URL.createObjectURL(new Blob(rows, { type: "text/csv" }));
	link.download = "capture.csv";
	link.click();
	setTimeout(() => URL.revokeObjectURL(link.href), 9999);
};

connect();
