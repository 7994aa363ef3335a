// The list of projects: pick one or make one.

import * as api from "../api.js";
import { fill, h, icon, problemBox } from "../dom.js";
import { ago, when } from "../format.js";

export async function projectsView({ live, go }) {
  live.leave();
  let { items, next } = await api.listProjects();
  const list = h("ul", { class: "project-list" });
  const more = h("button", {
    class: "btn", type: "button", onclick: async () => {
      const page = await api.listProjects(next);
      items = items.concat(page.items);
      next = page.next;
      show();
    },
  }, "Show more");

  const show = () => {
    items.sort((a, b) => b.created_at_ms - a.created_at_ms);
    fill(list, items.map((project) => h("li", null, h("a", { class: "project-card", href: `#/projects/${project.id}` },
      h("span", { class: "project-icon", "aria-hidden": "true" }, icon("folder")),
      h("span", { class: "project-name" }, project.name),
      h("span", { class: "muted small", title: when(project.created_at_ms) }, `Created ${ago(project.created_at_ms)}`),
      h("span", { class: "project-go" }, icon("chevronRight"))))));
    more.hidden = !next;
  };
  show();

  const name = h("input", { class: "input", id: "project-name", name: "name", autocomplete: "off", maxlength: "200", placeholder: "Bank vs ledger, November", required: true });
  const problem = h("div");
  const button = h("button", { class: "btn primary", type: "submit" }, icon("plus"), "Create project");
  const form = h("form", {
    class: "create", id: "create-project", onsubmit: async (event) => {
      event.preventDefault();
      button.disabled = true;
      fill(problem);
      try {
        const project = await api.createProject(name.value.trim());
        go(`#/projects/${project.id}`);
      } catch (error) {
        fill(problem, problemBox(error));
        button.disabled = false;
        name.focus();
      }
    },
  },
  h("label", { class: "field grow" }, h("span", null, "New project"), name), button);

  const empty = items.length === 0;
  const node = h("div", { class: "page narrow" },
    h("div", { class: "hero" },
      h("h1", null, empty ? "Tie out two files, record by record" : "Projects"),
      h("p", { class: "lede" }, empty
        ? "Give Tieout a bank statement and a ledger, or any two tables that should agree. It pairs their records, says why, and shows what is left over."
        : "A project keeps the files of one reconciliation and every run over them.")),
    h("section", { class: "card pad", "aria-label": "New project" }, form, problem),
    empty
      ? h("ol", { class: "how" },
        [["upload", "Drop two files", "CSV with a header. Types, dates and amounts are recognised."],
          ["sliders", "Check the rules", "Suggested from the columns, readable, and yours to edit."],
          ["layers", "Read the result", "Matched, different, missing: each with its field-by-field reason."]]
          .map(([glyph, title, text]) => h("li", null, h("span", { class: "how-icon", "aria-hidden": "true" }, icon(glyph)), h("h2", null, title), h("p", { class: "muted" }, text))))
      : h("section", { "aria-label": "Your projects" }, list, more));
  return { node, title: "Projects", crumbs: [["Projects", "#/"]], mounted: () => empty && name.focus() };
}
