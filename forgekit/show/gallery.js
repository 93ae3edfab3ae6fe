// The gallery: cards with filters, full size, side by side. `source` answers: Python in JupyterLab, its own data on a page.
// Texts come from anybody: `make` has them become text nodes, never HTML.

const PAGE = 60, BATCH = 12; // cards, and thumbnails, asked for at once
const WORDS = /[,.;:!?]+(?=\s|$)|\S+?(?=[,.;:!?]*(?:\s|$))/g; // a comma after a word is a word of its own
const LONG = 4e6; // words of one prompt times words of another: beyond it they are not compared

function make(tag, about = {}, ...inside) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(about))
    if (name in element) element[name] = value;
    else element.setAttribute(name, value);
  element.append(...inside);
  element.dataset.lmSuppressShortcuts = "true"; // or JupyterLab takes its keys: it looks at what has the focus, then above
  return element;
}
const cells = (kind, ...values) => make("tr", {}, ...values.map((value) => (value?.localName === kind ? value : make(kind, {}, value))));
const told = (score) => (score == null ? "no score" : score.toFixed(2));
const change = (by) => make("b", { className: by < 0 ? "worse" : "better" }, (by < 0 ? "−" : "+") + Math.abs(by).toFixed(2));
const seedOf = (card) => (card.seed == null ? "no seed" : `seed ${card.seed}`);
const madeBy = (card) => `v${card.iteration}${card.made_by ? ` by ${card.made_by}` : ""}`;
const mean = (numbers) => (numbers.length ? numbers.reduce((sum, number) => sum + number, 0) / numbers.length : null);
const verdict = (card, judge) => card.verdicts[judge] ?? { score: null, mark: 0, said: {} };

function missing(card, judge) {
  const { said, mark } = verdict(card, judge);
  return card.elements.filter(([key]) => said[key] != null && said[key] < mark);
}

function gap(card, { vision_model, other }) {
  const mine = verdict(card, vision_model).score;
  const others = Object.keys(card.verdicts).filter((name) => name !== vision_model && (!other || name === other));
  const gaps = others.map((name) => card.verdicts[name].score).filter((score) => score != null && mine != null);
  return gaps.length ? Math.max(...gaps.map((score) => Math.abs(score - mine))) : null;
}

/** Return `after` as a line in which the words that came and went since `before` are marked. */
function diff(before, after) {
  const [old, now] = [before, after].map((text) => text.match(WORDS) ?? []), line = make("span");
  const add = (tag, word) => {
    const space = line.childNodes.length && !/^[,.;:!?]/.test(word) ? " " : "";
    if (line.lastChild?.localName === tag) line.lastChild.append(space + word);
    else line.append(space, make(tag, {}, word));
  };
  const alike = Array.from({ length: old.length * now.length > LONG ? 0 : old.length + 1 }, () => new Uint16Array(now.length + 1));
  for (let i = alike.length - 2; i >= 0; i--) // how many words are the same from here on
    for (let j = now.length - 1; j >= 0; j--) alike[i][j] = old[i] === now[j] ? alike[i + 1][j + 1] + 1 : Math.max(alike[i + 1][j], alike[i][j + 1]);
  for (let i = 0, j = 0; i < old.length || j < now.length; )
    if (alike.length && i < old.length && old[i] === now[j]) add("span", old[i++]), j++;
    else if (j === now.length || (i < old.length && (!alike.length || alike[i + 1][j] >= alike[i][j + 1]))) add("del", old[i++]);
    else add("ins", now[j++]);
  return line;
}

/** Ask Python. Every view of a widget hears all answers, and knows its own by their number. */
function live(model) {
  const waiting = new Map(), view = Math.random();
  let asked = 0;
  const hear = ({ n, answer, trouble }, buffers) => {
    const asker = waiting.get(n);
    waiting.delete(n);
    if (trouble) asker?.reject(new Error(trouble));
    else asker?.resolve(answer ?? buffers.map((buffer) => URL.createObjectURL(new Blob([buffer]))));
  };
  const ask = (kind, about) => new Promise((resolve, reject) => {
    waiting.set(`${view}/${++asked}`, { resolve, reject });
    model.send({ kind, about, n: `${view}/${asked}` });
  });
  model.on("msg:custom", hear);
  return {
    ...model.get("start"),
    read: (experiment) => ask("read", { experiment }),
    page: (choice, offset) => ask("page", { choice, offset, limit: PAGE }),
    scene: (scene, vision_model) => ask("scene", { scene, vision_model }),
    thumbnails: (cards) => ask("thumbnails", { ids: cards.map((card) => card.id) }),
    picture: async (card) => (await ask("picture", { id: card.id }))[0],
    close: () => model.off("msg:custom", hear),
  };
}

/** Answer from what is written on the page itself: all cards, in the order "by scene". */
function written({ cards, about, choice }) {
  const score = (card, { vision_model }) => verdict(card, vision_model).score;
  const orders = {
    "lowest score": (card, choice) => score(card, choice) ?? -1,
    "highest score": (card, choice) => -(score(card, choice) ?? -1),
    "widest gap": (card, choice) => -(gap(card, choice) ?? -1),
    "newest": (card) => -card.drawn_at,
    "by scene": () => 0,
  };
  const has = (text, words) => text.toLowerCase().includes(words.toLowerCase());
  const fits = (card, choice) =>
    card.experiment === choice.experiment && ["", card.scene_hash].includes(choice.scene) && has(`${card.scene} ${card.prompt}`, choice.words) &&
    (!choice.failed || missing(card, choice.vision_model).some(([key, phrase]) => key.split(":")[0] === choice.failed || has(phrase, choice.failed))) &&
    (gap(card, choice) ?? 0) >= choice.gap && (score(card, choice) ?? 0) >= choice.low && (score(card, choice) ?? 0) <= choice.high;
  return {
    choice, about: about[choice.experiment],
    read: async (experiment) => about[experiment],
    async page(choice, offset) {
      const keys = new Map(cards.filter((card) => fits(card, choice)).map((card) => [card, orders[choice.order](card, choice)]));
      const sorted = [...keys.keys()].sort((a, b) => keys.get(a) - keys.get(b));
      return { total: sorted.length, cards: sorted.slice(offset, offset + PAGE) };
    },
    scene: async (scene) => cards.filter((card) => card.scene_hash === scene),
    thumbnails: async (cards) => cards.map((card) => card.thumbnail),
    picture: async (card) => card.picture,
    close: () => {},
  };
}

function gallery(root, source) {
  const choice = source.choice;
  let about = source.about, cards = [], total = 0, turn = 0, readings = 0, compared = ""; // the scene that is shown side by side

  const select = () => make("select"), search = (placeholder) => make("input", { type: "search", placeholder });
  const number = (value) => make("input", { type: "number", min: 0, max: 1, step: 0.05, value });
  const button = (text, onclick, name) => make("button", { type: "button", onclick, ...(name && { ariaLabel: name, title: name }) }, text);
  const fields = {
    experiment: select(), scene: select(), vision_model: select(), order: select(),
    words: search("in scene or prompt"), failed: search("element or kind"),
    low: number(0), high: number(1), gap: number(0), other: select(),
  };
  const labels = { vision_model: "judge", words: "search", failed: "missing", low: "score from", high: "to", gap: "gap at least", other: "from" };
  const size = make("input", { type: "range", min: 96, max: 384, value: 160, oninput: () => root.style.setProperty("--size", `${size.value}px`) });
  const field = ([name, control]) => make("label", {}, labels[name] ?? name, control);
  const side = button("Side by side", () => (compared ? all() : together(choice.scene || cards[0]?.scene_hash)));
  const again = button("Read again", () => read(choice.experiment), "read again what other processes have written");
  const status = make("p", { role: "status" }), trouble = make("p", { role: "alert" });
  const list = make("ul", { className: "cards", ariaLabel: "images" }), pairs = make("div", { className: "pairs" });
  const next = button("More", () => load(cards.length)), view = make("div", { className: "view" }, list, pairs, next);
  const full = make("dialog", { ariaLabel: "image in full size" });
  root.classList.add("forgekit-gallery");
  root.replaceChildren(make("form", { role: "search", onsubmit: () => false }, ...Object.entries({ ...fields, size }).map(field), side, again),
    make("div", { className: "line" }, status, trouble), view, full);

  async function attempt(work) { // what fails is said, and the page stays as it was
    trouble.textContent = "";
    try {
      return await work();
    } catch (error) {
      trouble.textContent = error.message;
    }
  }

  // Thumbnails are asked for when their place comes near the view, the last ones first.
  const due = [];
  let fetching = false;
  const near = new IntersectionObserver(async (entries) => {
    for (const { isIntersecting, target } of entries) if (isIntersecting) near.unobserve(target), due.push(target);
    if (fetching) return;
    fetching = true;
    while (due.length) {
      const images = due.splice(-BATCH).filter((image) => image.isConnected);
      const urls = images.length && (await attempt(() => source.thumbnails(images.map((image) => image.card))));
      if (urls) images.forEach((image, place) => (image.src = urls[place]));
    }
    fetching = false;
  }, { root: view, rootMargin: "400px" });
  function tile(card, onclick, ...text) {
    const image = Object.assign(make("img", { alt: `${card.scene}, ${seedOf(card)}` }), { card });
    image.onload = () => URL.revokeObjectURL(image.src);
    near.observe(image);
    return make("button", { type: "button", className: "card", title: card.prompt, onclick }, make("span", { className: "frame" }, image), ...text);
  }
  function described(card) {
    const far = gap(card, choice), failed = missing(card, choice.vision_model).map(([, phrase]) => phrase).join(", ");
    const score = make("b", {}, told(verdict(card, choice.vision_model).score));
    const texts = [make("span", {}, score, `${far == null ? "" : ` · gap ${far.toFixed(2)}`} · v${card.iteration}`)];
    for (const [className, text] of [["scene", card.scene], ["quiet", seedOf(card)], ["worse", failed && `✗ ${failed}`]]) texts.push(make("span", { className }, text));
    return texts;
  }

  async function load(offset = 0) {
    const mine = ++turn; // an answer after another choice is no answer any more
    status.textContent = "reading …";
    const page = await attempt(() => source.page({ ...choice }, offset));
    if (mine !== turn) return;
    if (!page) return counted();
    if (!offset) cards = [], list.replaceChildren(), view.scrollTo(0, 0);
    total = page.total;
    for (const card of page.cards) {
      const at = cards.push(card) - 1, shown = tile(card, () => open(cards, at, shown), ...described(card));
      shown.tabIndex = at ? -1 : 0; // one card is in the order of Tab, from there arrows lead on
      list.append(make("li", {}, shown));
    }
    counted();
    next.hidden = cards.length >= total;
    end.unobserve(next), end.observe(next); // it may be in view still
  }
  const counted = () => (status.textContent = `${cards.length} of ${total} images`);
  const end = new IntersectionObserver(([{ isIntersecting }]) => isIntersecting && load(cards.length), { root: view, rootMargin: "800px" });
  list.onkeydown = (event) => {
    const at = [...list.children].indexOf(event.target.closest("li")), across = getComputedStyle(list).gridTemplateColumns.split(" ").length;
    const steps = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -at, End: cards.length - 1 - at };
    const to = list.children[at + steps[event.key]]?.firstChild;
    if (!to) return;
    event.preventDefault();
    [event.target.tabIndex, to.tabIndex] = [-1, 0];
    to.focus();
  };

  // Full size: a dialog that goes along `row`, the cards that it was opened from.
  let row = [], place = 0, opener = null;
  async function open(from, at, shown = opener) {
    if (from === cards && at >= cards.length && cards.length < total) await load(cards.length);
    if (!from[at]) return;
    [row, place, opener] = [from, at, shown];
    const card = from[at], image = make("img", { alt: card.prompt, className: "whole" }), judges = Object.entries(card.verdicts);
    const probability = (key, { said, mark }) => make("td", { className: said[key] < mark ? "worse" : "" }, said[key]?.toFixed(2) ?? "");
    const texts = {
      scene: card.scene, prompt: card.before == null ? card.prompt : diff(card.before, card.prompt),
      version: `${madeBy(card)}, ${card.experiment}, ${card.model}, ${seedOf(card)}`, file: card.file,
    };
    full.replaceChildren(
      make("header", {}, button("←", () => open(row, place - 1), "the image before"), button("→", () => open(row, place + 1), "the next image"),
        `${at + 1} of ${from === cards ? total : from.length}`, button("Side by side", () => (full.close(), together(card.scene_hash, card))), button("✕", () => full.close(), "close")),
      make("div", { className: "frame" }, image),
      make("aside", {}, make("dl", {}, ...Object.entries(texts).flatMap(([name, text]) => [make("dt", {}, name), make("dd", {}, text)])),
        make("table", {}, cells("th", "element", ...judges.map(([judge]) => judge)), cells("td", "score", ...judges.map(([, { score }]) => told(score))),
          ...card.elements.map(([key, phrase]) => cells("td", phrase, ...judges.map(([, said]) => probability(key, said)))))));
    if (!full.open) full.showModal();
    const url = await attempt(() => source.picture(card));
    image.onload = () => URL.revokeObjectURL(url);
    if (url) image.src = url;
  }
  full.onkeydown = (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step) event.preventDefault(), open(row, place + step);
  };
  full.onclose = () => ((row === cards && list.children[place]?.firstChild) || opener).focus();

  // Side by side: two versions of a scene, of one arm or of two, aligned by seed.
  async function together(scene, card) {
    const mine = ++turn, found = await attempt(() => source.scene(scene, choice.vision_model));
    if (!found?.length || mine !== turn) return;
    compared = scene;
    side.textContent = "All images", status.textContent = "";
    [list.hidden, next.hidden, pairs.hidden] = [true, true, false];
    const score = (one) => verdict(one, choice.vision_model).score, known = (pair) => pair.every((value) => value != null);
    const versions = Map.groupBy(found, (each) => each.version), ids = [...versions.keys()];
    const named = ([first, ...rest]) => `${first.experiment} · ${madeBy(first)} · ${told(mean([first, ...rest].map(score).filter((each) => each != null)))}`;
    const right = card?.before == null ? ids.find((id) => versions.get(id)[0].before === (card ?? found[0]).prompt) ?? ids.at(-1) : card.version;
    const left = ids.find((id) => id !== right && versions.get(id)[0].prompt === versions.get(right)[0].before) ?? ids.find((id) => id !== right) ?? right;
    const chosen = [left, right].map((id) => make("select", { onchange: draw }, ...ids.map((value) => make("option", { value, selected: value === id }, named(versions.get(value))))));
    function draw() {
      const [before, after] = chosen.map((each) => versions.get(each.value)), partners = new Map(after.map((each) => [each.seed ?? each, each]));
      const both = before.filter((each) => partners.has(each.seed)).map((each) => [each, partners.get(each.seed)]);
      const moved = both.map((pair) => pair.map(score)).filter(known).map(([a, b]) => b - a), alone = before.length + after.length - 2 * both.length;
      const elements = before[0].elements.flatMap(([key, phrase]) => {
        const said = both.map((pair) => pair.map((one) => verdict(one, choice.vision_model).said[key])).filter(known);
        const means = [0, 1].map((which) => mean(said.map((pair) => pair[which])));
        return said.length ? [cells("td", phrase, ...means.map(told), change(means[1] - means[0]))] : [];
      });
      const shown = both.map((pair, index) => {
        const tiles = pair.map((one, which) => { const shown = tile(one, () => open(both.flat(), 2 * index + which, shown)); return shown; });
        const [a, b] = pair.map(score);
        return make("li", {}, ...tiles, make("span", {}, `${seedOf(pair[0])}: ${told(a)} → ${told(b)} `, known([a, b]) ? change(b - a) : ""));
      });
      pairs.replaceChildren(make("p", {}, make("b", {}, before[0].scene)), make("p", {}, chosen[0], " → ", chosen[1]), make("p", { className: "diff" }, diff(before[0].prompt, after[0].prompt)),
        make("p", {}, `${both.length} pairs with the same seed, by ${choice.vision_model}: mean change `, moved.length ? change(mean(moved)) : "unknown", alone ? `; ${alone} images have no partner` : ""),
        make("ul", {}, ...shown), make("table", {}, cells("th", "element", "left", "right", "change"), ...elements));
    }
    draw();
  }
  function all() {
    compared = "";
    side.textContent = "Side by side";
    [list.hidden, pairs.hidden] = [false, true];
    return load();
  }

  function offer() {
    const named = (names) => names.map((name) => [name, name]);
    const offered = {
      experiment: named(about.experiments), scene: [["", "all scenes"], ...about.scenes], order: named(about.orders),
      vision_model: named(about.judges), other: [["", "any judge"], ...named(about.judges)],
    };
    for (const [name, options] of Object.entries(offered)) {
      fields[name].replaceChildren(...options.map(([value, text]) => make("option", { value }, text)));
      if (!options.some(([value]) => value === choice[name])) choice[name] = options[0][0];
      fields[name].value = choice[name];
    }
  }
  const show = () => (compared ? together(choice.scene || compared) : load());
  async function read(experiment) {
    const mine = ++readings, found = await attempt(() => source.read(experiment));
    if (mine !== readings) return;
    fields.experiment.value = choice.experiment;
    if (!found) return; // what was wrong is said, and the next reading would take it away
    about = found;
    choice.experiment = about.experiment;
    offer();
    return show();
  }
  for (const [name, control] of Object.entries(fields)) {
    let wait = 0;
    control.onchange = () => {
      clearTimeout(wait);
      const value = control.type === "number" ? Number(control.value) : control.value;
      if (value === choice[name]) return;
      if (name === "experiment") return read(value); // chosen once it is read: its scenes and judges are others
      choice[name] = value;
      return show();
    };
    if (control.localName === "input") control.oninput = () => (clearTimeout(wait), (wait = setTimeout(control.onchange, 300)));
  }
  offer();
  all();
  return () => (near.disconnect(), end.disconnect(), source.close());
}

export default { render: ({ model, el }) => gallery(el, live(model)) };
