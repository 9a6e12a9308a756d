// Goes through a Snakemake report as a reader does: opens every category, and of every result its
// caption and what is shown. Comes to what it found: `start` is the text of the first page, and
// `categories` has, by name, a list of results with `label`, `path`, `caption` and `shown`: an
// `image` of a `width`, or a `page` with its `text`. `errors` has what could not be opened.
(async () => {
  const pause = () => new Promise((done) => setTimeout(done, 30));
  const click = async (element) => { element.click(); await pause(); };
  const loaded = (image) => new Promise((done) => image.complete ? done() : (image.onload = done));
  const found = { categories: {}, errors: [] };
  const menu = async () => { app.setView({ navbarMode: "menu" }); await pause(); };
  const rows = () => [...document.querySelectorAll("table.table-auto tbody tr")];

  const visit = async () => {
  await pause();
  found.start = document.querySelector("#app").innerText;
  for (const category of Object.keys(categories)) {
    await menu();
    const link = [...document.querySelectorAll("#app li a")].find((a) => a.innerText.trim() === category);
    if (!link) { found.errors.push(`no menu item ${category}`); continue; }
    await click(link);
    found.categories[category] = [];
    for (let index = 0; index < rows().length; index++) {
      const row = rows()[index];
      const result = { label: row.querySelector("td").innerText.trim() };
      const [view, info] = row.querySelectorAll("td:last-child a");
      await click(view);
      const image = document.querySelector("#app div.p-3 > img");
      const frame = document.querySelector("#app iframe");
      result.shown = image ? "image" : frame ? "page" : "nothing";
      if (image) { await loaded(image); result.width = image.naturalWidth; }
      if (frame) { result.text = atob(frame.src.split("base64,")[1]).slice(0, 20000); }
      await click(info);
      result.caption = document.querySelector("#app .prose-invert, #app .prose")?.innerText ?? "";
      result.path = app.state.resultPath;
      found.categories[category].push(result);
      app.setView({ navbarMode: isSingleSubcategory(category) ? "subcategory" : "category" });
      await pause();
    }
  }
  await menu();
  };

  await visit();
  return found;
})()
