"use strict";
// A tab shows the sections that answer one question. Without this script, and on paper, all are shown.
const Tabs = (() => {
  const bar = document.querySelector(".tabs[hidden]"), links = [...bar?.querySelectorAll("a") ?? []], main = document.querySelector("main");
  const parts = [...document.querySelectorAll("[data-tab]")], all = links.at(-1);
  let now = all;

  const open = (link) => {
    now = link;
    main.classList.toggle("of-one", link !== all);
    bar.scrollLeft = link.offsetLeft - bar.clientWidth / 2;
    for (const one of links) one.setAttribute("aria-current", one === link);
    for (const part of parts) {
      part.hidden = link !== all && `#${part.dataset.tab}` !== link.getAttribute("href");
      // a browser's own search finds what is hidden so, and asks for it
      if (part.hidden && part.id) part.setAttribute("hidden", "until-found");
    }
  };
  const holding = (element) => {
    const tab = element?.closest("[data-tab]")?.dataset.tab;
    return links.find((link) => link.getAttribute("href") === `#${tab}`);
  };

  const named = (hash) => {
    try { return document.getElementById(decodeURIComponent(hash.slice(1))); } catch { return null; }
  };
  // a link leads to a tab, or to a section or figure, which is shown among all or in its tab
  const follow = () => {
    const tab = links.find((link) => link.hash === location.hash), target = tab ? null : named(location.hash);
    const link = tab ?? (target ? now === all ? all : holding(target) : location.hash ? null : links[0]);
    if (link && link !== now) open(link);
    target?.scrollIntoView();
  };
  const choose = (link) => {
    history.pushState(null, "", link.hash);
    open(link);
    if (main.getBoundingClientRect().top < 0) main.scrollIntoView();
  };
  const KEYS = { ArrowLeft: -1, ArrowRight: 1, Home: -Infinity, End: Infinity };
  const keyed = (event) => {
    const by = KEYS[event.key], at = links.indexOf(event.target);
    if (by === undefined || at < 0 || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    links[Math.min(Math.max(at + by, 0), links.length - 1)].focus();
  };

  // how many rows a search leaves in each, or nothing
  const count = (searched) => links.forEach((link) => {
    const rows = parts.filter((part) => part.id && (link === all || holding(part) === link))
      .reduce((sum, part) => sum + part.querySelectorAll("tbody tr:not([hidden])").length, 0);
    if (searched) link.dataset.rows = ` ${rows}`; else delete link.dataset.rows;
  });

  if (bar) {
    bar.hidden = false;
    bar.addEventListener("keydown", keyed);
    bar.addEventListener("click", (event) => {
      const link = event.target.closest("a");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      choose(link);
    });
    document.addEventListener("beforematch", (event) => {
      const link = holding(event.target);
      if (link) open(link);
    });
    addEventListener("hashchange", follow);
    open(holding(named(location.hash)) ?? links[0]);
    follow();
  }
  const page = document.querySelector(".tabs [aria-current=page]"); // of a folder of pages
  if (page) page.parentElement.scrollLeft = page.offsetLeft - page.parentElement.clientWidth / 2;
  return { count };
})();
