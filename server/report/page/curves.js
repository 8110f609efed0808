/**
 * Curves that can be followed with a mouse, a finger or the keyboard, in place of their picture, which stays for print and for
 * browsers without scripts. A figure's data-curves holds what they are made of: see curves.py. Nothing is loaded.
 */
"use strict";
(() => {
  const AT = { round: 0, seen: 1 }; // where a point, [round, seen, accuracy, low, high], has each x
  const HEIGHT = 340, EDGE = { left: 46, right: 14, top: 10, bottom: 40 };
  const DASHES = { "-": "", "--": "7 4", ":": "2 3", "-.": "8 3 2 3" };
  const percent = (share) => `${(100 * share).toFixed(2)} %`;
  const whole = (n) => Math.round(n).toLocaleString("en");

  function tag(name, attributes = {}, ...inside) {
    const element = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.append(...inside);
    return element;
  }

  function shape(parent, name, attributes, text = "") {
    const element = document.createElementNS("http://www.w3.org/2000/svg", name);
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    element.textContent = text;
    parent.append(element);
    return element;
  }

  /** Round steps, about `count` of them, between two numbers. */
  function steps(low, high, count) {
    const rough = (high - low) / count || 1, power = 10 ** Math.floor(Math.log10(rough));
    const step = Math.max(1, power * [1, 2, 5, 10].find((factor) => factor * power >= rough));
    const values = [];
    for (let at = Math.ceil(low / step) * step; at <= high; at += step) values.push(at);
    return values;
  }

  function follow(figure, { title, nines, limits, ticks, stages, bands, lines }) {
    // On a logarithmic axis of the error, 98 → 99 % takes as much room as 80 → 90 %; 100 % is drawn at 99.995 %.
    const level = nines ? (share) => -Math.log10(Math.max(100 - 100 * share, 0.005)) : (share) => 100 * share;
    const hidden = new Set();
    let by = "round", chosen = null, xs, toX, toY, marks;

    const known = (line) => line.points.filter((point) => point[AT[by]] !== null && point[2] !== null);
    // The last that is known, as in the picture: a training that broke ends with points that have none.
    const last = (line) => line.points.findLast((point) => point[2] !== null)?.[2];
    // As in the picture: a line of one point, or of none at a known x, is a level.
    const flat = (line) => known(line).length < 2 && (line.dash !== "-" || !known(line).length);
    const shareAt = (line, x) =>
      (x === null || flat(line) ? last(line) : known(line).findLast((point) => point[AT[by]] <= x)?.[2]);

    const field = tag("div", { class: "field", tabindex: 0, role: "slider", "aria-label": `Follow the curves: ${title}` });
    const heading = tag("div", { class: "where" }), keys = tag("div", { class: "keys" });
    const choice = tag("div", { class: "choice" });
    const buttons = lines.map((line) => {
      const swatch = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      swatch.setAttribute("viewBox", "0 0 26 8");
      shape(swatch, "path", { d: "M1 4H25", "stroke-dasharray": DASHES[line.dash], class: "curve" }).style.setProperty("--c", line.colour);
      const button = tag("button", { type: "button", "aria-pressed": "true" }, swatch, tag("span", {}, line.name), tag("b"));
      button.addEventListener("click", () => {
        hidden[hidden.has(line) ? "delete" : "add"](line);
        button.setAttribute("aria-pressed", String(!hidden.has(line)));
        draw();
      });
      keys.append(button);
      return button;
    });

    function draw() {
      const width = field.clientWidth, visible = lines.filter((line) => !hidden.has(line)), AXIS = HEIGHT - EDGE.bottom;
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
      svg.setAttribute("aria-hidden", "true");
      xs = [...new Set(lines.flatMap((line) => known(line).map((point) => point[AT[by]])))].sort((a, b) => a - b);
      const shares = (visible.length ? visible : lines).flatMap((line) => line.points.flatMap((point) => point.slice(2)))
        .filter((share) => share !== null);
      let [low, high] = [Math.min(...shares), Math.max(...shares)].map(level);
      if (limits) [low, high] = limits.map(level);
      else if (nines) [low, high] = [Math.min(low - 0.06, high + 0.06 - 0.4), high + 0.06]; // as in the picture
      else [low, high] = [Math.max(0, low - 5), Math.min(100, high + 5)];
      const [first, end] = [xs[0] ?? 0, xs.at(-1) ?? 1], room = width - EDGE.left - EDGE.right;
      toX = (x) => EDGE.left + (first === end ? room / 2 : (room * (x - first)) / (end - first));
      toY = (share) => AXIS - ((AXIS - EDGE.top) * (level(share) - low)) / (high - low || 1);
      for (const tick of ticks ?? steps(low, high, 5)) {
        const y = toY(tick / 100);
        if (y < EDGE.top - 1 || y > AXIS + 1) continue;
        shape(svg, "path", { d: `M${EDGE.left} ${y}H${width - EDGE.right}`, class: "grid" });
        shape(svg, "text", { x: EDGE.left - 6, y: y + 4, "text-anchor": "end" }, String(tick));
      }
      for (const tick of steps(first, end, Math.max(2, width / 110))) {
        shape(svg, "text", { x: toX(tick), y: AXIS + 17, "text-anchor": "middle" }, whole(tick));
      }
      shape(svg, "text", { x: EDGE.left + room / 2, y: HEIGHT - 6, "text-anchor": "middle" },
        by === "round" ? "Round" : "Gradient examples seen");
      if (by === "round") {
        for (const stage of stages) shape(svg, "path", { d: `M${toX(stage + 0.5)} ${EDGE.top}V${AXIS}`, class: "stage" });
      }
      for (const line of visible.filter((one) => last(one) !== undefined)) {
        const points = known(line), looks = { class: "curve", "stroke-dasharray": DASHES[line.dash] };
        const d = flat(line) ? `M${EDGE.left} ${toY(last(line))}H${width - EDGE.right}`
          : `M${points.map((point) => `${toX(point[AT[by]])} ${toY(point[2])}`).join("L")}`;
        shape(svg, "path", { ...looks, d }).style.setProperty("--c", line.colour);
        if (points.length === 1 && !flat(line)) { // a path of one point is not seen
          const [point] = points;
          shape(svg, "circle", { cx: toX(point[AT[by]]), cy: toY(point[2]), r: 4 }).style.setProperty("--c", line.colour);
        }
        for (const point of points.filter((one) => one[3] !== null && one[4] !== null)) {
          const bar = `M${toX(point[AT[by]])} ${toY(point[3])}V${toY(point[4])}`;
          shape(svg, "path", { d: bar, class: "bar" }).style.setProperty("--c", line.colour);
        }
      }
      marks = shape(svg, "g", {});
      field.replaceChildren(svg);
      field.setAttribute("aria-valuemin", first);
      field.setAttribute("aria-valuemax", end);
      show();
    }

    function show() {
      marks.replaceChildren();
      const x = chosen ?? xs.at(-1) ?? 0;
      if (chosen !== null) shape(marks, "path", { d: `M${toX(x)} ${EDGE.top}V${HEIGHT - EDGE.bottom}`, class: "cursor" });
      const stage = stages.length && by === "round" ? `, stage ${1 + stages.filter((end) => end < x).length}` : "";
      const where = by === "round" ? `Round ${whole(x)}${stage}` : `After ${whole(x)} gradient examples`;
      heading.textContent = chosen === null ? "At the end" : where;
      const readings = lines.map((line, i) => {
        const share = shareAt(line, chosen);
        buttons[i].lastChild.textContent = share === undefined ? "–" : percent(share);
        if (chosen !== null && share !== undefined && !hidden.has(line)) {
          shape(marks, "circle", { cx: toX(x), cy: toY(share), r: 4 }).style.setProperty("--c", line.colour);
        }
        return `${line.name} ${buttons[i].lastChild.textContent}`;
      });
      field.setAttribute("aria-valuenow", x);
      field.setAttribute("aria-valuetext", `${heading.textContent}: ${readings.join(", ")}`);
    }

    function choose(x) {
      chosen = x;
      show();
    }

    const choosePoint = (event) => {
      const x = event.clientX - field.getBoundingClientRect().left;
      choose(xs.reduce((best, one) => (Math.abs(toX(one) - x) < Math.abs(toX(best) - x) ? one : best), xs[0] ?? null));
    };
    field.addEventListener("pointerdown", choosePoint);
    field.addEventListener("pointermove", choosePoint);
    field.addEventListener("pointerleave", (event) => event.pointerType === "mouse" && choose(null));
    field.addEventListener("keydown", (event) => {
      const index = chosen === null ? xs.length : xs.indexOf(chosen);
      const next = { ArrowLeft: index - 1, ArrowDown: index - 1, ArrowRight: index + 1, ArrowUp: index + 1, PageDown: index - 10,
        PageUp: index + 10, Home: 0, End: xs.length - 1, Escape: null }[event.key];
      if (next === undefined || !xs.length) return;
      event.preventDefault();
      choose(next === null ? null : xs[Math.min(Math.max(next, 0), xs.length - 1)]);
    });
    if (lines.some((line) => line.points.some((one) => one[1] !== null))) {
      for (const [key, words] of [["round", "by round"], ["seen", "by gradient examples"]]) {
        const button = tag("button", { type: "button", "aria-pressed": String(key === by) }, words);
        button.addEventListener("click", () => {
          [by, chosen] = [key, null];
          for (const one of choice.children) one.setAttribute("aria-pressed", String(one === button));
          draw();
        });
        choice.append(button);
      }
    }
    const axis = `Test accuracy (%)${nines ? ", logarithmic in the error" : ""}`;
    figure.append(tag("div", { class: "curves" }, choice, heading, keys,
      tag("p", { class: "soft" }, [axis, ...bands].join("; ")), field));
    figure.classList.add("followed");
    new ResizeObserver(draw).observe(field);
  }

  for (const figure of document.querySelectorAll("figure[data-curves]")) {
    try {
      follow(figure, JSON.parse(figure.dataset.curves));
    } catch (error) {
      console.error(error); // this one keeps its picture, and the others get their curves
    }
  }
})();
