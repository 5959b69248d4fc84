"use strict";
(() => {
  const one = (query) => document.querySelector(query);
  const all = (query, from = document) => [...from.querySelectorAll(query)];
  all("[data-scripted]").forEach((element) => { element.hidden = false; });

  // --- table: filter and sort -------------------------------------------------------------------
  const table = one("#table");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const texts = rows.map((row) => [0, 3, 4].map((i) => row.cells[i].textContent).join("\n").toLowerCase());
  const search = one("#search"), backend = one("#backend"), result = one("#result"), shown = one("#shown");
  const filter = () => {
    const wanted = search.value.trim().toLowerCase();
    let count = 0;
    rows.forEach((row, i) => {
      const fits = texts[i].includes(wanted) && (!backend.value || row.dataset.backend === backend.value)
        && (!result.value || row.dataset.passed === result.value);
      row.hidden = !fits;
      count += fits;
    });
    shown.value = `${count} of ${rows.length} rows`;
  };
  [search, backend, result].forEach((control) => control.addEventListener("input", filter));
  search.form.addEventListener("submit", (event) => event.preventDefault());
  filter();

  const heads = [...table.tHead.rows[0].cells];
  const order = new Map(rows.map((row, i) => [row, i]));
  const sort = (column, falling) => {
    const numeric = heads[column].classList.contains("num");
    const key = (row) => {
      const cell = row.cells[column];
      if (!numeric) return cell.textContent.toLowerCase();
      const text = cell.dataset.v;
      return text === "inf" ? Infinity : text ? Number(text) : NaN;
    };
    const keys = new Map(rows.map((row) => [row, key(row)]));
    const compare = (a, b) => {
      const x = keys.get(a), y = keys.get(b);
      // What has no value comes last, whichever way.
      if (numeric && (isNaN(x) || isNaN(y))) return isNaN(x) - isNaN(y) || order.get(a) - order.get(b);
      const sign = x < y ? -1 : x > y ? 1 : 0;
      return (falling ? -sign : sign) || order.get(a) - order.get(b);
    };
    body.append(...[...rows].sort(compare));
    heads.forEach((head, i) => {
      head.setAttribute("aria-sort", i !== column ? "none" : falling ? "descending" : "ascending");
    });
  };
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    head.setAttribute("aria-sort", "none");
    button.addEventListener("click", () => {
      const now = head.getAttribute("aria-sort");
      sort(column, now === "none" ? head.classList.contains("num") : now === "ascending");
    });
  });

  // --- graph: panel, colours, keys --------------------------------------------------------------
  const picture = one("#picture"), drawing = one("#drawing"), panel = one("#panel");
  const nodes = all(".node", drawing), edges = all(".edges path", drawing);
  const classes = ["n", "b0", "b1", "b2", "b3", "b4", "f1", "f2", "x"];
  let chosen = null;
  const choose = (node) => {
    if (chosen) chosen.classList.remove("chosen");
    chosen = node;
    node.classList.add("chosen");
    edges.forEach((edge) => {
      edge.classList.toggle("on", edge.dataset.a === node.dataset.node || edge.dataset.b === node.dataset.node);
    });
    panel.replaceChildren(...node.querySelector("title").textContent.split("\n").map((line, i) => {
      const text = document.createElement(i ? "p" : "strong");
      text.textContent = line;
      if (line.includes(": FAILS: ") || line.endsWith(": the first fault is here")) text.className = "failed";
      return text;
    }));
  };
  nodes.forEach((node, i) => {
    node.setAttribute("tabindex", i ? "-1" : "0");
    node.addEventListener("pointerenter", () => choose(node));
    node.addEventListener("focus", () => {
      choose(node);
      nodes.forEach((other) => other.setAttribute("tabindex", other === node ? "0" : "-1"));
    });
    node.addEventListener("click", () => {
      search.value = backend.value = result.value = "";
      filter();
    });
    node.addEventListener("keydown", (event) => {
      const step = { ArrowDown: 1, ArrowRight: 1, ArrowUp: -1, ArrowLeft: -1 }[event.key];
      const next = step ? nodes[i + step] : event.key === "Home" ? nodes[0] : event.key === "End" ? nodes.at(-1) : null;
      if (next) {
        event.preventDefault();
        next.focus({ preventScroll: true });
        next.scrollIntoView({ block: "nearest", inline: "nearest" });
      }
    });
  });
  one("#graph-result").addEventListener("input", (event) => {
    const number = Number(event.target.value);
    nodes.forEach((node) => {
      node.classList.remove(...classes, "first");
      const name = node.dataset.bins.split(" ")[number];
      node.classList.add(name);
      node.classList.toggle("first", node.dataset.first[number] === "1");
      node.querySelector(".ratio").textContent = node.dataset.ratios.split(" ")[number];
      node.querySelector(".badge text").textContent = name === "x" ? "!" : "\u2715";
    });
  });

  // --- graph: size ------------------------------------------------------------------------------
  const size = drawing.viewBox.baseVal;
  let scale = 1;
  const zoom = (wanted, x = picture.clientWidth / 2, y = picture.clientHeight / 2) => {
    const before = scale;
    scale = Math.min(4, Math.max(0.05, wanted));
    const left = (picture.scrollLeft + x) / before * scale - x, top = (picture.scrollTop + y) / before * scale - y;
    drawing.setAttribute("width", size.width * scale);
    drawing.setAttribute("height", size.height * scale);
    picture.scrollTo(left, top);
  };
  const fitting = () => {
    const most = parseFloat(getComputedStyle(picture).maxHeight);
    return Math.min(1, (picture.clientWidth - 4) / size.width, (most - 4) / size.height);
  };
  const bring = (node) => {
    const box = node.getBoundingClientRect(), frame = picture.getBoundingClientRect();
    picture.scrollBy(box.left + box.width / 2 - frame.left - frame.width / 2,
      box.top + box.height / 2 - frame.top - frame.height / 2);
  };
  all("[data-zoom]").forEach((button) => button.addEventListener("click", () => {
    const to = button.dataset.zoom;
    zoom(to === "fit" ? fitting() : to === "in" ? scale * 1.25 : to === "out" ? scale / 1.25 : Number(to));
  }));
  picture.addEventListener("wheel", (event) => {
    if (!event.ctrlKey) return;
    event.preventDefault();
    const frame = picture.getBoundingClientRect();
    zoom(scale * Math.exp(-event.deltaY / 300), event.clientX - frame.left, event.clientY - frame.top);
  }, { passive: false });
  let held = null;
  picture.addEventListener("pointerdown", (event) => {
    if (event.pointerType === "mouse" && event.button === 0 && !event.target.closest(".node")) {
      held = [event.clientX + picture.scrollLeft, event.clientY + picture.scrollTop];
      picture.setPointerCapture(event.pointerId);
      picture.classList.add("dragging");
    }
  });
  picture.addEventListener("pointermove", (event) => {
    if (held) picture.scrollTo(held[0] - event.clientX, held[1] - event.clientY);
  });
  ["pointerup", "pointercancel"].forEach((kind) => picture.addEventListener(kind, () => {
    held = null;
    picture.classList.remove("dragging");
  }));
  const fault = nodes.find((node) => node.classList.contains("first"))
    || nodes.find((node) => /\b(f1|f2|x)\b/.test(node.getAttribute("class")));
  const go = one("[data-go]");
  if (go) {
    go.hidden = !fault;
    go.addEventListener("click", () => {
      zoom(Math.max(scale, 1));
      bring(fault);
      fault.focus({ preventScroll: true });
    });
  }
  // All of it where it can be read; else the beginning, or the fault.
  zoom(Math.max(fitting(), innerWidth < 600 ? 0.85 : 0.6));
  picture.scrollTo(0, 0);
  if (fault) {
    bring(fault);
    choose(fault);
  }
})();
