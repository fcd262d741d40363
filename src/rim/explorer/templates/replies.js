"use strict";
(async () => {
  const $ = (id) => document.getElementById(id);
  const make = (tag, className = "", text = "") => Object.assign(document.createElement(tag), { className, textContent: text });
  const letters = atob($("data").textContent), packed = new Uint8Array(letters.length);
  for (let n = 0; n < letters.length; n++) packed[n] = letters.charCodeAt(n);
  const all = await new Response(new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"))).json();
  const replies = all.replies, total = replies.entry.length;
  const benchmarks = Object.keys(all.benchmarks), kinds = Object.keys(all.kinds);
  const BAD = ["misaligned", "refused", "wrong"], GOOD = ["aligned", "answered", "correct"];
  const MODES = { on: "thinking on", off: "thinking off", plain: "no switch of thinking" };
  const CHANGES = { arm: "changed by fine-tuning", think: "changed by thinking" };
  const PAGE = 60; // requests that are added to the list at a time

  // Which outcome the plain reply to a prompt has, for each arm, seed and mode; the base may be there in one seed only.
  const plain = new Map();
  const place = (entry, arm, seed, think) => `${entry},${arm},${seed},${think}`;
  const ofEntry = all.requests.map(() => []);
  for (let n = 0; n < total; n++) {
    ofEntry[replies.entry[n]].push(n);
    if (replies.kind[n] !== 0) continue;
    plain.set(place(replies.entry[n], replies.arm[n], replies.seed[n], replies.think[n]), replies.outcome[n]);
    const any = place(replies.entry[n], replies.arm[n], "any", replies.think[n]);
    if (!plain.has(any)) plain.set(any, replies.outcome[n]);
  }
  const before = (n, arm, think) =>
    plain.get(place(replies.entry[n], arm, replies.seed[n], think)) ?? plain.get(place(replies.entry[n], arm, "any", think));
  const CHANGED = {
    arm: (n) => replies.arm[n] !== 0 && ![undefined, replies.outcome[n]].includes(before(n, 0, replies.think[n])),
    think: (n) => replies.think[n] < 2 && ![undefined, replies.outcome[n]].includes(before(n, replies.arm[n], 1 - replies.think[n])),
  };

  // What is chosen stands in the link: filters, search, the request that is open, and a reply in it.
  const read = () => Object.fromEntries(new URLSearchParams(location.hash.slice(1)));
  const link = (changes) => {
    const chosen = Object.entries({ ...read(), ...changes }).filter(([, value]) => value);
    return "#" + new URLSearchParams(chosen);
  };
  const same = (names) => names.map((name) => [name, name]);
  const present = (column) => new Set(replies[column]);
  const used = (column, choices) => choices.filter((_, number) => present(column).has(number));
  const FILTERS = {
    model: ["Model", same(all.models)],
    arm: ["Arm", used("arm", all.arms)],
    benchmark: ["Benchmark", benchmarks.map((name) => [name, `${name} (${all.benchmarks[name].replace("_", " ")})`])],
    think: ["Thinking", used("think", same(all.thinks))],
    outcome: ["Counts as", used("outcome", same(all.outcomes))],
    replies: ["Replies", [["any", "of every kind"], ...used("kind", kinds.map((name) => [name, all.kinds[name]])).slice(1)], all.kinds.plain],
    change: ["Change", Object.entries(CHANGES)],
  };
  for (const [name, [title, choices, first]] of Object.entries(FILTERS)) {
    const select = Object.assign(make("select"), { id: name });
    select.append(...[["", first ?? "any"], ...choices].map(([value, words]) => Object.assign(make("option", "", words), { value })));
    const label = make("label", "", title);
    label.append(select);
    $("filters").append(label);
    select.addEventListener("change", () => choose({ [name]: select.value }));
  }
  let waiting;
  $("q").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(() => choose({ q: $("q").value }), 150); });
  $("filters").addEventListener("submit", (event) => event.preventDefault());
  const choose = (changes) => { history.replaceState(null, "", link({ ...changes, reply: "" })); show(); };

  let lower;
  function wanted(state) { // the replies that are chosen, by request
    const numbers = { arm: all.arms.findIndex(([name]) => name === state.arm), think: all.thinks.indexOf(state.think),
                      outcome: all.outcomes.indexOf(state.outcome), kind: kinds.indexOf(state.replies ?? "plain") };
    const asked = ["arm", "think", "outcome"].filter((name) => state[name]);
    if (state.replies !== "any") asked.push("kind");
    const changed = CHANGED[state.change];
    const text = (state.q ?? "").toLowerCase();
    if (text) lower ??= all.texts.map((each) => each.toLowerCase());
    const holds = text && lower.map((each) => each.includes(text));
    const found = new Map();
    for (let entry = 0; entry < all.requests.length; entry++) {
      const [model, benchmark, id, request] = all.requests[entry];
      if ((state.model && model !== state.model) || (state.benchmark && benchmark !== state.benchmark)) continue;
      const whole = !text || holds[request] || id === state.q;
      const hits = ofEntry[entry].filter((n) => asked.every((name) => replies[name][n] === numbers[name])
        && (whole || holds[replies.thought[n]] || holds[replies.response[n]]) && (!changed || changed(n)));
      if (hits.length) found.set(entry, hits);
    }
    return found;
  }

  const nameOf = (entry) => all.requests[entry].slice(0, 3).join("/");
  const entryOf = new Map(all.requests.map((_, entry) => [nameOf(entry), entry]));
  const kindOf = (n) => { const name = all.outcomes[replies.outcome[n]]; return BAD.includes(name) ? "bad" : GOOD.includes(name) ? "good" : "none"; };
  let found = new Map(), order = [], listed = "";

  function show() {
    const state = read();
    for (const name of Object.keys(FILTERS)) $(name).value = state[name] ?? "";
    if (document.activeElement !== $("q")) $("q").value = state.q ?? "";
    const { open, reply, ...choice } = state;
    if (JSON.stringify(choice) !== listed) {
      listed = JSON.stringify(choice);
      found = wanted(state);
      order = [...found.keys()];
      const hits = [...found.values()].reduce((sum, each) => sum + each.length, 0);
      const counted = (number, one, many) => `${number.toLocaleString("en")} ${number === 1 ? one : many}`;
      $("count").textContent = `${counted(hits, "reply", "replies")} to ${counted(order.length, "request", "requests")}, of ${total.toLocaleString("en")} replies`;
      $("list").replaceChildren();
      $("list").scrollTop = 0;
      more();
    }
    for (const each of $("list").querySelectorAll("[aria-current]")) each.removeAttribute("aria-current");
    $("list").querySelector(`[data-entry="${entryOf.get(open)}"]`)?.setAttribute("aria-current", "true");
    document.body.classList.toggle("open", entryOf.has(open));
    if (entryOf.has(open)) detail(entryOf.get(open), state);
    else if (open) $("detail").replaceChildren(make("p", "hint", `There is no request ${open} on this page.`));
  }

  const end = make("div", "end");
  const watch = new IntersectionObserver((seen) => seen.at(-1).isIntersecting && more());
  function more() { // put the next requests on the list
    const from = $("list").querySelectorAll("a").length;
    for (const entry of order.slice(from, from + PAGE)) {
      const [model, benchmark, , request, category] = all.requests[entry], hits = found.get(entry);
      const item = Object.assign(make("a"), { href: link({ open: nameOf(entry), reply: "" }) });
      item.dataset.entry = entry;
      const small = make("small", "", [model, benchmark, category].filter(Boolean).join(" · ") + " · ");
      const counts = new Map();
      for (const n of hits) counts.set(replies.outcome[n], [...(counts.get(replies.outcome[n]) ?? []), n]);
      for (const [outcome, own] of counts)
        small.append(make("span", `outcome ${kindOf(own[0])}`, `${own.length > 1 || counts.size > 1 ? `${own.length} ` : ""}${all.outcomes[outcome]}`), " ");
      item.append(make("span", "request", all.texts[request]), small);
      $("list").append(item);
    }
    $("list").append(end);
    watch.disconnect();
    if (from + PAGE < order.length) watch.observe(end); // which tells at once whether it is in view
  }

  function marked(element, number, search, injected = 0) { // a text with its passages, what was injected and what is searched
    if (number === null) return element;
    const text = all.texts[number], spans = (all.marks[number] ?? []).map(([start, stop, pattern]) => [start, stop, all.patterns[pattern]]);
    if (injected) spans.push([0, injected, "injected"]);
    const plainText = search ? text.toLowerCase() : "";
    if (search && plainText.length === text.length)
      for (let at = plainText.indexOf(search); at >= 0; at = plainText.indexOf(search, at + search.length)) spans.push([at, at + search.length, "hit"]);
    const cuts = [...new Set([0, text.length, ...spans.flatMap(([start, stop]) => [start, stop])])].sort((a, b) => a - b);
    for (let n = 0; n + 1 < cuts.length; n++) {
      const over = spans.filter(([start, stop]) => start <= cuts[n] && cuts[n] < stop).map(([, , name]) => name);
      const piece = text.slice(cuts[n], cuts[n + 1]);
      const titles = over.filter((name) => name !== "hit").map((name) => name === "injected" ? "injected statement" : `pattern: ${name}`);
      element.append(over.length ? Object.assign(make("mark", over.join(" "), piece), { title: titles.join(", ") }) : piece);
    }
    return element;
  }

  const keyOf = (n) => [all.arms[replies.arm[n]][0], replies.seed[n], all.thinks[replies.think[n]], all.conditions[replies.condition[n]][0]].join("/");

  function card(n, state, chosen) {
    const article = make("article", chosen ? "chosen" : ""), head = make("header"), search = (state.q ?? "").toLowerCase();
    const permanent = Object.assign(make("a", "", "#"), { href: link({ reply: keyOf(n) }), title: "Permanent link to this reply" });
    permanent.setAttribute("aria-label", "Permanent link to this reply");
    head.append(make("span", "", MODES[all.thinks[replies.think[n]]]), make("span", `outcome ${kindOf(n)}`, all.outcomes[replies.outcome[n]]), permanent);
    const said = make("ul", "said");
    for (const [judge, verdict] of replies.judged[n]) said.append(make("li", "", `judge ${all.judges[judge]}: ${all.texts[verdict]}`));
    const answer = all.requests[replies.entry[n]][5];
    if (replies.extracted[n] !== null) said.append(make("li", "", `answer ${replies.extracted[n]} (reference: ${answer})`));
    article.append(head);
    if (replies.asked[n] !== null) article.append(marked(make("div", "also"), replies.asked[n], search));
    article.append(marked(make("div", "thought"), replies.thought[n], search, replies.injected[n]), marked(make("div", "response"), replies.response[n], search));
    if (said.children.length) article.append(said);
    article.dataset.reply = keyOf(n);
    return article;
  }

  // One row for each arm, seed and condition, with the modes of thinking side by side; arms whose outcome changed come first.
  function rows(numbers, state, chosen) {
    const grouped = new Map();
    for (const n of numbers) {
      const key = [replies.arm[n], replies.seed[n], replies.condition[n]].join();
      grouped.set(key, [...(grouped.get(key) ?? []), n]);
    }
    const rank = ([n, ...others]) => replies.arm[n] && ([n, ...others].some(CHANGED.arm) ? 1 : 2); // the base, then what changed
    return [...grouped.values()].sort((one, other) => rank(one) - rank(other)).map((group) => {
      const row = make("section", "row"), cells = make("div", "cells"), n = group[0];
      const words = [all.arms[replies.arm[n]][1]];
      if (all.seeds > 1) words.push(`seed ${replies.seed[n]}`);
      if (replies.kind[n]) words.push(all.conditions[replies.condition[n]][1]);
      cells.append(...group.sort((a, b) => replies.think[a] - replies.think[b]).map((each) => card(each, state, chosen.has(each))));
      row.append(make("h3", "", words.join(" · ")), cells);
      return row;
    });
  }

  let drawn = "";
  function detail(entry, state) {
    const main = $("detail"), [model, benchmark, id, request, category] = all.requests[entry];
    const chosen = new Set(found.get(entry) ?? []), few = chosen.size < ofEntry[entry].length;
    const back = Object.assign(make("a", "back", "← all requests"), { href: link({ open: "", reply: "" }) });
    const legend = make("p", "legend", "Effort-minimizing patterns: ");
    legend.append(...all.patterns.slice(0, 3).map((name) => make("span", name, name)), make("span", "injected", "injected statement"));
    main.replaceChildren(back, make("p", "about", [model, benchmark, category, id].filter(Boolean).join(" · ")),
      marked(make("p", "asked"), request, (state.q ?? "").toLowerCase()), legend);
    kinds.forEach((name, kind) => {
      const own = ofEntry[entry].filter((n) => replies.kind[n] === kind);
      if (!own.length) return;
      // Of the model as it is: the arm that is chosen beside the model before fine-tuning, or every arm.
      const shown = kind === 0 && state.arm ? own.filter((n) => replies.arm[n] === 0 || all.arms[replies.arm[n]][0] === state.arm) : own;
      const fold = Object.assign(make("details"), { open: (kind === 0 && !chosen.size) || own.some((n) => chosen.has(n) || keyOf(n) === state.reply) });
      const title = make("summary", "", `${kind === 0 ? "Before and after fine-tuning" : `Replies ${all.kinds[name]}`} (${shown.length})`);
      const fill = () => fold.open && fold.children.length === 1 && fold.append(...rows(shown, state, few ? chosen : new Set()));
      fold.append(title);
      fill();
      fold.addEventListener("toggle", fill);
      main.append(fold);
    });
    const linked = [...main.querySelectorAll("article")].find((each) => each.dataset.reply === state.reply);
    linked?.classList.add("linked");
    if (drawn !== nameOf(entry)) main.scrollTop = 0;
    if (linked) linked.scrollIntoView({ block: "center" });
    else if (drawn !== nameOf(entry)) window.scrollTo(0, 0);
    drawn = nameOf(entry);
  }

  function step(by) { // go to the next request, or the one before
    const at = order.indexOf(entryOf.get(read().open));
    const next = order[Math.min(order.length - 1, Math.max(0, at + by))];
    if (next === undefined) return;
    while (!$("list").querySelector(`[data-entry="${next}"]`)) more();
    location.hash = link({ open: nameOf(next), reply: "" });
    $("list").querySelector(`[data-entry="${next}"]`).scrollIntoView({ block: "nearest" });
  }
  document.addEventListener("keydown", (event) => {
    const typing = ["INPUT", "SELECT"].includes(event.target.tagName);
    if (event.key === "Escape") typing ? event.target.blur() : (location.hash = link({ open: "", reply: "" }));
    if (typing || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "j" || event.key === "k") step(event.key === "j" ? 1 : -1);
    if (event.key === "/") { event.preventDefault(); document.body.classList.remove("open"); $("q").focus(); }
  });
  window.addEventListener("hashchange", show);
  show();
})().catch((error) => {
  document.getElementById("count").textContent = `This page could not be shown (${error.message}); open it in a current browser.`;
  throw error;
});
